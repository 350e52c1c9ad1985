"""What every model does for who uses it, whatever its class. A new model gets all of it, and what test_behaviour_in_training.py
holds, by one line in every_model.py.
"""

import copy
import io
import json
import pickle
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from every_model import EVERY, FOREIGN, MADE, OF_RECIPES, TRAINED, numbers, of_all, same, small_data, trained
from support import as_a_program, random_graph, weighted_graph

from fastgcn_rec import Graph, Recommender, UserKNN, Vectors, evaluate
from fastgcn_rec.data import Edges
from fastgcn_rec.experiments.recipes import RECIPES

every = pytest.mark.parametrize("kind", EVERY)
every_ranker = pytest.mark.parametrize("kind", [*EVERY, *OF_RECIPES, *FOREIGN])
BY_ROWS = [
    kind for kind in MADE if kind.split()[0] not in ("Popularity", "Blend", "IALS")
]  # which score a user by the row of his items


@pytest.fixture
def model(kind):
    return trained(kind)


def compares_users(model):
    return model.row_scorer() is None or isinstance(model, UserKNN)


def own_items(model, user):
    graph = model.graph
    return model.item_ids[graph.indices[graph.indptr[user] : graph.indptr[user + 1]].numpy()].tolist()


def test_every_class_and_every_recipe_is_among_the_models():
    named = {name.split()[0] for name in EVERY}
    assert {recipe.model for recipe in RECIPES.values()} <= named
    ours = {name for name, kind in Recommender.registry.items() if kind.__module__.startswith("fastgcn_rec.")}
    assert named == ours - {"ItemItem", "Neighbours", "SparseItems"}  # what some have in common
    assert {type(trained(name)).__name__ for name in (*EVERY, *OF_RECIPES)} == named


# --- recommending -------------------------------------------------------------------------------------------------------


@every_ranker
def test_one_user_gets_the_row_of_many(model):
    ids, scores = model.recommend(model.user_ids, 7)
    assert (ids.shape, scores.dtype) == ((model.n_users, 7), np.float32)
    for row in (0, 3, model.n_users - 1):
        for one in (model.user_ids[row], [model.user_ids[row]], model.user_ids[[row]]):
            assert same(model.recommend(one, 7), (ids[[row]], scores[[row]]))
    assert model.recommend([], 7)[0].shape == (0, 7)
    order = [5, 0, 5]
    assert same(model.recommend(model.user_ids[order], 7), (ids[order], scores[order]))
    assert same((ids[:, :3], scores[:, :3]), model.recommend(model.user_ids, 3))


@every_ranker
def test_seen_items_are_left_out_and_what_is_missing_is_padded(model):
    n = model.n_items
    for users in (model.user_ids, model.user_ids[:1]):
        ids, scores = model.recommend(users, n + 2)
        whole, all_scores = model.recommend(users, n + 2, exclude_seen=False)
        for user in range(len(users)):
            seen = own_items(model, user)
            left = n - len(seen)
            assert set(ids[user, :left].tolist()) == set(model.item_ids.tolist()) - set(seen)
            assert ids[user, left:].tolist() == [-1] * (n + 2 - left)
            assert np.isfinite(scores[user, :left]).all()
            assert (scores[user, left:] == -np.inf).all()
            assert (np.diff(scores[user, :left]) <= 0).all()
            assert sorted(whole[user, :n].tolist()) == sorted(model.item_ids.tolist())
            kept = np.isin(whole[user, :n], ids[user, :left])
            assert same((ids[user, :left], scores[user, :left]), (whole[user, :n][kept], all_scores[user, :n][kept]))
        assert (whole[:, n:] == -1).all()
        assert (all_scores[:, n:] == -np.inf).all()


