"""PinSAGE: the formula, minibatches, leakage, new items, files, resuming."""

import dataclasses

import numpy as np
import pytest
import torch
from every_item import COLUMNS, PAPER, items
from support import TOLERANCE, assert_close, random_graph

from fastgcn_rec import Graph, PinSAGE, Recommender, TrainConfig, evaluate, fit, random_walk_neighbors
from fastgcn_rec.data import Edges, build_dataset, synthetic_interactions
from fastgcn_rec.features import Categorical, Features, Numeric
from fastgcn_rec.models.pinsage.layers import Neighborhoods
from fastgcn_rec.models.pinsage.rounds import Round
from fastgcn_rec.negatives import Negatives
from fastgcn_rec.training.steps.make import make_step


def make(graph=None, **options):
    graph = random_graph() if graph is None else graph
    return PinSAGE(
        graph, Features(COLUMNS), items(graph.n_items), **{"embedding_dim": 16, "hidden_dim": 24, **PAPER, **options}
    )


def data():
    return synthetic_interactions(60, 50, 700, seed=1)


def model_of(dataset, **options):
    options = {**PAPER, "embedding_dim": 8, "hidden_dim": 16, "top": 5, "n_walks": 20, "history": 4, **options}
    return PinSAGE(dataset, Features(COLUMNS), items(dataset.n_items), **options)


def test_without_features_a_graph_has_its_ids():
    model = PinSAGE(random_graph(), embedding_dim=8, hidden_dim=8, n_walks=20)
    assert model.features.columns == {"id": Categorical()}
    assert len(model.table) >= model.n_items


@pytest.mark.parametrize("year", [[0, 1990, 1994], np.array([0, 1990, 1994]), np.array([np.nan, 1990, 1994])])
def test_without_features_a_year_of_zero_is_none_whatever_holds_it(year):
    graph = Graph.from_edges([0, 0, 1, 1], [0, 1, 1, 2])
    model = PinSAGE(graph, item_info={"year": year}, embedding_dim=4, hidden_dim=4, n_walks=20)
    assert model.features.columns == {"year": Numeric(), "id": Categorical()}
    assert model.features.learnt["year"] == [1992.0, 2.0]


class Frame:
    """As a DataFrame has it: columns by their names, and no Mapping."""

    def __init__(self, **columns):
        self.keys, self.__dict__["columns"] = columns.keys, columns

    def __getitem__(self, name):
        return self.columns[name]

    def __iter__(self):
        return iter(self.columns)


def test_columns_may_stand_in_what_is_no_mapping():
    graph, options = random_graph(), {"embedding_dim": 4, "hidden_dim": 4, "n_walks": 20}
    columns = {"a": [float(n) for n in range(graph.n_items)]}
    for features in ((), (Features({"a": Numeric()}),)):
        models = [PinSAGE(graph, *features, item_info=info, **options) for info in (columns, Frame(**columns))]
        assert torch.equal(*[model.get_embedding() for model in models])
        assert "a" in models[1].features.columns


def test_columns_that_are_no_mapping_are_refused_by_name():
    graph, features = random_graph(), Features({"id": Categorical()})
    for given in ((), (features,)):
        with pytest.raises(
            TypeError, match="PinSAGE: item_info must be a mapping of column names to values, got a list"
        ):
            PinSAGE(graph, *given, item_info=["a", "b"])
    with pytest.raises(TypeError, match="PinSAGE: user_info must be a mapping of column names to values, got a list"):
        model_of(data(), user_features=features, user_info=["a"])


def by_the_formula(model):
    """Ying et al. 2018, algorithm 1, with dense matrices in float64."""
    p = {name: t.detach().double() for name, t in model.state_dict().items()}
    n = model.n_items
    one_hot = torch.zeros(n, len(p["table"]), dtype=torch.float64)
    for i in range(n):
        for token, weight in zip(model.feature_tokens[i].tolist(), model.feature_weights[i].tolist(), strict=True):
            if token >= 0:
                one_hot[i, token] += weight
    h = p["feature_dense"] @ p["dense.weight"].T + one_hot @ p["table"]
    o = model.options
    nodes = torch.arange(model.n_users, model.n_users + n)
    ids, weights = random_walk_neighbors(
        model.graph, nodes, o["n_walks"], o["walk_length"], o["restart"], o["top"], o["walk_seed"]
    )
    pool = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j, weight in zip(ids[i].tolist(), weights[i].tolist(), strict=True):
            if j >= 0:
                pool[i, j - model.n_users] = weight
    f = (lambda x: x) if o["linear"] else torch.relu
    for k in range(o["num_layers"]):
        q, w = f"layers.{k}.Q", f"layers.{k}.W"
        near = pool @ f(h @ p[f"{q}.weight"].T + p[f"{q}.bias"])
        h = f(torch.cat([h, near], 1) @ p[f"{w}.weight"].T + p[f"{w}.bias"])
        h = h / h.norm(dim=1, keepdim=True).clamp(min=1e-12)
    z = torch.relu(h @ p["G1.weight"].T + p["G1.bias"]) @ p["G2.weight"].T
    z = z / z.norm(dim=1, keepdim=True).clamp(min=1e-12)
    users = torch.from_numpy(model.graph.to_scipy().toarray()).double() @ z
    return torch.cat([users / users.norm(dim=1, keepdim=True).clamp(min=1e-12), z])


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_vectors_are_those_of_the_formula(num_layers, linear):
    model = make(num_layers=num_layers, linear=linear)
    with torch.no_grad():
        for p in model.parameters():  # biases too
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    expected = by_the_formula(model)
    assert_close(model.get_embedding(), expected)
    assert_close(model.double().get_embedding(), expected, torch.float32)  # features are standardised in float32


