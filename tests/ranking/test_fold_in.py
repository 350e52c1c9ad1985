import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from every_model import EVERY
from hypothesis import given
from hypothesis import strategies as st
from support import assert_close, random_graph, same_bits_in_any_order, weighted_graph

from fastgcn_rec import MF, FoldIn, Graph, LightGCN, Popularity, Recommender, evaluate, fit
from fastgcn_rec.data import Interactions, make_dataset, synthetic_interactions

MODELS = {
    "lightgcn": lambda graph: LightGCN(graph, 8, 3),
    "lightgcn, one layer, cosine": lambda graph: LightGCN(graph, 8, 1, similarity="cosine"),
    "lightgcn without layers": lambda graph: LightGCN(graph, 8, 0),
    "mf": lambda graph: MF(graph, 8),
    "mf, cosine": lambda graph: MF(graph, 8, similarity="cosine"),
    "lightgcn, popularity": lambda graph: LightGCN(graph, 8, 1, similarity="cosine", popularity=0.1),
    "popularity": Popularity,
}


@pytest.mark.parametrize("graph", [random_graph(), weighted_graph()], ids=["plain", "weighted"])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_edges_of_a_trained_node_give_its_vector_but_for_the_ego_term(layers, graph):
    model = LightGCN(graph, 16, layers, alpha=np.linspace(0.1, 0.9, layers + 1).tolist()).double()
    edges = graph.to_scipy()
    expected = model.get_embedding() - model.alpha[0] * model.embedding.weight
    known = graph.user_degree > 0
    assert_close(
        model.fold_in_users(edges)[known], expected[:40][known], torch.float32
    )  # alphas and degrees are float32's
    assert_close(model.fold_in_items(edges.T.tocsr()), expected[40:], torch.float32)


def propagated_with_a_new_user(model: LightGCN, items: list[int], one_way: bool) -> torch.Tensor:
    """z of the last user of a graph that holds it, degrees of all others as before, its ego vector 0; dense, float64.

    one_way: the new user receives but does not send.
    """
    graph, n = model.graph, model.graph.n_nodes
    adjacency = torch.zeros(n + 1, n + 1, dtype=torch.float64)
    r = torch.from_numpy(graph.to_scipy().toarray()).double()
    adjacency[: graph.n_users, graph.n_users : n] = r
    adjacency[graph.n_users : n, : graph.n_users] = r.T
    degree = torch.cat([adjacency.sum(1)[:n], torch.tensor([float(len(items))]).double()])
    adjacency[n, graph.n_users + torch.tensor(items)] = 1
    if not one_way:
        adjacency[graph.n_users + torch.tensor(items), n] = 1
    scale = torch.where(degree > 0, degree.rsqrt(), 0)
    layer = torch.cat([model.embedding.weight.detach().double(), torch.zeros(1, model.embedding_dim).double()])
    z = model.alpha[0].double() * layer
    for alpha in model.alpha[1:].double():
        layer = scale[:, None] * (adjacency @ (scale[:, None] * layer))
        z = z + alpha * layer
    return z[n]


@given(items=st.lists(st.integers(0, 29), min_size=1, max_size=12, unique=True), layers=st.integers(1, 4))
def test_a_new_user_gets_what_propagating_gives_with_degrees_held_fixed(items, layers):
    model = LightGCN(random_graph(), 8, layers)
    folded = model.fold_in_users([items])[0]
    assert_close(folded, propagated_with_a_new_user(model, items, one_way=True))
    returned = propagated_with_a_new_user(model, items, one_way=False)
    if layers <= 2:  # no path leads back to the new user's neighbours and on before the third hop
        assert_close(folded, returned)
    else:
        assert float((folded - returned).abs().max()) > 1e-6  # the test can tell the two apart


def test_propagate_itself_agrees_on_the_graph_with_the_node_added():
    graph, items = random_graph(), [3, 7, 8, 20]
    model = LightGCN(graph, 8, 2)
    rows = torch.cat([torch.repeat_interleave(torch.arange(40), graph.user_degree), torch.full((4,), 40)])
    larger = Graph.from_edges(rows, torch.cat([graph.indices, torch.tensor(items)]), 41, 30)
    scale = graph.scales("sym", torch.float32)[0]
    scale = torch.cat([scale[:40], torch.tensor([0.5]), scale[40:]])
    weight = model.embedding.weight.detach()
    ego = torch.cat([weight[:40], torch.zeros(1, 8), weight[40:]])
    z = torch.ops.fastgcn_rec.propagate(ego, model.alpha, *larger.tensors(), *larger.schedule(), scale, scale)
    assert_close(model.fold_in_users([items])[0], z[40])


