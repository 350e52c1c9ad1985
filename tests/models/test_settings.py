"""Settings and arguments of every model: numbers of any library are kept as Python's, what is of another kind is refused by its name."""

import json
import pickle

import numpy as np
import pytest
import torch
from every_model import pinsage, small_data

from fastgcn_rec import (
    EASE,
    IALS,
    MF,
    NGCF,
    SLIM,
    Graph,
    GraphFilter,
    ItemKNN,
    LightGCN,
    Recommender,
    RP3beta,
    SparseEASE,
    UserKNN,
    fit,
)
from fastgcn_rec.core.ids import IdIndex
from fastgcn_rec.negatives import DistanceWeighted, Dynamic, Uniform, parse


@pytest.fixture
def data():
    return small_data()


INT, FLOAT = np.int64(3), np.float32(0.5)
SETTINGS = {
    "MF": lambda data: MF(data, INT, init_std=FLOAT, seed=np.int32(1)),
    "LightGCN": lambda data: LightGCN(
        data, torch.tensor(3), INT, alpha=FLOAT, norm=(FLOAT, torch.tensor(0.5)), edge_dropout=FLOAT, noise=FLOAT, contrast=FLOAT,
        contrast_layer=np.int64(1), contrast_temperature=FLOAT, learn_alpha=np.bool_(False), init_std=torch.tensor(0.5), seed=INT,
    ),
    "LightGCN gamma": lambda data: LightGCN(data, 3, 2, gamma=FLOAT),
    "NGCF": lambda data: NGCF(data, INT, INT, message_dropout=FLOAT, node_dropout=FLOAT, seed=INT),
    "PinSAGE": lambda data: pinsage(
        data, embedding_dim=INT, hidden_dim=INT, num_layers=INT, linear=np.bool_(True), top=INT, n_walks=INT, walk_length=INT, restart=FLOAT,
        degree_power=FLOAT, history=INT, round_share=FLOAT, cold_share=FLOAT, cold_user_share=FLOAT, walk_seed=INT, init_std=FLOAT, seed=INT,
    ),
    "EASE": lambda data: EASE(data, reg=np.int64(100)),
    "GraphFilter": lambda data: GraphFilter(
        data, rank=INT, ideal=FLOAT, polynomial=np.array([1, 2], np.float32), user_power=FLOAT, item_power=FLOAT, ideal_power=FLOAT, seed=INT
    ),
    "IALS": lambda data: IALS(data, INT, unobserved_weight=FLOAT, regularization=FLOAT, iterations=INT, exponent=FLOAT, block_size=INT, init_std=FLOAT, seed=INT),
    "ItemKNN": lambda data: ItemKNN(data, INT, shrinkage=FLOAT),
    "ItemKNN bm25": lambda data: ItemKNN(data, INT, "bm25", k1=FLOAT, b=torch.tensor(0.5)),
    "UserKNN": lambda data: UserKNN(data, INT, shrinkage=FLOAT, k1=FLOAT, b=FLOAT),
    "SLIM": lambda data: SLIM(data, FLOAT, FLOAT, INT, tolerance=FLOAT, max_sweeps=np.int64(99)),
    "RP3beta": lambda data: RP3beta(data, INT, alpha=FLOAT, beta=FLOAT),
    "SparseEASE": lambda data: SparseEASE(
        data, np.int64(100), INT, FLOAT, np.int32(9), user_power=FLOAT, item_power=torch.tensor(0.25), row_power=FLOAT
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_of_numpy_and_torch_are_kept_as_pythons(data, kind, tmp_path):
    model = SETTINGS[kind](data)
    config = model.config()
    assert json.loads(json.dumps(config)) == config
    model.save(tmp_path / "m.npz")
    assert Recommender.load(tmp_path / "m.npz").config() == config


def test_samplers_take_numpys_numbers_too():
    drawn = parse(str(DistanceWeighted(np.int64(2), candidates=INT, lo=np.float32(0.5), hi=np.float64(1.25))))
    assert drawn == DistanceWeighted(2, candidates=3, lo=0.5, hi=1.25)
    assert (
        str(Uniform(np.int64(4)) + Dynamic(np.int32(1), candidates=INT))
        == "uniform(4)+dynamic(1, candidates=3, refresh=1)"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: MF(data, 8.0), "MF: embedding_dim must be an int, got 8.0"),
        (lambda data: MF(data, True), "MF: embedding_dim must be an int, got True"),
        (lambda data: MF(data, init_std="a"), "MF: init_std must be a number, got str"),
        (lambda data: LightGCN(data, 8, 2.5), "LightGCN: num_layers must be an int, got 2.5"),
        (lambda data: LightGCN(data, noise=None), "LightGCN: noise must be a number, got NoneType"),
        (lambda data: LightGCN(data, gamma="x"), "LightGCN: gamma must be a number, got str"),
        (lambda data: LightGCN(data, alpha="x"), "LightGCN: alpha must be real numbers, got dtype <U1"),
        (lambda data: LightGCN(data, contrast_layer=1.5), "LightGCN: contrast_layer must be an int, got 1.5"),
        (lambda data: LightGCN(data, learn_alpha="no"), "LightGCN: learn_alpha must be True or False, got 'no'"),
        (lambda data: pinsage(data, linear="no"), "PinSAGE: linear must be True or False, got 'no'"),
        (lambda data: pinsage(data, linear=None), "PinSAGE: linear must be True or False, got None"),
        (lambda data: NGCF(data, 8, 1.5), "NGCF: num_layers must be an int, got 1.5"),
        (lambda data: pinsage(data, top=2.5), "PinSAGE: top must be an int, got 2.5"),
        (lambda data: EASE(data, reg="5"), "EASE: reg must be a number, got str"),
        (lambda data: GraphFilter(data, rank=2.0), "GraphFilter: rank must be an int, got 2.0"),
        (lambda data: IALS(data, 2.5), "IALS: embedding_dim must be an int, got 2.5"),
        (lambda data: IALS(data, unobserved_weight="x"), "IALS: unobserved_weight must be a number, got str"),
        (lambda data: ItemKNN(data, 2.5), "ItemKNN: neighbours must be an int, got 2.5"),
        (lambda data: UserKNN(data, k1="x"), "UserKNN: k1 must be a number, got str"),
        (lambda data: SLIM(data, l1=None), "SLIM: l1 must be a number, got NoneType"),
        (lambda data: SLIM(data, neighbours=2.5), "SLIM: neighbours must be an int, got 2.5"),
        (lambda data: RP3beta(data, alpha="x"), "RP3beta: alpha must be a number, got str"),
        (lambda data: SparseEASE(data, density="x"), "SparseEASE: density must be a number, got str"),
    ],
)
def test_settings_of_another_kind_are_refused(data, make, message):
    with pytest.raises(TypeError, match=message.replace("(", r"\(")):
        make(data)


