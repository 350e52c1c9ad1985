"""What may stand where a model is taken, and how what may not is refused."""

from types import SimpleNamespace
from typing import Protocol

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from every_vectors import ByScore, K, best, factors, of_geometric, seen_of

from fastgcn_rec import (
    FoldIn,
    Graph,
    Indexed,
    LightGCN,
    Popularity,
    TwoStage,
    Vectors,
    evaluate,
    write_recommendations,
    write_vectors,
)
from fastgcn_rec.data import Edges
from fastgcn_rec.ranking import Ranker, as_ranker, protocols, ranked

PROTOCOLS = {name: value for name, value in vars(protocols).items() if Protocol in getattr(value, "__bases__", ())}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_ranker_has_every_protocol_of_the_room(protocol, data):
    asked = [name for name in vars(PROTOCOLS[protocol]) if not name.startswith("_")]
    assert asked
    for ranker in (as_ranker(factors(data), data), as_ranker(lambda users: None, data), Popularity(data)):
        assert [name for name in asked if not hasattr(ranker, name)] == []


def test_two_stages_recommend_seen_items_too_and_write_their_lists(data, tmp_path):
    part, _ = data.split_valid(0.2)
    users, items = factors(data)
    two = TwoStage(as_ranker((users, items), part), ByScore(), n_candidates=K, use_ppr=False).fit(data)
    every_item = data.item_ids[best(users @ items.T, np.zeros((len(users), len(items)), bool))]
    assert np.array_equal(two.recommend(data.user_ids, K, exclude_seen=False)[0], every_item)
    assert write_recommendations(two, tmp_path / "r.csv", k=3, progress=False) == 3 * data.n_users
    rows = [line.split(",") for line in (tmp_path / "r.csv").read_text().splitlines()[1:]]
    assert [int(row[2]) for row in rows] == two.recommend(data.user_ids, 3)[0].ravel().tolist()
    with pytest.raises(NotImplementedError, match="TwoStage has no vectors"):
        two.similar_items(data.item_ids[:1])
    with pytest.raises(TypeError, match="write_vectors: TwoStage does not score by vectors"):
        write_vectors(two, tmp_path / "v.npz")


class Own(Ranker):
    """A class of somebody's own, with vectors of somewhere."""

    similarity, has_raw_ids = "dot", True

    def __init__(self, data, users, items):
        self.graph, self.user_ids, self.item_ids = data.graph(), data.user_ids, data.item_ids
        self.both = torch.from_numpy(users).float(), torch.from_numpy(items).float()

    def node_vectors(self):
        return self.both


def test_a_class_with_one_method_is_a_ranker(data):
    users, items = factors(data)
    own, pair = Own(data, users, items), Vectors(users, items, data)
    for a, b in (
        (own.recommend(data.user_ids, K), pair.recommend(data.user_ids, K)),
        (own.similar_items(data.item_ids, K), pair.similar_items(data.item_ids, K)),
        (Indexed(own).recommend(data.user_ids, K), pair.recommend(data.user_ids, K)),
    ):
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1], b[1])
    assert evaluate(own, data) == evaluate(pair, data)
    assert (own.n_users, own.n_items) == (data.n_users, data.n_items)
    assert own.item_rows(data.item_ids[[4, 2]]).tolist() == [4, 2]
    with pytest.raises(NotImplementedError, match="Own has no rule for new users and items"):
        own.recommend_new([[data.item_ids[0]]])


def test_what_ranks_by_scores_or_lists_recommends_too(data):
    graph, scores = data.graph(), np.random.default_rng(5).random((data.n_users, data.n_items))
    expected = best(scores, seen_of(data))

    def lists(seen, users, k):
        own = np.zeros_like(scores, bool) if seen is None else seen.to_scipy().toarray() > 0
        yield users, torch.from_numpy(best(scores, own, k)[users]), torch.zeros(len(users), k)

    for model in (
        lambda rows: scores[rows],
        SimpleNamespace(scorer=lambda: lambda rows: scores[rows]),
        SimpleNamespace(ranked=lists),
    ):
        ranker = as_ranker(model, graph)
        assert isinstance(ranker, Ranker)
        assert ranker.vectors() is None
        assert np.array_equal(ranker.recommend(range(data.n_users), K)[0], expected)
        assert np.array_equal(as_ranker(model, data).recommend(data.user_ids, K)[0], data.item_ids[expected])
        assert evaluate(model, data, ks=K) == evaluate(ranker, data, ks=K)
        if not callable(model):
            model.graph, model.user_ids, model.item_ids = graph, data.user_ids, data.item_ids
            assert np.array_equal(as_ranker(model).recommend(data.user_ids, K)[0], data.item_ids[expected])
        for refused in (ranker.similar_items, ranker.similar_users):
            with pytest.raises(NotImplementedError, match="has no vectors"):
                refused([0])
        with pytest.raises(NotImplementedError, match="has no rule for new users and items"):
            ranker.recommend_new([[0]])
        with pytest.raises(TypeError, match="does not score by vectors, so that no index can hold them"):
            Indexed(ranker)