def test_mf_solves_the_documented_least_squares():
    graph = weighted_graph()
    model = MF(graph, 6)
    edges, y = graph.to_scipy().toarray()[:3].astype(np.float64), model.embedding.weight.detach().double().numpy()[40:]
    got = model.fold_in_users(graph.to_scipy()[:3], reg=0.2, unobserved=0.3)
    for vector, weight in zip(got.double().numpy(), edges, strict=True):
        lam = 0.2 * np.square(y).sum() / 6

        def objective(x, weight=weight, lam=lam):
            return (weight * (1 - y @ x) ** 2).sum() + 0.3 * np.square(y @ x).sum() + lam * x @ x

        steps = np.eye(6) * 1e-3
        slopes = [(objective(vector + h) - objective(vector - h)) / 2e-3 for h in steps]
        np.testing.assert_allclose(slopes, 0, atol=1e-4 * objective(vector))


def test_ridge_for_lightgcn_is_that_of_mf_on_the_final_vectors():
    model = LightGCN(random_graph(), 6, 2)
    final = MF(random_graph(), 6)
    with torch.no_grad():
        final.embedding.weight.copy_(model.get_embedding())
    edges = model.graph.to_scipy()[:5]
    options = {"reg": 0.2, "unobserved": 0.1}
    assert torch.equal(model.fold_in_users(edges, method="ridge", **options), final.fold_in_users(edges, **options))


@pytest.mark.parametrize("options", [{}, {"method": "ridge"}])
def test_calibrated_vectors_of_the_graphs_own_nodes_have_the_scale_that_fits_the_trained_ones_best(options):
    model = LightGCN(weighted_graph(), 6, 2)
    known = model.graph.user_degree > 0
    z, edges = model.get_embedding().detach(), model.graph.to_scipy()
    plain, scaled = FoldIn(model, **options), FoldIn(model, calibrate=True, **options)
    for f, c_f, trained in (
        (plain.users(edges)[known], scaled.users(edges)[known], z[:40][known]),
        (plain.items(edges.T.tocsr()), scaled.items(edges.T.tocsr()), z[40:]),
    ):
        assert_close(c_f, f * ((trained * f).sum() / f.square().sum()))
        assert_close((c_f * (trained - c_f)).sum(), torch.tensor(0.0), terms=float(c_f.square().sum()))
    new = [[1, 2, 3]]
    assert plain.recommend(new, 9)[0].tolist() == scaled.recommend(new, 9)[0].tolist()


def test_places_that_no_item_is_left_for_have_the_empty_text():
    events = Interactions.from_raw([f"u{u}" for u in np.repeat(range(20), 6)], [f"i{(7 * n) % 25}" for n in range(120)])
    data = make_dataset("toy", events, split="none")
    ids, scores = LightGCN(data, 8, 1).recommend_new([["i1", "i2", "i2"], []], k=25)
    assert set(ids[0, :23]) == set(data.item_ids) - {"i1", "i2"}
    assert ids[0, 23:].tolist() == ["", ""]
    assert (scores[0, 23:] == -np.inf).all()
    assert set(ids[1]) == set(data.item_ids)


@pytest.mark.parametrize("kind", MODELS)
def test_the_scores_are_those_of_the_folded_vectors(kind):
    model = MODELS[kind](random_graph())
    fold = FoldIn(model)
    vectors, items = fold.users([[1, 2, 3]]), model.scoring_vectors()[1]
    ids, scores = fold.recommend([[1, 2, 3]], k=5)
    assert_close(torch.from_numpy(scores[0]), (model.as_queries(vectors) @ items.T)[0, ids[0]])


def test_many_new_users_are_served_as_each_alone():
    model = LightGCN(random_graph(), 8, 2)
    rng = np.random.default_rng(0)
    rows = [rng.choice(30, rng.integers(0, 10), replace=False).tolist() for _ in range(700)]
    ids, scores = model.recommend_new(rows, k=4)
    for at in (0, 511, 512, 699):
        alone = model.recommend_new([rows[at]], k=4)
        assert ids[at].tolist() == alone[0][0].tolist()
        np.testing.assert_allclose(scores[at], alone[1][0], rtol=1e-6)
    assert model.recommend_new([], k=4)[0].shape == (0, 4)