@every_ranker
def test_ids_that_are_not_known_are_named(model):
    calls = [lambda: model.recommend(["u00", "nobody"]), lambda: model.recommend("nobody")]
    if compares_users(model):
        calls.append(lambda: model.similar_users(["nobody"]))
    for call in calls:
        with pytest.raises(ValueError, match="users holds 1 id that is not among the 45 users of the model: 'nobody'"):
            call()
    with pytest.raises(ValueError, match="items holds 2 ids that are not among the 34 items of the model: 7, 10"):
        model.similar_items([10, 100, 7])
    with pytest.raises(ValueError, match="user_items holds 1 id that is not among the 34 items of the model: 99"):
        model.recommend_new([[100], [99, 103]])
    with pytest.raises(TypeError, match="users must be strings as the users of the model are, got integers"):
        model.recommend([1])
    with pytest.raises(TypeError, match=r"users must be a list or an array.*pass sorted"):
        model.recommend({"u00", "u01"})


def calls(model):
    """Everything of a model that ranks, as functions of k."""
    one, new = model.user_ids[:1], [model.item_ids[:1].tolist()]
    found = {
        "recommend": lambda k: model.recommend(one, k),
        "recommend_new": lambda k: model.recommend_new(new, k),
        "similar_items": lambda k: model.similar_items(model.item_ids[:1], k),
    }
    return found | {"similar_users": lambda k: model.similar_users(one, k)} if compares_users(model) else found


@every_ranker
def test_how_many_is_an_integer_of_any_library_and_nothing_else(model):
    for name, call in calls(model).items():
        expected = call(3)[0]
        for k in (np.int64(3), torch.tensor(3)):
            assert (call(k)[0] == expected).all()
        for k in (3.0, "3", True, None):
            with pytest.raises(TypeError, match=f"{name}: k must be an int, got"):
                call(k)
        with pytest.raises(ValueError, match=f"{name}: k must be >= 1, got 0"):
            call(0)


@every_ranker
def test_neighbours_are_all_others_or_there_are_none(model):
    kinds = {"similar_items": model.item_ids, "similar_users": model.user_ids}
    if not compares_users(model):
        del kinds["similar_users"]
        with pytest.raises(NotImplementedError, match="has no vectors of users to compare"):
            model.similar_users(model.user_ids[:1])
    for name, space in kinds.items():
        near, values = getattr(model, name)(space, len(space))
        assert same(getattr(model, name)(space[4], 3), (near[[4], :3], values[[4], :3]))
        none = -1 if name == "similar_items" else ""
        for of, ids, found in zip(space.tolist(), near.tolist(), values, strict=True):
            assert sorted(map(str, ids)) == sorted(map(str, (set(space.tolist()) - {of}) | {none}))
            assert (ids[-1], found[-1]) == (none, -np.inf)
            assert np.isfinite(found[:-1]).all()
            assert (np.diff(found) <= 0).all()


# --- new users and items ------------------------------------------------------------------------------------------------


@every_ranker
def test_new_users_get_what_they_do_not_have_and_the_model_stays_as_it_is(model):
    before, items = numbers(model), model.item_ids
    new = [items[[1, 2, 2]].tolist(), items[[9]].tolist(), []]
    n = model.n_items
    ids, scores = model.recommend_new(new, n)
    for top, found, own in zip(ids.tolist(), scores, map(set, new), strict=True):
        left = n - len(own)
        assert set(top[:left]) == set(items.tolist()) - own
        assert top[left:] == [-1] * len(own)
        assert np.isfinite(found[:left]).all()
        assert (np.diff(found[:left]) <= 0).all()
    matrix = np.zeros((3, n), np.float32)
    for row, own in enumerate(([1, 2], [9], [])):
        matrix[row, own] = 1  # in the order of the model's ids
    assert same(model.recommend_new(sp.csr_array(matrix), n), (ids, scores))
    assert set(model.recommend_new(new, n, exclude_seen=False)[0][0].tolist()) == set(items.tolist())
    assert model.recommend_new([], 4)[0].shape == (0, 4)
    for row, own in enumerate(new):
        alone = model.recommend_new([own], n)
        assert ids[row].tolist() == alone[0][0].tolist()
        np.testing.assert_allclose(scores[row], alone[1][0], rtol=1e-6)
    assert all(map(torch.equal, before, numbers(model)))