def test_a_ranker_is_itself_and_keeps_its_graph(data):
    for model in (Popularity(data), Vectors(*factors(data), data.graph()), Indexed(LightGCN(data, 4))):
        assert as_ranker(model) is model
        assert as_ranker(model, Graph.from_edges([0], [0], data.n_users, data.n_items)) is model


SMALL = np.ones((3, 2)), np.ones((4, 2))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Vectors(np.ones(3), SMALL[1]), ValueError, r"users must have shape \[n, dim\], got \[3\]"),
        (lambda: Vectors(SMALL[0], np.ones((4, 3))), ValueError, r"as many columns, got \[3, 2\] and \[4, 3\]"),
        (lambda: Vectors(*SMALL, Graph.from_edges([0], [0], 4, 3)), ValueError, r"each of the 4 users and 3 items of the graph, got \[3, 2\] and \[4, 2\]"),
        (lambda: Vectors(*SMALL, sp.csr_array((3, 4))), TypeError, r"graph must be a Graph or a Dataset, got csr_array; Graph\(matrix\)"),
        (lambda: Vectors(np.full((3, 2), np.nan), SMALL[1]), ValueError, "users must be finite, got NaN or infinity in row 0"),
        (lambda: Vectors(SMALL[0], torch.tensor([[0.0, 1], [0, -torch.inf]])), ValueError, "items must be finite, got NaN or infinity in row 1"),
        (lambda: Vectors(SMALL[0] + 1j, SMALL[1]), TypeError, "users must be real numbers, got dtype complex128"),
        (lambda: Vectors(torch.ones(3, 2) + 1j, SMALL[1]), TypeError, "users must be real numbers, got dtype complex64"),
        (lambda: Vectors(np.array([["a"]]), SMALL[1]), TypeError, "users must be real numbers, got dtype <U1"),
        (lambda: Vectors(sp.csr_array(SMALL[0]), SMALL[1]), TypeError, r"users must be a dense matrix, got a sparse one; pass users.toarray\(\)"),
        (lambda: Vectors(*SMALL, similarity="angle"), ValueError, "similarity must be one of .* got 'angle'"),
        (lambda: Vectors(*SMALL, user_ids=[1]), ValueError, "user_ids must have length n = 3, one for each user, got 1"),
        (lambda: Vectors(*SMALL, item_ids=[1, 2, 2, 1]), ValueError, "item_ids must be distinct, got 2 repeated ones"),
        (lambda: Vectors(*SMALL, item_ids=[1.5] * 4), TypeError, "item_ids must be integers or strings"),
    ],
)  # fmt: skip
def test_matrices_and_ids_that_do_not_fit_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (SMALL, ValueError, r"recommend: exclude_seen=True leaves out .* this Vectors knows no edges; make it with a graph, or pass exclude_seen=False"),
        (SMALL + SMALL, TypeError, r"of matrices a model is the pair \(users, items\), got 4 of them"),
        (5, TypeError, r"as_ranker: model must be a model of fastgcn_rec, .* got int"),
        (SimpleNamespace(vectors=np.eye(2)), TypeError, "got SimpleNamespace"),
        (SimpleNamespace(user_factors=None, item_factors=None), ValueError, "SimpleNamespace.user_factors is None; fit it first"),
        (len, ValueError, r"as_ranker: len is ranked with a graph, and there is none; pass .*as_ranker\(model, graph\)"),
        (SimpleNamespace(scorer=lambda: len), ValueError, "is ranked with a graph"),
        (SimpleNamespace(get_embedding=len, num_nodes=7), ValueError, "SimpleNamespace is ranked with a graph"),
    ],
)  # fmt: skip
def test_what_cannot_rank_is_refused_by_name(model, error, message):
    with pytest.raises(error, match=message):
        as_ranker(model).recommend([0])