def test_some_items_get_what_all_of_them_get():
    model = make().double()
    near, whole = model.neighborhoods(), model.get_embedding()[model.n_users :]
    some = torch.tensor([0, 3, 17, 29])
    assert_close(model.embed(some, near), whole[some])
    ours = torch.autograd.grad(model.embed(some, near)[:, 0].sum(), list(model.parameters()))
    theirs = torch.autograd.grad(whole[some, 0].sum(), list(model.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, terms=1.0)


def test_nodes_without_neighbours_or_edges_have_vectors():
    graph = Graph.from_edges([0, 0], [0, 1], n_users=2, n_items=4)
    z = make(graph).get_embedding()
    assert z.isfinite().all()
    assert_close(z[graph.n_users :].norm(dim=1), torch.ones(4))
    assert not z[1].any()  # a user without items


def test_a_pair_is_out_of_sight_while_it_is_learnt(monkeypatch):
    dataset = synthetic_interactions(60, 50, 700, seed=1)
    model = model_of(dataset, round_share=0.2)
    config = TrainConfig(batch_size=16, loss="bpr", n_neg=1, protocol="none")
    step, seen = make_step(model, config), []
    embed = model.embed

    def spy(nodes, near):
        seen.append((near, model.rounds.now))
        return embed(nodes, near)

    monkeypatch.setattr(model, "embed", spy)
    all_pairs = set(zip(*(t.tolist() for t in model.graph.edges()), strict=True))
    for t in range(12):
        users, pos, _ = step.batches(t, config.seed, t * config.batch_size)
        step(t, 0.01)
        near, now = seen[-1]
        left = set(zip(*(e.tolist() for e in now.graph.edges()), strict=True))
        targets = set(zip(users.tolist(), pos.tolist(), strict=True))
        assert targets <= all_pairs
        assert not targets & left
        assert len(left) > 0.7 * len(all_pairs)
        nodes = torch.arange(model.n_users, model.graph.n_nodes)
        users_of = now.graph.to_scipy()
        meet = (users_of.T @ users_of).toarray() > 0  # length-1 neighbours by the reduced graph only
        reach = meet.astype(int) @ meet.astype(int) @ meet.astype(int) > 0
        for i in range(len(nodes)):
            assert all(reach[i, j] for j in near.ids[i].tolist() if j >= 0)


def test_a_neighbourhood_only_through_the_pair_is_gone():
    # item 0 and item 1 meet in user 0 alone: with (0, 0) to be predicted, neither may see the other.
    graph = Graph.from_edges([0, 0, 1, 2], [0, 1, 0, 1], 3, 2)
    model = make(graph)
    assert model.neighborhoods().ids[:, 0].tolist() == [1, 0]
    left = graph.without_edges(torch.tensor([0]), torch.tensor([0]))
    near = model.neighborhoods(left)
    assert (near.ids == -1).all()
    assert not near.weights.any()


def test_an_item_of_a_user_does_not_move_the_loss_of_that_pair():
    """With the pair in the graph or not, its loss is the same: nothing looks at it."""
    users, pos = torch.tensor([0]), torch.tensor([1])
    graph = random_graph(12, 9, 40, seed=2)
    with_it = Graph.from_edges(*(torch.cat([a, b]) for a, b in zip(graph.edges(), (users, pos), strict=True)), 12, 9)
    without = with_it.without_edges(users, pos)
    a = make(with_it).neighborhoods(without)
    b = make(without).neighborhoods()
    assert torch.equal(a.ids, b.ids)
    assert torch.equal(a.weights, b.weights)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "softmax"},
        {"loss": "bpr", "n_neg": 3, "reg": 0.01},
        {"loss": "max_margin", "margin": 0.1, "negatives": "curriculum(shared(20), ppr(1, lo=0.1, hi=0.5), start=3)"},
        {
            "loss": "max_margin",
            "margin": 0.1,
            "negatives": "curriculum(shared(20), ppr(1, lo=0.1, hi=0.5, of='item'), start=3)",
        },
    ],
)
def test_training_lowers_every_loss(options):
    dataset = data()  # whose made-up titles say nothing: items are told apart by id
    model = PinSAGE(
        dataset, Features({"id": Categorical()}), {"id": dataset.item_ids}, embedding_dim=8, hidden_dim=16, **PAPER
    )
    history = fit(model, dataset, epochs=6, batch_size=64, lr=0.01, protocol="none", progress=False, **options)
    losses = [e["loss"] for e in history.epochs]
    assert losses[2] < losses[0]  # hard negatives, which cost more, come from epoch 4 on
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("history", [1, 4])
def test_hard_negatives_are_ranked_for_the_item_that_predicts(monkeypatch, history):
    dataset, asked, predicts = data(), [], []
    model = model_of(dataset, history=history)

    class Ranks:
        def sample(self, items, n, seed, offset):
            asked.append(items.clone())
            return items[:, None].expand(-1, n)

    config = TrainConfig(
        batch_size=16, loss="max_margin", negatives="uniform(1)+ppr(1, lo=0, hi=9, of='item')", protocol="none"
    )
    monkeypatch.setattr("fastgcn_rec.negatives.hard.PPRHard.ranks_of", lambda *given: Ranks())
    step, history_of = make_step(model, config), Round.history

    def spy(*given):
        predicts.append(history_of(*given))
        return predicts[-1]

    monkeypatch.setattr(Round, "history", spy)
    for t in range(3):
        step(t, 0.01)
        by_sampler, by_loss = predicts[-2:]
        assert torch.equal(by_sampler, by_loss)
        assert torch.equal(asked[-1], by_loss.view(16, history)[:, 0].clamp(min=0))


