"""PinSAGE's users with features: the formula, training, new users, files."""

import dataclasses

import numpy as np
import pytest
import torch
from every_item import COLUMNS, PAPER, items
from support import assert_close, random_graph

from fastgcn_rec import Graph, PinSAGE, Recommender, TrainConfig, fit, random_walk, sample_batch, uniform_rows
from fastgcn_rec.data import Interactions, make_dataset, synthetic_interactions
from fastgcn_rec.features import Categorical, Features, Numeric
from fastgcn_rec.models.pinsage.draws import COLD_USERS, mixed
from fastgcn_rec.negatives import Negatives

USER_COLUMNS = {"id": Categorical(), "job": Categorical(), "age": Numeric()}
SIZES = {"embedding_dim": 8, "hidden_dim": 16, "top": 5, "n_walks": 20, "history": 4}
NONE = torch.empty(0, dtype=torch.int64)


def people(n, seed=0):
    rng = np.random.default_rng(seed)
    return {"id": np.arange(n), "job": rng.choice(list("abc"), n), "age": rng.uniform(10, 90, n)}


def make(data, trained=True, **options):
    known = {"user_features": Features(USER_COLUMNS), "user_info": people(data.n_users)}
    model = PinSAGE(data, Features(COLUMNS), items(data.n_items), **{**PAPER, **SIZES, **known, **options})
    if trained and model.user_side is not None:
        with torch.no_grad():
            for p in model.user_side.parameters():  # as training would
                p.copy_(0.5 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    return model


def f_of(model):
    """dense D + sum of weights times rows of the table, with dense matrices."""
    side = model.user_side
    one_hot = torch.zeros(model.n_users, len(side.table), dtype=torch.float64)
    for u, (row, weights) in enumerate(zip(side.feature_tokens.tolist(), side.feature_weights.tolist(), strict=True)):
        for token, weight in zip(row, weights, strict=True):
            if token >= 0:
                one_hot[u, token] += weight
    return side.feature_dense.double() @ side.dense.weight.double().T + one_hot @ side.table.double()


def test_before_training_features_of_users_change_nothing():
    graph = random_graph()
    model, without = make(graph, trained=False), make(graph, user_features=None, user_info=None)
    assert torch.equal(model.get_embedding(), without.get_embedding())
    for name, p in without.named_parameters():
        assert torch.equal(p, model.get_parameter(name))


@pytest.mark.parametrize("weighted", [False, True])
def test_vectors_are_those_of_the_formula(weighted):
    users, columns = random_graph().edges()
    weight = torch.rand(len(users)) + 0.1 if weighted else None
    model = make(Graph.from_edges(users, columns, 42, 30, weight)).double()  # two users have no items
    z = model.get_embedding()
    edges = torch.from_numpy(model.graph.to_scipy().toarray()).double()
    x = edges @ z[42:] + f_of(model)
    assert_close(z[:42], x / x.norm(dim=1, keepdim=True))
    assert_close(z[40:42].norm(dim=1), torch.ones(2).double())


def test_the_more_items_a_user_has_the_more_they_decide():
    graph = Graph.from_edges([0, *[1] * 30], [0, *range(30)], 2, 30)
    model, without = make(graph), make(graph, trained=False)
    same = (model.get_embedding() * without.get_embedding()).sum(1)[:2]
    assert same[1] > 0.95
    assert same[0] < same[1]


def queries_by_the_formula(model, config, t, users, pos, z):
    now, o = model.rounds.at(model.graph, config, t), model.options
    width = o["history"]
    if o["window"] is None:
        drawn = random_walk(now.graph, users.repeat_interleave(width), 1, mixed(config.seed, t))[:, 1] - model.n_users
        sizes = now.graph.degrees()[0][users]
    else:
        drawn = now.events.draw(users, pos, width, config.seed, t)
        sizes = now.events.near(users, pos)[1].double()
    drawn = drawn.view(-1, width)
    u = uniform_rows(torch.arange(len(users)), 1, seed=config.seed, step=t, place=COLD_USERS)[:, 0]
    cold = u < o["cold_user_share"]
    f = torch.where(cold[:, None], model.user_side.inputs(users, as_new=True), f_of(model)[users])
    empty = cold | (sizes == 0)
    scale = torch.where(empty, f.detach().norm(dim=1).clamp(max=1), 1)
    f.register_hook(lambda grad: grad * scale[:, None])
    mean = torch.where((drawn >= 0)[:, :, None], z[drawn.clamp(min=0)], 0).mean(1)
    x = torch.where(empty[:, None], 0, sizes[:, None] * mean) + f
    return x / x.norm(dim=1, keepdim=True), empty


def timed():
    dataset = synthetic_interactions(60, 50, 700, seed=1)
    time = np.random.default_rng(0).integers(0, 40, len(dataset.train))
    return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, time=time))