def test_what_takes_a_model_names_itself(data, tmp_path):
    part, _ = data.split_valid(0.2)
    calls = {
        "evaluate": lambda: evaluate(5, data),
        "ranked": lambda: ranked(5, data.graph(), torch.arange(2), 3),
        "Indexed": lambda: Indexed(5),
        "TwoStage": lambda: TwoStage(5, ByScore()),
        "FoldIn": lambda: FoldIn(5),
        "write_vectors": lambda: write_vectors(5, tmp_path / "x.npz"),
        "write_recommendations": lambda: write_recommendations(5, tmp_path / "x.csv"),
    }
    for who, call in calls.items():
        with pytest.raises(TypeError, match=f"^{who}: model must be a model of fastgcn_rec.* got int"):
            call()
    matrices = factors(data)
    with pytest.raises(ValueError, match=r"write_recommendations: exclude_seen=True .* this Vectors knows no edges"):
        write_recommendations(matrices, tmp_path / "x.csv", progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"TwoStage: candidates must know the edges .*as_ranker\(model, graph\)"):
        TwoStage(matrices, ByScore())
    with pytest.raises(ValueError, match=r"TwoStage: serving must know the edges"):
        TwoStage(as_ranker(matrices, part), ByScore(), serving=matrices)
    with pytest.raises(ValueError, match=r"recall: exclude_seen=True .* this Indexed knows no edges"):
        Indexed(matrices).recall([0], 3)
    with pytest.raises(ValueError, match=r"FoldIn: calibrate=True .* this Vectors has no graph"):
        FoldIn(matrices, calibrate=True)
    with pytest.raises(ValueError, match=r"Vectors: reg must be > 0 and unobserved >= 0, both finite, got -1.0 and"):
        FoldIn(matrices, reg=-1)
    with pytest.raises(ValueError, match=r"each of the 2 users and 3 items of the graph"):
        evaluate(matrices, Edges([0], [0]), Graph.from_edges([0], [0], 2, 3))
    if (kind := of_geometric(data)) is not None:
        with pytest.raises(
            ValueError, match=r"LightGCN has 110 nodes, and the graph 2 users and 3 items, which makes 5"
        ):
            as_ranker(kind, Graph.from_edges([0], [0], 2, 3))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.ma.masked_array(np.ones((3, 2)), [[False, True]] * 3), ValueError, r"users must be numbers throughout, got masked ones; fill them with"),
        ([[1.0, 2.0], [3.0]], ValueError, "Vectors: users must be numbers in rows of one length"),
        (torch.empty(3, 2, device="meta"), TypeError, "Vectors: users must hold real numbers, got a meta tensor"),
        (np.full((3, 2), 1e300), ValueError, "users must be finite, got NaN or infinity in row 0, as float32"),
    ],
)  # fmt: skip
def test_matrices_that_hide_numbers_or_are_none_are_refused_by_name(values, error, message):
    with pytest.raises(error, match=message):
        Vectors(values, SMALL[1])


def test_rows_may_be_tensors_that_are_trained_and_a_mask_that_hides_nothing_is_none():
    rows = [torch.ones(2, requires_grad=True) for _ in range(3)]
    for users in (rows, np.ma.masked_array(SMALL[0], mask=np.zeros((3, 2), bool))):
        assert np.array_equal(Vectors(users, SMALL[1]).node_vectors()[0], SMALL[0])


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (LightGCN, TypeError, "evaluate: model must be an object, got the class LightGCN; make one of it"),
        (SimpleNamespace(vectors=lambda: SMALL), TypeError, r"SimpleNamespace.vectors\(\) must return \(users, items, similarity\) or None, got a tuple of 2"),
        (SimpleNamespace(vectors=lambda: SMALL[0]), TypeError, r"vectors\(\) must return .* got a ndarray"),
        (SimpleNamespace(scorer=lambda: None), TypeError, r"SimpleNamespace.scorer\(\) must return a function from user ids to scores, got NoneType"),
        (SimpleNamespace(scorer=lambda: len, user_ids=["a"], item_ids=list("wxyz")), ValueError, "evaluate: user_ids must have length n = 3, one for each user, got 1"),
        (SimpleNamespace(scorer=lambda: len, item_ids=list("wxyw")), ValueError, "evaluate: item_ids must be distinct, got 1 repeated ones"),
        (lambda rows: np.ones((len(rows), 4), object), TypeError, "scorer: scores must hold numbers that a tensor can hold, got dtype object"),
        (lambda rows: np.ones((len(rows), 4), np.float16), TypeError, "scorer must return a dense tensor or array of float32 or float64, got float16"),
        (lambda rows: torch.ones(len(rows), 4, device="meta"), TypeError, "scorer must return a dense .* got float32 on meta"),
        (lambda rows: torch.ones(len(rows), 4).to_sparse(), TypeError, "scorer must return a dense .* of layout sparse_coo"),
    ],
)  # fmt: skip
def test_what_a_model_gives_back_that_is_no_ranking_is_refused_by_name(model, error, message):
    with pytest.raises(error, match=message):
        evaluate(model, Edges([0, 1], [1, 2]), Graph.from_edges([0, 1], [0, 0], 3, 4))