def test_a_query_without_an_item_in_its_window_gets_no_hard_negative():
    dataset = synthetic_interactions(60, 50, 700, seed=1)
    times = np.arange(len(dataset.train), dtype=np.int64) * 10
    train = Edges(dataset.train.users, dataset.train.items, times)
    dataset = dataclasses.replace(
        dataset, train=train, valid=Edges([], [], np.zeros(0, np.int64)), test=Edges([], [], np.zeros(0, np.int64))
    )
    model = model_of(dataset, window=5, history=1)
    config = TrainConfig(batch_size=16, loss="max_margin", negatives="ppr(2, lo=0, hi=9, of='item')", protocol="none")
    users, pos, negatives = make_step(model, config).batches(0, 0, 0)
    assert (model.query_items(config, 0, users, pos) == -1).all()
    assert (negatives.ids == -1).all()


def test_the_file_gives_the_same_model(tmp_path):
    model = make(similarity="cosine", walk_seed=4)
    model.save(tmp_path / "m.npz")
    again = Recommender.load(tmp_path / "m.npz")
    assert torch.equal(model.get_embedding(), again.get_embedding())
    assert again.config() == model.config()
    info, users = items(2, seed=9), [[0, 1], []]
    assert torch.equal(model.embed_items(info, users), again.embed_items(info, users))


def test_new_items_get_the_vectors_of_a_model_that_had_them():
    graph, n = random_graph(), 26
    users, columns = graph.edges()
    old = columns < n
    info = items(graph.n_items)
    head, tail = ({k: v[part] for k, v in info.items()} for part in (slice(None, n), slice(n, None)))
    features = Features(COLUMNS).fit(head)
    options = {"embedding_dim": 16, "hidden_dim": 24, **PAPER}
    model = PinSAGE(Graph.from_edges(users[old], columns[old], graph.n_users, n), features, head, **options)
    whole = PinSAGE(graph, features, info, **options)
    whole.load_state_dict(dict(model.named_parameters()), strict=False)
    edges = [users[columns == i].tolist() for i in range(n, graph.n_items)]
    grown = model.with_items(tail, edges)
    assert grown.graph.fingerprint() == graph.fingerprint()
    assert torch.equal(grown.get_embedding(), whole.get_embedding())
    assert grown.item_ids.tolist() == list(range(graph.n_items))
    new = model.embed_items(tail, edges)
    assert_close(new, whole.get_embedding()[graph.n_users + n :])
    by_matrix = graph.to_scipy()[:, n:].T.tocsr()
    assert torch.equal(model.embed_items(tail, by_matrix), new)
    assert_close(model.get_embedding(), by_the_formula(model))  # nothing of the model has changed