def test_fit_and_models_name_what_they_were_given(data):
    model, matrix = MF(data, 4), data.graph().to_scipy()
    for wrong in (data.graph(), matrix, data.train, None):
        with pytest.raises(
            TypeError, match=f"fit: dataset must be a Dataset, got {type(wrong).__name__}; make_dataset"
        ):
            fit(model, wrong, progress=False)
    with pytest.raises(TypeError, match=r"fit: model must be a Recommender.*got Dataset"):
        fit(data, model, progress=False)
    with pytest.raises(TypeError, match=r"MF: data must be a Dataset or a Graph, got csr_array.*Graph\(matrix\)"):
        MF(matrix, 4)


def test_ids_are_sorted_once_and_anew_where_they_change(data, monkeypatch):
    sorts = []
    ordinary = IdIndex.of
    monkeypatch.setattr(IdIndex, "of", lambda ids: sorts.append(len(ids)) or ordinary(ids))
    model = MF(data, 4)
    expected = model.recommend(model.user_ids[:3], 2)[0]
    assert np.array_equal(model.recommend(model.user_ids[:3], 2)[0], expected)
    assert sorts == [model.n_users]
    model.user_ids = np.array([f"v{i}" for i in range(model.n_users)], object)
    assert np.array_equal(model.recommend(["v0", "v1", "v2"], 2)[0], expected)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).recommend(["v0"], 2)[0], expected[:1])


def test_new_items_have_ids_of_the_models_kind():
    model = pinsage(Graph.from_edges([0, 1, 2], [0, 1, 2]))
    with pytest.raises(
        TypeError, match="PinSAGE: item_ids must be integers as the items of the model are, got strings"
    ):
        model.with_items({"kind": ["kind 1"]}, None, ["a"])
