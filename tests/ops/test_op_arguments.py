"""What people pass to ops: taken where its meaning is plain, refused in the project's own words where it is not."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from support import on_the_cpu, random_graph

from fastgcn_rec import (
    EASE,
    MF,
    Graph,
    Index,
    correct_and_smooth,
    evaluate,
    half_hop,
    ppr,
    ppr_push,
    propagate,
    retrieve,
    sample_batch,
    sample_listed,
    sample_negatives,
    select_negatives,
    topk,
)
from fastgcn_rec.core import native
from fastgcn_rec.data import Edges

FORMS = {
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "Fortran": np.asfortranarray,
    "every other row": lambda a: np.repeat(a, 2, 0)[::2],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "packed": lambda a: np.rec.fromarrays([np.zeros(len(a), "i1"), a], dtype=[("x", "i1"), ("a", a.dtype, a.shape[1:])])["a"],
    "list": lambda a: a.tolist(),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_array_means_the_same_in_any_form(form):
    rng, graph = np.random.default_rng(0), random_graph(6, 9, 20)
    queries, items, x = (rng.normal(size=(n, 4)).astype(np.float32) for n in (6, 9, 15))
    ids = np.arange(6)
    for run in (
        lambda f: retrieve(f(queries), f(items), 3, graph, exclude_rows=f(ids)).ids,
        lambda f: propagate(graph, f(x), [0.5, 0.5]),
        lambda f: topk(graph, f(queries @ items.T), 4, f(ids))[0],
        lambda f: sample_negatives(graph, f(ids), 3, seed=1),
        lambda f: correct_and_smooth(graph, f(x), f(x), f(ids)),
        lambda f: ppr(graph, f(ids)).scores,
    ):
        np.testing.assert_array_equal(np.asarray(run(form)), np.asarray(run(lambda a: a)))


def test_masks_stand_for_the_ids_they_name(device):
    queries, items = torch.randn(4, 3, device=device), torch.randn(9, 3, device=device)
    mask = torch.arange(9, device=device) % 3 > 0
    ids = retrieve(queries, items, 9, items_subset=torch.nonzero(mask).flatten()).ids
    for form in (mask, mask.tolist()):
        assert torch.equal(retrieve(queries, items, 9, items_subset=form).ids, ids)
    assert (retrieve(queries, items, 2, items_subset=[]).ids == -1).all()
    with pytest.raises(ValueError, match=r"retrieve: items_subset as a mask must have shape \[9\], got \[8\]"):
        retrieve(queries, items, 9, items_subset=mask[:8])
    graph = Graph.from_edges([0, 1], [0, 0]).to(device)
    x = torch.randn(3, 2, device=device)
    by_ids = correct_and_smooth(graph, x, x.flip(0), [0, 2])
    assert torch.equal(by_ids, correct_and_smooth(graph, x, x.flip(0), [True, False, True]))


@on_the_cpu
@pytest.mark.parametrize("by", ["edge", "user"])
@pytest.mark.parametrize("offset", [-1, 2**63 - 1, 2**63 - 6])
def test_a_sample_has_a_number_below_2_63(by, offset):
    graph = random_graph()
    lists, counts = torch.zeros((1, 1), dtype=torch.int32), torch.ones(1, dtype=torch.int32)
    for given in (offset, torch.tensor(offset), np.int64(offset)):
        for run in (
            lambda given=given: sample_batch(graph, 6, seed=0, offset=given, by=by),
            lambda given=given: sample_listed(lists, counts, [0] * 6, 2, 0, given),
            lambda given=given: select_negatives(torch.ones(1, 2), torch.ones(1, 2), [0] * 6, [0] * 6, [[0]] * 6, 1, offset=given),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="offset must be"):
                run()
    users, pos, _ = sample_batch(graph, 6, seed=0, offset=2**63 - 8, by=by)
    assert graph.to_scipy().toarray()[users, pos].all()


@on_the_cpu
@pytest.mark.parametrize("count", [-1, 5, 2**31 - 1])
def test_a_list_has_no_more_than_its_places(count):
    lists = torch.zeros((3, 4), dtype=torch.int32)
    counts = torch.tensor([4, 0, count], dtype=torch.int32)
    assert sample_listed(lists, counts, [0, 1], 2, seed=1).tolist() == [[0, 0], [-1, -1]]
    with pytest.raises(IndexError, match=rf"counts: {count} at position 2 is outside \[0, 4\]"):
        sample_listed(lists, counts, [0, 2], 8, seed=1)


@on_the_cpu
@pytest.mark.parametrize("value", [1.5, "3", None, True, float("nan")])
def test_counts_are_ints(value):
    graph = random_graph()
    scores = torch.zeros(1, graph.n_items)
    for run in (
        lambda: topk(graph, scores, value),
        lambda: retrieve(scores, scores, value),
        lambda: sample_negatives(graph, [0], value, 1),
        lambda: sample_batch(graph, value, seed=0),
    ):
        with pytest.raises(TypeError, match=r"(k|n|batch_size) must be an int, got"):
            run()
    if not isinstance(value, float):
        with pytest.raises(TypeError, match="Graph: power must be a number"):
            graph.item_law(value)


@on_the_cpu
def test_ids_do_not_wrap():
    graph = random_graph()
    x = torch.zeros(graph.n_nodes, 1)
    for ids in ([-1], [graph.n_nodes]):
        with pytest.raises(IndexError, match="known: id"):
            correct_and_smooth(graph, x, x, ids)
        with pytest.raises(IndexError, match="users: id"):
            graph.select_users(torch.tensor(ids))
        for model in (MF(graph, 2), EASE(graph, 1.0)):
            for pair in ([[0], ids], [ids, [graph.n_users]]):
                with pytest.raises(IndexError, match="id"):
                    model(torch.tensor(pair))


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e29])
def test_results_do_not_depend_on_the_scale_of_the_weights(device, scale):
    weight = np.array([1.0, 2.0, 3.0, 1.0])
    one, scaled = (Graph.from_edges([0, 1, 1, 2], [0, 0, 1, 1], weight=weight * f).to(device) for f in (1.0, scale))
    x = torch.randn(5, 3, device=device)
    for norm in ("sym", "left"):
        torch.testing.assert_close(propagate(scaled, x, [0.5, 0.5], norm), propagate(one, x, [0.5, 0.5], norm))
    torch.testing.assert_close(ppr(scaled, [0, 4]).scores, ppr(one, [0, 4]).scores)


@on_the_cpu
def test_weights_that_no_float_can_normalise_are_refused():
    for weight, message in (
        ([1e-39, 1.0], "at least 7.89e-31, got 1.0.*e-39 at edge 0"),
        ([0.0, 1.0], "got 0.0 at edge 0"),
        ([1e39, 1.0], "got inf at edge 0"),
        ([3e38, 3e38], "weights of user 0 add up to inf"),
        ([1e30, 1e30], "weights of user 0 add up to 2e.30, more than 1.27e.30"),
        (["a", "b"], "weight must be numbers"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            Graph.from_edges([0, 0], [0, 0], weight=weight)
    with pytest.raises(ValueError, match="weights of item 0 add up to"):
        Graph.from_edges([0, 1], [0, 0], weight=[1e30, 1e30])


@on_the_cpu
def test_walks_that_hardly_end_are_refused():
    graph = random_graph()
    with pytest.raises(ValueError, match="restart = 1e-300 with tol = 1e-06 takes more than 200,000 hops"):
        ppr(graph, [0], 1e-300)
    with pytest.raises(ValueError, match=r"ppr_push: restart must lie in \[1e-06, 1\), got 1e-09"):
        ppr_push(graph, [0], 1e-9)
    bound = ppr(graph, [0], 1e-6, dtype=torch.float64).bound
    assert float(bound[0]) < 1e-4


@on_the_cpu
def test_raw_ids_without_a_count_are_not_taken_for_rows():
    for users, items, name in (([0, 2_000_000_000], [0, 1], "n_users"), ([0, 1], [0, 2**40], "n_items")):
        with pytest.raises(ValueError, match=rf"Graph: .* ids up to .*renumber them .*pass {name}="):
            Graph.from_edges(users, items)
    assert Graph.from_edges([0, 1000], [0, 1]).n_users == 1001


@on_the_cpu
def test_long_lists_of_many_users_are_made_block_by_block(monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["fastgcn_rec.ranking.lists"], "_LISTED_AT_ONCE", 1000)
    graph = random_graph(70, 90)
    model = MF(graph, 2)
    test = Edges(np.arange(70), np.arange(70))
    whole = evaluate(model, test, ks=[90])
    assert whole["recall@90"] == pytest.approx(1 - graph.to_scipy().toarray()[np.arange(70), np.arange(70)].mean())
    users, items = torch.randn(200, 2), torch.randn(300, 2)
    ids = retrieve(users, items, 300, memory_budget=40_000).ids  # less than the result
    assert torch.equal(ids, retrieve(users, items, 300).ids)
    assert Index.build(items.numpy()).search(users.numpy(), 300)[0].tolist() == ids.tolist()


def test_what_comes_out_is_of_the_kind_of_the_first_that_went_in():
    tensor, array = torch.eye(3), np.eye(3, dtype=np.float32)
    graph, ids = Graph.from_edges([0, 1, 2], [0, 1, 2]), np.array([0])
    for kind, x in ((torch.Tensor, tensor), (np.ndarray, array)):
        for y in (tensor, array):
            results = [
                *retrieve(x, y, 1, items_subset=ids),
                *retrieve(items=y, items_subset=ids, k=1, queries=x),
                *topk(graph, x, 1, users=np.arange(3) if x is tensor else torch.arange(3)),
                half_hop(graph, x, "users", y[0]),
                half_hop(left=y[0], to="users", x=x, graph=graph),
            ]
            assert {type(result) for result in results} == {kind}


@on_the_cpu
@pytest.mark.parametrize(("library", "home"), [("cupyish", "cupyish"), ("jaxlib", "jax.dlpack")])
def test_what_comes_back_is_of_the_library_that_it_came_from(monkeypatch, library, home):
    class Array:
        def __init__(self, tensor):
            self.tensor, self.shape = tensor, tensor.shape

        def __dlpack__(self, **options):
            return self.tensor.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

    Array.__module__ = f"{library}.arrays"
    for name in (library, home.split(".")[0], home):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[home].from_dlpack = Array
    graph, x = random_graph(), torch.randn(70, 8)
    y = propagate(graph, Array(x), [0.0, 1.0])
    assert type(y) is Array
    assert torch.equal(y.tensor, propagate(graph, x, [0.0, 1.0]))


def test_more_ids_than_a_call_takes_are_refused_before_memory_is_asked_for():
    with pytest.raises(ValueError, match=r"2147483648 ids of 5 rows: a call takes at most 2\^31 - 1 of each"):
        native.size("scatter_rows", torch.device("cpu"), 2**31, 5)