@every_ranker
def test_new_nodes_have_vectors_or_the_model_says_that_it_has_none(model):
    users, items = [model.item_ids[[0, 3]].tolist(), []], [model.user_ids[[1]].tolist(), []]
    if model.row_scorer() is not None:
        for fold in (model.fold_in_users, model.fold_in_items):
            with pytest.raises(NotImplementedError, match="no vectors to fold in; use recommend_new"):
                fold([[]])
        with pytest.raises(TypeError, match="takes no options, got reg"):
            model.recommend_new(users, reg=0.1)
        return
    dim = model.node_vectors()[0].shape[1]
    found = model.fold_in_users(users)
    assert (found.shape, bool(found.isfinite().all())) == ((2, dim), True)
    matrix = sp.csr_array(np.isin(model.item_ids, users[0]) * np.array([[1.0], [0.0]]))
    assert torch.equal(model.fold_in_users(matrix), found)
    if hasattr(model, "embed_items"):
        with pytest.raises(ValueError, match="use embed_items"):
            model.fold_in_items(items)
        return
    found = model.fold_in_items(items)
    assert (found.shape, bool(found.isfinite().all())) == ((2, dim), True)


@pytest.mark.parametrize("make_graph", [random_graph, weighted_graph])
@pytest.mark.parametrize("kind", BY_ROWS)
def test_a_new_user_with_a_known_ones_items_gets_his_list(kind, make_graph):
    model = EVERY[kind](make_graph())
    for exclude_seen in (True, False):
        known = model.recommend(range(40), 7, exclude_seen)
        assert same(model.recommend_new(model.graph.to_scipy(), 7, exclude_seen), known)


# --- copies and files ---------------------------------------------------------------------------------------------------


def copies(model, path):
    yield "deepcopy", copy.deepcopy(model)
    yield "pickle", pickle.loads(pickle.dumps(model))
    if isinstance(model, Vectors):
        return
    model.save(path)
    yield "file", Recommender.load(path)
    file = io.BytesIO()
    model.save(file)
    assert file.getvalue() == path.read_bytes()
    file.seek(0)
    yield "file object", Recommender.load(file)


@every_ranker
def test_copies_are_the_same_to_the_bit_and_go_their_own_way(model, tmp_path):
    before, said = numbers(model), of_all(model)
    for how, other in copies(model, tmp_path / "m.npz"):
        assert type(other) is type(model), how
        if how.startswith("file"):
            assert json.dumps(other.config()) == json.dumps(model.config())
        assert same(other.ids, model.ids), how
        assert other.graph.fingerprint() == model.graph.fingerprint(), how
        assert all(map(torch.equal, numbers(other), before)), how
        assert same(of_all(other), said), how
        for t in other.state_dict().values() if isinstance(other, Recommender) else other.node_vectors():
            t.detach().zero_()
        other.user_ids = other.user_ids[::-1]
    assert all(map(torch.equal, numbers(model), before))
    assert same(of_all(model), said)
    assert [file.name for file in tmp_path.iterdir()] == ["m.npz"] * isinstance(model, Recommender)


@every
def test_a_model_of_a_weighted_graph_is_kept_with_its_weights(kind, tmp_path):
    model = EVERY[kind](weighted_graph())
    said = of_all(model)
    for how, other in copies(model, tmp_path / "m.npz"):
        assert torch.equal(other.graph.weight, model.graph.weight), how
        assert other.ids is None, how
        assert same(of_all(other), said), how


def of_states(folder):
    """What a new model of each kind says with the numbers of the file."""
    found = {}
    for kind, make in (EVERY | OF_RECIPES).items():
        model = make(small_data())
        model.load_state_dict(torch.load(f"{folder}/{kind}.pt", weights_only=True))
        found[kind] = [a.tolist() for a in of_all(model, 3)]
    return found