@pytest.mark.parametrize(("window", "share", "n_neg"), [(None, 0.0, 0), (None, 0.3, 2), (2, 0.0, 2), (2, 0.3, 0)])
def test_loss_and_gradient_are_those_of_the_formula(window, share, n_neg):
    dataset = timed()
    model = make(dataset, window=window, cold_user_share=share).double()
    config = TrainConfig(loss="bpr" if n_neg else "softmax", batch_size=32, seed=5, reg=0.0)
    some = 0
    for t in range(2):
        users, pos, neg = sample_batch(model.graph, 32, n_neg, seed=5, offset=32 * t)
        ours = model.batch_loss(config, t, users, pos, Negatives(neg))
        z = model.embed(torch.arange(model.n_items), model.rounds.at(model.graph, config, t).near)
        queries, empty = queries_by_the_formula(model, config, t, users, pos, z)
        if n_neg:
            margins = (queries * z[pos]).sum(1)[:, None] - (queries[:, None] * z[neg]).sum(2)
            expected = -torch.nn.functional.logsigmoid(margins).mean()
        else:
            expected = torch.nn.functional.cross_entropy(queries @ z[pos].T / config.temperature, torch.arange(32))
        assert_close(ours, expected)
        parameters = list(model.parameters())
        for a, b in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(expected, parameters), strict=True):
            assert_close(a, b, terms=1.0)
        some += int(empty.sum())
    assert bool(some) is (share > 0 or window is not None)


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-2])
@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_where_features_begin_the_gradient_of_cold_users_has_bounds(size, loss):
    model = make(random_graph(), trained=False, cold_user_share=1 - 1e-9)
    with torch.no_grad():
        for p in model.user_side.parameters():
            p.copy_(size * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    users, pos, neg = sample_batch(model.graph, 16, 1, seed=0)
    model.batch_loss(TrainConfig(batch_size=16, loss=loss, reg=0.0), 0, users, pos, Negatives(neg)).backward()
    norm = float(model.user_side.table.grad.norm())
    assert norm < 20
    assert (norm > 1e-3) is (size > 0)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_users_without_items_get_what_their_like_has(share):
    """Two jobs, each with half of the items; of each one user has no items at all."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 6)
    columns = np.concatenate([rng.choice(15, 6, replace=False) + 15 * (u % 2) for u in range(60)])
    events = Interactions.from_raw(users, columns, user_ids=np.arange(62), item_ids=np.arange(30))
    data = make_dataset("jobs", events, split="none")
    job = np.where(data.user_ids % 2 == 0, "even", "odd")
    kind = {"user_features": Features({"job": Categorical()}), "user_info": {"job": job}, "cold_user_share": share}
    model = PinSAGE(data, Features({"id": Categorical()}), {"id": data.item_ids}, **{**SIZES, **kind})
    fit(model, data, epochs=4, batch_size=40, loss="softmax", lr=0.02, reg=0.0, protocol="none", progress=False)
    ids, _ = model.recommend([60, 61], k=10)
    assert ((ids >= 15) == [[False], [True]]).all()
    new, _ = model.recommend_new([[], []], k=10, user_info={"job": ["even", "odd"]})
    assert np.array_equal(new, ids)


def test_new_users_with_their_features_get_the_vectors_of_trained_ones():
    model = make(random_graph())
    graph, info = model.graph, people(model.n_users)
    own = [graph.indices[graph.indptr[u] : graph.indptr[u + 1]].tolist() for u in range(graph.n_users)]
    assert_close(model.fold_in_users(own, user_info=info), model.vectors()[0])
    without = model.fold_in_users(own)  # f = 0
    known = graph.user_degree > 0  # the others get the mean, which f changes
    assert_close(without[known], make(graph, trained=False).get_embedding()[: graph.n_users][known])
    unknown = {"id": ["new"], "job": ["z"], "age": [float("nan")]}
    assert model.fold_in_users([[]], user_info=unknown).isfinite().all()


def test_columns_of_users_come_with_the_dataset():
    data = timed()
    known = {"job": np.array(people(60)["job"]), "age": np.array([f"{n}" if n else "" for n in range(60)])}  # as read
    features = Features({"job": Categorical(), "age": Numeric()})
    model = make(dataclasses.replace(data, user_info=known), user_features=features, user_info=None)
    ages = torch.cat([torch.zeros(1), (torch.arange(1, 60) - 30) / torch.arange(1.0, 60).std(correction=0)])
    assert_close(model.user_side.feature_dense[:, 0], ages)
    assert make(dataclasses.replace(data, user_info=known), user_features=None, user_info=None).user_side is None


def test_files_and_more_items_keep_them(tmp_path):
    model = make(random_graph(), window=None, cold_user_share=0.2)
    model.save(tmp_path / "m.npz")
    again = Recommender.load(tmp_path / "m.npz")
    assert again.config() == model.config()
    assert torch.equal(again.get_embedding(), model.get_embedding())
    info = people(3, seed=4)
    assert torch.equal(again.fold_in_users([[]] * 3, user_info=info), model.fold_in_users([[]] * 3, user_info=info))
    grown = model.with_items(items(1), [[]])
    assert_close(grown.get_embedding()[:70], model.get_embedding())
    double = make(random_graph()).double().with_items(items(1), [[]])
    assert double.get_embedding().dtype == torch.float64
    assert_close(double.get_embedding()[:70], model.double().get_embedding())


def test_resuming_gives_the_bits_of_going_through(tmp_path):
    dataset, file = timed(), tmp_path / "state.npz"
    options = {"batch_size": 64, "loss": "softmax", "lr": 0.01, "eval_every": 1, "patience": 0, "progress": False}
    through, first, resumed = (make(dataset, trained=False, window=4, cold_user_share=0.2) for _ in range(3))
    fit(through, dataset, epochs=4, **options)
    fit(first, dataset, epochs=2, checkpoint=file, **options)
    fit(resumed, dataset, epochs=4, checkpoint=file, **options)
    assert through.user_side.table.any()
    for a, b in zip(through.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_ridge_takes_in_the_features_of_users():
    model = make(random_graph(), cold_user_share=0.0).double()
    users, pos, _ = sample_batch(model.graph, 16, 0, seed=0)
    both = [
        model.batch_loss(TrainConfig(batch_size=16, loss="softmax", reg=reg), 0, users, pos, Negatives(NONE.view(0, 0)))
        for reg in (0.0, 0.5)
    ]
    (grad,) = torch.autograd.grad(both[1] - both[0], [model.user_side.dense.weight])
    f, dense = f_of(model)[users].detach(), model.user_side.feature_dense[users]
    assert_close(grad, 0.5 / 16 * f.T @ dense)


def test_errors_say_what_to_do():
    graph = random_graph()
    with pytest.raises(ValueError, match=r"no features of users; pass user_info=\{column: values \[n_users\]\}"):
        make(graph, user_info=None)
    with pytest.raises(ValueError, match="user_info needs user_features"):
        make(graph, user_features=None)
    with pytest.raises(ValueError, match=r"user_info must have a row for each of 40 users, got 3"):
        make(graph, user_features=Features(USER_COLUMNS).fit(people(3)), user_info=people(3))
    with pytest.raises(ValueError, match=r"cold_user_share must lie in \[0, 1\), got 1"):
        make(graph, cold_user_share=1)
    model = make(graph)
    with pytest.raises(ValueError, match="user_info must have a row for each of 2 new users, got 1"):
        model.recommend_new([[0], [1]], user_info=people(1))
    with pytest.raises(ValueError, match="no column 'age'"):
        model.recommend_new([[0]], user_info={"id": [1], "job": ["a"]})
    with pytest.raises(ValueError, match="is for a model with user_features"):
        make(graph, user_features=None, user_info=None).fold_in_users([[0]], user_info=people(1))