def test_the_same_bits_for_any_number_of_threads():
    graph = random_graph(300, 200, 6000)
    model = LightGCN(graph, 16, 2)
    edges = graph.to_scipy()
    same_bits_in_any_order(
        lambda: [model.fold_in_users(edges), model.fold_in_items(edges.T.tocsr())], torch.device("cpu")
    )


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda data: LightGCN(data, 32, 2), {"lr": 5e-3}),
        (lambda data: MF(data, 32), {"lr": 5e-3, "reg": 1e-2}),
    ],
    ids=["lightgcn", "mf"],
)
def test_new_users_are_served_far_better_than_by_popularity(make, options):
    data = synthetic_interactions(400, 300, 10000, dim=8, seed=3)
    graph, held = data.graph(), np.arange(0, 400, 10)
    known = ~np.isin(data.train.users, held)
    part = dataclasses.replace(data, train=data.train.select(known))
    model = make(part)
    fit(model, part, epochs=25, batch_size=512, progress=False, protocol="none", **options)
    users, items = model.scoring_vectors()
    users = users.clone()
    users[torch.from_numpy(held)] = model.fold_in_users(graph.to_scipy()[held])
    test = data.test.select(np.isin(data.test.users, held))
    folded = evaluate(lambda ids: users[ids] @ items.T, test, graph)["recall@20"]
    assert folded > 1.2 * evaluate(Popularity(data), test, graph)["recall@20"]


def test_a_frozen_model_does_not_see_later_training():
    model = LightGCN(random_graph(), 8, 2)
    fold = FoldIn(model)
    before = fold.users([[1, 2]])
    with torch.no_grad():
        model.embedding.weight.mul_(2)
    assert torch.equal(fold.users([[1, 2]]), before)
    assert not torch.equal(model.fold_in_users([[1, 2]]), before)


def test_errors():
    model = LightGCN(random_graph(), 8, 1)
    with pytest.raises(ValueError, match="user_items holds 2 ids that are not among the 30 items of the model: 30, 99"):
        model.recommend_new([[1, 99, 30]])
    with pytest.raises(ValueError, match="item_users holds 1 id that is not among the 40 users of the model: 40"):
        model.fold_in_items([[40]])
    with pytest.raises(TypeError, match=r"for a single one pass \[\[id, id, ...\]\]"):
        model.fold_in_users([1, 2])
    with pytest.raises(TypeError, match=r"for a single one pass \[\[id, id, ...\]\]"):
        model.fold_in_users(["abc"])
    with pytest.raises(TypeError, match="got 5"):
        model.fold_in_users(5)
    with pytest.raises(TypeError, match="user_items must be integers as the items of the model are, got strings"):
        model.fold_in_users([["a"]])
    with pytest.raises(ValueError, match=r"shape \[n, n_items\] = \[n, 30\].* got \[2, 29\]"):
        model.fold_in_users(sp.csr_array((2, 29)))
    with pytest.raises(TypeError, match="method='propagate' takes no options, got reg; method='ridge' does"):
        model.fold_in_users([[1]], reg=1.0)
    with pytest.raises(ValueError, match="method must be 'propagate' or 'ridge', got 'als'"):
        model.fold_in_users([[1]], method="als")
    with pytest.raises(ValueError, match=r"reg must be > 0 and unobserved >= 0, both finite, got 0.0 and"):
        MF(random_graph(), 8).fold_in_users([[1]], reg=0)
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        model.recommend_new([[1]], k=0)

    class Other(Recommender):
        def get_embedding(self):
            return torch.zeros(70, 1)

    try:
        with pytest.raises(NotImplementedError, match="Other has no rule for new users"):
            Other(random_graph()).fold_in_users([[1]])
    finally:
        del Recommender.registry["Other"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_repeated_items_of_a_new_user_count_once(kind, weighted):
    weight = np.linspace(0.5, 3, 5, dtype=np.float32) if weighted else None
    graph = Graph.from_edges([0, 0, 1, 1, 2], [0, 1, 1, 2, 3], 3, 10, weight)
    model = EVERY[kind](graph)
    once, repeated = [[0, 1], [2], []], [[0, 1, 0, 0], [2, 2], []]
    for a, b in zip(model.recommend_new(once, 4), model.recommend_new(repeated, 4), strict=True):
        assert np.array_equal(a, b)
    if model.row_scorer() is None:
        assert torch.equal(model.fold_in_users(once), model.fold_in_users(repeated))
        if not kind.startswith("PinSAGE"):
            assert torch.equal(model.fold_in_items(once), model.fold_in_items([[1, 0, 1], [2, 2], []]))