def test_another_process_goes_on_with_the_numbers_alone(tmp_path):
    kinds = [*EVERY, *OF_RECIPES]
    for kind in kinds:
        torch.save(trained(kind).state_dict(), tmp_path / f"{kind}.pt")
    done = as_a_program(__file__, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {kind: [a.tolist() for a in of_all(trained(kind), 3)] for kind in kinds}


# --- devices and dtypes -------------------------------------------------------------------------------------------------


@every
def test_a_model_goes_to_a_device_and_back(kind, device):
    model, said = EVERY[kind](small_data()), of_all(EVERY[kind](small_data()))
    model.to(device)
    tensors = [*model.parameters(), *model.buffers(), *model.graph.tensors()]
    assert {t.device.type for t in tensors if t is not None} == {device.type}
    for there, here in zip(of_all(model)[1::2], said[1::2], strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)
    assert same(of_all(model.to("cpu")), said)


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if not kind.startswith("PinSAGE")])  # which reads the graph
def test_a_model_is_made_on_its_graphs_device_and_stays_there(kind, monkeypatch):
    # torch's meta device, which holds no data, stands for a GPU
    monkeypatch.setattr("fastgcn_rec.core.graph.schedule_of", lambda degree: (None, None))
    model = EVERY[kind](small_data().graph().to("meta"))
    for change in (lambda m: m, lambda m: m.double(), lambda m: m.to(dtype=torch.float32)):
        change(model)
        tensors = [*model.parameters(), *model.buffers(), *model.graph.tensors()]
        assert {t.device.type for t in tensors if t is not None} == {"meta"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@every
def test_a_model_of_another_dtype_ranks_and_scores(kind, dtype):
    data = small_data()
    model, other = EVERY[kind](data), EVERY[kind](data).to(dtype)
    pairs, rows = torch.tensor([[0, 1], [model.n_users, model.n_users + 3]]), torch.arange(model.n_users)
    rounds = kind in TRAINED or kind.startswith("Blend")  # a blend's parts may be such
    close = {"rtol": 0.1, "atol": 0.1} if dtype == torch.bfloat16 and rounds else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(other.scorer()(rows).float(), model.scorer()(rows), **close)
    torch.testing.assert_close(other(pairs).float(), model(pairs), **close)
    assert all(np.isfinite(scores).all() for scores in of_all(other)[1::2])
    assert evaluate(other, Edges([0], [29]))["n_users_evaluated"] == 1
    if dtype == torch.float64:
        assert same(of_all(other.float()), of_all(model))


# --- little data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (1, 4), (4, 1)])
@pytest.mark.parametrize("edges", [0, 1])
@every
def test_without_an_edge_or_with_one_a_model_recommends(kind, shape, edges):
    graph = Graph.from_edges([0] * edges, [0] * edges, *shape)
    model = EVERY[kind](graph)
    ids, scores = model.recommend(range(shape[0]), shape[1], exclude_seen=False)
    assert np.isfinite(scores).all()
    assert (np.sort(ids, 1) == np.arange(shape[1])).all()
    if not edges and not kind.startswith("PinSAGE"):
        assert (scores == (scores[0, 0] if kind == "Blend ranks" else 0)).all()
    assert model.recommend_new([[0], []], 1, exclude_seen=False)[0].shape == (2, 1)
    assert model.similar_items([0], 1)[0].shape == (1, 1)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@every
def test_without_users_or_items_there_are_no_lists_or_empty_ones(kind, shape):
    model = EVERY[kind](Graph.from_edges([], [], *shape))
    ids, scores = model.recommend(range(shape[0]), 2)
    assert ids.shape == scores.shape == (shape[0], 2)
    assert (ids == -1).all()


if __name__ == "__main__":
    print(json.dumps(of_states(sys.argv[1])))