def test_new_items_are_recommended_and_evaluated():
    model = make()
    grown = model.with_items({"kind": ["a|b"], "title": ["never seen words"], "price": [1e3]}, [[0, 5]], [7000])
    ids, _ = grown.recommend([1], k=grown.n_items)
    assert 7000 in ids
    assert 7000 not in grown.recommend([0], k=grown.n_items)[0]
    assert len(grown.similar_items([7000], k=3)[0][0]) == 3
    assert evaluate(grown, Edges([1], [30]), ks=[grown.n_items])["recall@31"] == 1
    longer = model.with_items({"kind": ["a|b|c|d|e"], "title": ["a b c d e f g h i j"], "price": [np.nan]})
    assert longer.feature_tokens.shape[1] > model.feature_tokens.shape[1]
    assert_close(longer.get_embedding()[:70], model.get_embedding())  # no edges: nobody else's vector moves


def test_new_users_are_the_sum_of_their_items():
    model = make()
    graph = model.graph
    own = [graph.indices[graph.indptr[u] : graph.indptr[u + 1]].tolist() for u in range(graph.n_users)]
    assert_close(model.fold_in_users(own), model.vectors()[0])
    with pytest.raises(ValueError, match="use embed_items"):
        model.fold_in_items([[0]])


def test_an_embedding_by_id_is_a_column():
    graph = random_graph()
    model = PinSAGE(graph, Features({"id": Categorical()}), {"id": np.arange(30)}, num_layers=0, hidden_dim=8)
    assert not model.table[0].any()
    assert len(model.get_embedding()[40:].unique(dim=0)) == 30


def test_weighted_graphs_train_too():
    base = random_graph()
    users, columns = base.edges()
    graph = Graph.from_edges(users, columns, 40, 30, torch.rand(base.n_edges) + 0.1)
    model = make(graph)
    loss = model.batch_loss(
        TrainConfig(batch_size=8, loss="bpr"),
        0,
        users[:8],
        columns[:8],
        Negatives(torch.zeros(8, 1, dtype=torch.int64)),
    )
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    grown = model.with_items(items(1), [[0]]).graph
    assert grown.weight_t.tolist() == [*graph.weight_t.tolist(), 1.0]


def test_neighbourhoods_are_kept_for_a_graph_and_made_anew_for_another():
    model = make()
    first = model.neighborhoods()
    assert model.neighborhoods() is first
    model.graph = random_graph(seed=5)
    assert not torch.equal(model.neighborhoods().ids, first.ids)
    assert isinstance(first, Neighborhoods)
    assert TOLERANCE[torch.float32] > abs(float(first.weights[0].sum()) - 1)


def test_errors_say_what_to_do():
    graph = random_graph()
    with pytest.raises(ValueError, match=r"pass item_info"):
        PinSAGE(graph, Features(COLUMNS))
    with pytest.raises(ValueError, match=r"a row for each of 30 items, got 4"):
        PinSAGE(graph, Features(COLUMNS).fit(items(4)), items(4))
    with pytest.raises(ValueError, match=r"history must be >= 1, got 0"):
        make(history=0)
    with pytest.raises(ValueError, match=r"num_layers must be >= 0, got -1"):
        make(num_layers=-1)
    with pytest.raises(ValueError, match=r"round_share must lie in \(0, 1\), got 1"):
        make(round_share=1)
    model = make()
    with pytest.raises(ValueError, match=r"no column 'title'"):
        model.embed_items({"kind": ["a"], "price": [1.0]})
    with pytest.raises(ValueError, match=r"one row for each of 1 new items, got 2"):
        model.with_items(items(1), [[0], [1]])
    with pytest.raises(
        ValueError, match=r"1 different ids that the model does not have, got 1, 0 of them repeated and 1 known"
    ):
        model.with_items(items(1), None, [3])
    with pytest.raises(ValueError, match="99"):
        model.with_items(items(1), [[99]])


def test_columns_of_another_length_are_refused_before_anything_is_fitted():
    dataset = synthetic_interactions(60, 50, 700, seed=1)
    for given in (items(49), items(51)):
        n = len(given["price"])
        with pytest.raises(
            ValueError, match=rf"item_info must have a row for each of 50 items, got {n} in column 'kind'"
        ):
            PinSAGE(dataset, Features(COLUMNS), given)


def test_data_in_which_nothing_can_be_learnt_is_refused():
    one_each = Graph.from_edges(np.arange(30), np.arange(30) % 20, 30, 25)
    dataset = build_dataset(
        "one each", Edges(*(side.numpy() for side in one_each.edges())), Edges([], []), np.arange(30), np.arange(25), distinct=True
    )  # fmt: skip
    with pytest.raises(ValueError, match="nothing can be learnt"):
        fit(model_of(dataset), dataset, epochs=1, loss="softmax", protocol="none", progress=False)