def test_scores_of_any_byte_order_rank(data):
    scores = np.random.default_rng(6).random((data.n_users, data.n_items)).astype(np.float32)
    assert evaluate(lambda rows: scores.astype(">f4")[rows], data) == evaluate(lambda rows: scores[rows], data)


def test_an_object_of_somebodys_own_has_the_ids_and_the_edges_that_it_names(data):
    scores = np.random.default_rng(6).random((data.n_users, data.n_items))
    own = SimpleNamespace(
        scorer=lambda: lambda rows: scores[rows], user_ids=data.user_ids.tolist(), item_ids=data.item_ids.tolist()
    )
    expected = data.item_ids[best(scores, seen_of(data))]
    for graph in (data, data.graph()):
        assert np.array_equal(as_ranker(own, graph).recommend(data.user_ids, K)[0], expected)
    found = evaluate(own, data)
    for edges in (data, data.graph()):
        own.graph = edges
        assert np.array_equal(as_ranker(own).recommend(data.user_ids, K)[0], expected)
        assert evaluate(own, data) == evaluate(own, data.test) == found
    own.graph = lambda: None  # another thing of this name
    assert evaluate(own, data) == found
    own.item_ids = own.item_ids[::-1]
    for test in (data, data.test):
        with pytest.raises(ValueError, match="evaluate: test has other items than the model"):
            evaluate(own, test, data.graph())


def lists_of(change):
    """An object that ranks itself, in a way that ``change`` makes of (users, ids, scores)."""

    def ranked(seen, users, k):
        ids = torch.arange(k).expand(len(users), k).contiguous()
        return change(users, ids, torch.zeros(len(users), k))

    return SimpleNamespace(ranked=ranked)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda u, i, s: None, TypeError, r"must give blocks \(users \[b\], ids \[b, k\], scores \[b, k\]\), got NoneType"),
        (lambda u, i, s: [(u, i)], TypeError, r"a block must be \(users \[b\], ids \[b, k\], scores \[b, k\]\)"),
        (lambda u, i, s: [(u[:1], i[:1], s[:1])], ValueError, "blocks must be of all 2 users that were asked for, got 1 of them"),
        (lambda u, i, s: [(u, i, s)] * 2, ValueError, "of the 2 users that were asked for, in their order, got others after 2"),
        (lambda u, i, s: [(u.flip(0), i, s)], ValueError, "in their order, got others after 0"),
        (lambda u, i, s: [(u, i * 0, s)], ValueError, "the items of a list must be different, got one twice"),
        (lambda u, i, s: [(u, i + 3, s)], IndexError, r"ids: id 4 at position 1 is outside \[-1, 4\)"),
        (lambda u, i, s: [(u, i[:, :1], s)], ValueError, r"ids must have shape \[2, 3\], got \[2, 1\]"),
        (lambda u, i, s: [(u, i.float(), s)], TypeError, "ids must be int64 or int32 ids, got float32"),
        (lambda u, i, s: [(u, i, s[:, :1])], ValueError, r"scores must have shape \[2, 3\] as ids, got \[2, 1\]"),
    ],
)  # fmt: skip
def test_lists_of_ones_own_are_of_the_users_asked_for(change, error, message):
    """Any other gave means of what no list was written to, or a recall above 1."""
    graph = Graph.from_edges([0, 1], [0, 0], 2, 4)
    model = lists_of(change)
    with pytest.raises(error, match=f"SimpleNamespace.ranked: .*{message}"):
        evaluate(model, Edges([0, 1], [1, 2]), graph, ks=3)
    with pytest.raises(error, match=f"SimpleNamespace.ranked: .*{message}"):
        as_ranker(model, graph).recommend([0, 1], 3)


def test_lists_of_ones_own_may_be_arrays_and_end_early():
    model = lists_of(lambda u, i, s: [(u.numpy(), np.where(i.numpy() == 2, -1, i.numpy()), s.numpy())])
    graph, test = Graph.from_edges([0, 1], [3, 3], 2, 4), Edges([0, 1], [1, 2])
    assert evaluate(model, test, graph, ks=3)["recall@3"] == 0.5
    assert as_ranker(model, graph).recommend([0], 3)[0].tolist() == [[0, 1, -1]]


@pytest.mark.parametrize("sizes", [(2, 3), (60, 51), (61, 50)])
def test_what_is_excluded_is_of_the_models_users_and_items(data, sizes):
    exclude = Graph.from_edges([0], [0], *sizes)
    for model in (LightGCN(data, 4), Vectors(*factors(data), data)):
        with pytest.raises(ValueError, match=r"exclude must be \[n_users, n_items\] = \[60, 50\] as the model is, got"):
            evaluate(model, Edges([sizes[0] - 1], [0]), exclude)
