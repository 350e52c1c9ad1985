"""What holds for every model, whatever its class: one score for a pair, guesses for whom nothing is known of, plain settings."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from every_model import EVERY, MADE, TRAINED, pinsage

from fastgcn_rec import (
    EASE,
    MF,
    NGCF,
    FoldIn,
    Graph,
    GraphFilter,
    Index,
    Indexed,
    ItemKNN,
    LightGCN,
    Recommender,
    RP3beta,
    TwoStage,
    dense,
    evaluate,
    fit,
    retrieve,
    topk,
)
from fastgcn_rec.data import Edges, Interactions, make_dataset
from fastgcn_rec.models import base
from fastgcn_rec.negatives import DistanceWeighted, Dynamic, Uniform, parse
from fastgcn_rec.ranking.rank import ranked

COLD_USERS, COLD_ITEMS = 5, 4


@pytest.fixture(scope="module")
def data():
    """40 users and 30 items with edges, few of them popular; behind them users and items without any."""
    rng = np.random.default_rng(0)
    law = 1 / np.arange(1, 31)
    pairs = [(u, i) for u in range(40) for i in rng.choice(30, 6, replace=False, p=law / law.sum())]
    pairs += [(i, i) for i in range(30)]
    ids = {"user_ids": range(40 + COLD_USERS), "item_ids": range(30 + COLD_ITEMS)}
    return make_dataset("cold", Interactions.from_raw(*np.array(pairs).T, **ids), split="none")


@pytest.fixture(scope="module")
def models(data):
    made = {name: make(data) for name, make in EVERY.items()}
    for name in TRAINED:
        fit(made[name], data, epochs=3, batch_size=64, lr=0.02, protocol="none", progress=False)
    return made


def scores_of(model):
    return model.scorer()(torch.arange(model.n_users))


@pytest.mark.parametrize("kind", EVERY)
def test_a_pair_has_one_score(models, kind):
    model = models[kind]
    known = np.flatnonzero(model.graph.user_degree.numpy())
    ids, scores = model.recommend(model.user_ids[known], 5)
    rows = torch.from_numpy(known).repeat_interleave(5)
    columns = torch.from_numpy(np.searchsorted(model.item_ids, ids.ravel(), sorter=np.argsort(model.item_ids)))
    columns = torch.from_numpy(np.argsort(model.item_ids))[columns]
    pairs = torch.stack([rows, model.n_users + columns])
    edge = model.graph.item_degree[columns] > 0  # of items without an edge forward() has no guess
    with torch.no_grad():
        forward, chance = model(pairs), model.predict_link(pairs, prob=True)
    listed = torch.from_numpy(scores.ravel())
    torch.testing.assert_close(forward[edge], listed[edge], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(chance[edge], listed[edge].sigmoid(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores_of(model)[rows, columns], listed, rtol=1e-5, atol=1e-5)
    if model.vectors() is not None:
        users, items = model.scoring_vectors()
        torch.testing.assert_close((users[rows] * items[columns]).sum(1), listed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", EVERY)
def test_users_without_an_edge_get_what_users_like_on_average(models, kind):
    model = models[kind]
    cold = model.graph.user_degree == 0
    assert int(cold.sum()) == COLD_USERS
    scores = scores_of(model)
    expected = scores[~cold].mean(0)
    if model.row_scorer() is not None:  # their rows say nothing of themselves: the share of users who have an item
        expected = model.graph.item_degree / int((~cold).sum())
    if model.similarity == "cosine":  # of the mean of the vectors of length 1: the same order
        users, items = model.scoring_vectors()
        mean = users[~cold].mean(0)
        expected = items @ (mean / mean.norm())
    for row in scores[cold]:
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", EVERY)
def test_an_unknown_user_without_items_is_recommended_the_same(models, kind):
    model = models[kind]
    cold = model.user_ids[(model.graph.user_degree == 0).numpy()]
    of_new = model.recommend_new([[], []], 8)
    for ids, scores in zip(*model.recommend(cold, 8), strict=True):
        assert ids.tolist() == of_new[0][0].tolist() == of_new[0][1].tolist()
        np.testing.assert_allclose(scores, of_new[1][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if kind != "PinSAGE"])
def test_nodes_without_an_edge_have_no_noise_in_what_ranks_and_keep_their_parameters(models, kind):
    model = models[kind]
    bare = model.graph.item_degree == 0
    z = model.get_embedding().detach()
    assert bool(z[model.n_users :][bare].any(1).all())
    users, items, _ = model.vectors()
    assert not items[bare].any()
    assert torch.equal(items[~bare], z[model.n_users :][~bare])
    known = model.graph.user_degree > 0
    assert torch.equal(users[known], z[: model.n_users][known])
    assert (scores_of(model)[:, bare] == 0).all()
    one = model.item_ids[bare.numpy()][:1]
    assert (model.similar_items(one, 3)[1] == 0).all()


def test_items_that_features_describe_keep_their_vectors(models):
    model = models["PinSAGE"]
    bare = model.graph.item_degree == 0
    assert torch.equal(model.vectors()[1], model.get_embedding().detach()[model.n_users :])
    assert bool(model.vectors()[1][bare].any(1).all())


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if not kind.startswith("LightGCN by")])
def test_with_edges_everywhere_vectors_are_the_embedding(kind):
    model = EVERY[kind](Graph.from_edges(np.arange(20) % 10, np.arange(20) % 7, 10, 7))
    z = model.get_embedding().detach()
    assert torch.equal(torch.cat(model.vectors()[:2]), z)


def test_a_model_without_any_edge_recommends():
    empty = Graph.from_edges([], [], 3, 4)
    for make in (lambda g: MF(g, 4), lambda g: LightGCN(g, 4, similarity="cosine"), lambda g: NGCF(g, 4), ItemKNN):
        ids, scores = make(empty).recommend([0, 1], 4)
        assert sorted(ids[0].tolist()) == [0, 1, 2, 3]
        assert (scores == 0).all()


def test_guesses_find_what_others_like():
    rng = np.random.default_rng(0)
    law = 1 / np.arange(1, 101)
    events = [(u, i) for u in range(120) for i in rng.choice(100, 12, replace=False, p=law / law.sum())]
    data = make_dataset(
        "growing", Interactions.from_raw(*np.array(events).T, time=np.repeat(np.arange(120), 12)), split="temporal"
    )
    new = "recall@20[0,1)"
    best = evaluate(EVERY["Popularity"](data), data.test, degrees=[1])[new]
    for model, options in ((MF(data, 8), {}), (LightGCN(data, 8, 1, similarity="cosine"), {"loss": "softmax"})):
        fit(model, data, epochs=15, batch_size=256, lr=0.02, protocol="none", progress=False, **options)
        assert evaluate(model, data.test, degrees=[1])[new] > 0.7 * best
    for kind in ("EASE", "ItemKNN", "GraphFilter", "RP3beta"):
        assert evaluate(EVERY[kind](data), data.test, degrees=[1])[new] == best


# --- FoldIn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_a_fold_in_is_pickled_whole(models, kind):
    fold = FoldIn(models[kind])
    again = pickle.loads(pickle.dumps(fold))
    new = [[0, 3, 7], [], [2]]
    for one, two in zip(fold.recommend(new, 5), again.recommend(new, 5), strict=True):
        assert (one == two).all()


# --- settings ---------------------------------------------------------------------------------------------------------

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
    "ItemKNN": lambda data: ItemKNN(data, INT, shrinkage=FLOAT),
    "RP3beta": lambda data: RP3beta(data, INT, alpha=FLOAT, beta=FLOAT),
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
        (lambda data: NGCF(data, 8, 1.5), "NGCF: num_layers must be an int, got 1.5"),
        (lambda data: pinsage(data, top=2.5), "PinSAGE: top must be an int, got 2.5"),
        (lambda data: EASE(data, reg="5"), "EASE: reg must be a number, got str"),
        (lambda data: GraphFilter(data, rank=2.0), "GraphFilter: rank must be an int, got 2.0"),
        (lambda data: ItemKNN(data, 2.5), "ItemKNN: neighbours must be an int, got 2.5"),
        (lambda data: RP3beta(data, alpha="x"), "RP3beta: alpha must be a number, got str"),
    ],
)
def test_settings_of_another_kind_are_refused(data, make, message):
    with pytest.raises(TypeError, match=message.replace("(", r"\(")):
        make(data)


def test_the_ridge_of_recommendation_loss_is_torch_geometrics(data):
    model = MF(data, 4)
    ranks = torch.tensor([0.5, -1.0, 2.0])
    nodes = torch.tensor([0, 3, 3])
    x = model.embedding.weight.detach()
    for given, rows in ((None, x), (nodes, x[nodes])):
        plain, full = (float(model.recommendation_loss(ranks, -ranks, given, lam).detach()) for lam in (0.0, 0.7))
        assert full - plain == pytest.approx(0.7 * float(rows.norm() ** 2) / 3, rel=1e-5)


# --- arguments of another kind ------------------------------------------------------------------------------------------


def calls(model, data):
    """Everything of a model that ranks, as functions of k."""
    one = data.user_ids[:1]
    yield "recommend", lambda k: model.recommend(one, k)
    yield "recommend_new", lambda k: model.recommend_new([[data.item_ids[0]]], k)
    yield "similar_items", lambda k: model.similar_items(data.item_ids[:1], k)
    if model.row_scorer() is None:
        yield "similar_users", lambda k: model.similar_users(one, k)


@pytest.mark.parametrize("kind", EVERY)
def test_how_many_is_an_integer_of_any_library_and_nothing_else(models, data, kind):
    for name, call in calls(models[kind], data):
        expected = call(3)[0]
        for k in (np.int64(3), torch.tensor(3)):
            assert (call(k)[0] == expected).all()
        for k in (3.0, "3", True, None):
            with pytest.raises(TypeError, match=f"{name}: k must be an int, got"):
                call(k)
        with pytest.raises(ValueError, match=f"{name}: k must be >= 1, got 0"):
            call(0)


@pytest.mark.parametrize("kind", EVERY)
def test_a_set_of_ids_is_refused_since_results_have_an_order(models, kind):
    with pytest.raises(TypeError, match=r"users must be a list or an array.*pass sorted"):
        models[kind].recommend({1, 2}, 3)


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind not in TRAINED])
def test_what_is_made_without_training_is_not_trained(models, data, kind):
    with pytest.raises(TypeError, match=f"fit: {kind} has no parameters to train"):
        fit(models[kind], data, progress=False)


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
    ordinary = base.sorted_index
    monkeypatch.setattr(base, "sorted_index", lambda ids: sorts.append(len(ids)) or ordinary(ids))
    model = MF(data, 4)
    expected = model.recommend(model.user_ids[:3], 2)[0]
    assert np.array_equal(model.recommend(model.user_ids[:3], 2)[0], expected)
    assert sorts == [model.n_users]
    model.user_ids = np.array([f"u{i}" for i in range(model.n_users)], object)
    assert np.array_equal(model.recommend(["u0", "u1", "u2"], 2)[0], expected)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).recommend(["u0"], 2)[0], expected[:1])


class ByScore:
    def fit(self, x, y): ...

    def predict(self, x):
        return x[:, 0]


@pytest.mark.parametrize("kind", TRAINED)
def test_every_way_of_ranking_gives_the_same_bits(models, data, kind):
    model, k = models[kind], 10
    graph, rows = model.graph, torch.arange(model.n_users)
    of_users, of_items = model.scoring_vectors()
    part, _ = data.split_valid(0.3)
    two = TwoStage(MF(part, 4), ByScore(), serving=model, n_candidates=k, use_ppr=False).fit(data)
    alone = [model.recommend([user], k) for user in model.user_ids]
    own_class = SimpleNamespace(vectors=model.vectors)
    by_internal_ids = {
        "scorer and topk": topk(graph, model.scorer()(rows), k, rows),
        "retrieve": retrieve(of_users, of_items, k, graph),
        "retrieve of arrays": map(torch.from_numpy, retrieve(of_users.numpy(), of_items.numpy(), k, graph.to_scipy())),
        "evaluate": next(ranked(model, graph, rows, k))[1:],
        "vectors of a class of one's own": next(ranked(own_class, graph, rows, k))[1:],
    }
    ways = {way: (model.raw_items(ids), scores.numpy()) for way, (ids, scores) in by_internal_ids.items()} | {
        "one by one": tuple(np.concatenate(lists) for lists in zip(*alone, strict=True)),
        "index": Index.build(of_items, ids=model.item_ids).search(of_users, k, graph.to_scipy()),
        "indexed": Indexed(model).recommend(model.user_ids, k),
        "two stages": two.recommend(model.user_ids, k),
    }
    ids, scores = model.recommend(model.user_ids, k)
    for way, (found, values) in ways.items():
        assert np.array_equal(found, ids), way
        assert np.array_equal(values, scores), way

    own, fold = [[0, 3], [5], [1, 2, 7]], FoldIn(model)
    new = [model.item_ids[items].tolist() for items in own]
    edges = Graph.from_edges([0, 0, 1, 2, 2, 2], [0, 3, 5, 1, 2, 7], 3, model.n_items)
    ids, scores = fold.recommend(new, k)
    found, values = topk(edges, dense(model.as_scored(fold.users(new).float()), of_items), k, [0, 1, 2])
    assert np.array_equal(model.raw_items(found), ids)
    assert np.array_equal(values, scores)


@pytest.mark.parametrize("kind", TRAINED)
def test_neighbours_are_those_of_an_index_of_unit_vectors(models, kind):
    model = models[kind]
    z = torch.nn.functional.normalize(model.vectors()[1], dim=1)
    ids, cosines = model.similar_items(model.item_ids, 5)
    found, values = Index.build(z, ids=model.item_ids).search(z, 5, [[i] for i in model.item_ids])
    assert np.array_equal(found, ids)
    assert np.array_equal(values, cosines)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", EVERY)
def test_a_model_of_another_dtype_ranks_and_scores(data, kind, dtype):
    model, other = EVERY[kind](data), EVERY[kind](data).to(dtype)
    pairs = torch.tensor([[0, 1], [model.n_users, model.n_users + 3]])
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float64 or kind in MADE else {"rtol": 0.1, "atol": 0.1}
    torch.testing.assert_close(scores_of(other).float(), scores_of(model), **close)
    torch.testing.assert_close(other(pairs).float(), model(pairs), **close)
    for found in (
        other.recommend(data.user_ids[:4], 3),
        other.recommend_new([data.item_ids[:2].tolist()], 3),
        other.similar_items(data.item_ids[:2], 3),
    ):
        assert np.isfinite(found[1]).all()
    assert evaluate(other, Edges([0], [29]))["n_users_evaluated"] == 1


def test_new_items_have_ids_of_the_models_kind():
    model = pinsage(Graph.from_edges([0, 1, 2], [0, 1, 2]))
    with pytest.raises(
        TypeError, match="PinSAGE: item_ids must be integers as the items of the model are, got strings"
    ):
        model.with_items({"kind": ["kind 1"]}, None, ["a"])
