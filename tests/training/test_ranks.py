"""One training on several ranks, which share the embedding's columns out: the bits of one process."""

import itertools

import numpy as np
import pytest
import ranks
import torch

import fastgcn_rec as fgr
from fastgcn_rec.data import Interactions, make_dataset, synthetic_interactions

DIM = 50  # 2 ranks hold 32 and 18 of these columns, 3 ranks 16, 16 and 18, 4 ranks 16, 16, 16 and 2
DATA = {"n_users": 100, "n_items": 80, "n_edges": 900, "seed": 1}
SETTINGS = {"epochs": 3, "batch_size": 128, "lr": 0.02, "progress": False}
LOSSES = {
    "bpr": {"loss": "bpr", "reg": 0.01},
    "binary": {"loss": "binary", "negatives": "shared(5)"},
    "max_margin": {"loss": "max_margin", "margin": 0.5, "reg": 0.0},
    "softmax": {"loss": "softmax", "temperature": 0.2, "logq": 0.5, "reg": 0.02},
}
NEGATIVES = (
    "uniform(2)", "popularity(2)", "shared(4)", "in_batch()", "ppr(1, lo=1, hi=9)", "dynamic(1, candidates=6)", "dynamic(2, candidates=6, refresh=3)",
    "semi_hard(1, margin=1.0)", "distance_weighted(2)", "uniform(1)+dynamic(1, refresh=2)+dynamic(1, refresh=3)",
    "curriculum(uniform(1), dynamic(1, candidates=6))",
)  # fmt: skip
MODELS = {
    "MF": lambda data, **more: fgr.MF(data, DIM, **more),
    "cosine": lambda data, **more: fgr.LightGCN(data, DIM, 2, similarity="cosine", norm=(0.6, 0.2), **more),
    "alphas": lambda data, **more: fgr.LightGCN(data, DIM, 2, learn_alpha=True, **more),
    "dropout": lambda data, **more: fgr.LightGCN(data, DIM, 2, edge_dropout=0.2, **more),
    "noise": lambda data, **more: fgr.LightGCN(data, DIM, 2, noise=0.1, learn_alpha=True, **more),
    "contrast": lambda data, **more: fgr.LightGCN(data, DIM, 2, noise=0.1, contrast=0.1, edge_dropout=0.1, **more),
    "views": lambda data, **more: fgr.LightGCN(data, DIM, 2, noise=0.1, contrast=0.1, contrast_layer=None, **more),
    "frozen table": lambda data, **more: frozen(fgr.LightGCN(data, DIM, 2, learn_alpha=True, **more), "embedding.weight"),
    "frozen alphas": lambda data, **more: frozen(fgr.LightGCN(data, DIM, 2, learn_alpha=True, **more), "alpha"),
    "double": lambda data, **more: fgr.LightGCN(data, DIM, 1, **more).double(),
    **{f"K={k}": lambda data, k=k, **more: fgr.LightGCN(data, DIM, k, **more) for k in range(4)},
}  # fmt: skip
EVALUATED = {"eval_every": 1, "metric": "ndcg@10"}


def frozen(model, name):
    model.get_parameter(name).requires_grad_(False)
    return model


def train(world, cases, made=False, device="cpu"):
    """(parameters, history, reported epochs) of each case (model, settings); ``made``: by models that are made for these ranks."""
    data, found = synthetic_interactions(**DATA), []
    for name, settings in cases:
        model = MODELS[name](data, **({"world": world} if made else {})).to(device)
        parameters, reported = dict(model.named_parameters()), []
        history = fgr.fit(model, data, **SETTINGS | settings, on_epoch=reported.append)
        assert (model.columns is not None) == made
        assert all(p is parameters[n] for n, p in model.named_parameters())  # optimizers of one's own keep them
        lists = model.recommend([0, 3, 99], k=5) if not made else None
        state = model.whole_state() if made else model.state_dict()
        found.append(({n: t.clone() for n, t in state.items()}, history, reported, lists))
    return found


def same(one, other):
    state, history, reported, lists = one
    assert state.keys() == other[0].keys()
    for name, t in state.items():
        assert torch.equal(t, other[0][name]), (
            f"{name}: {int((t != other[0][name]).sum())} of {t.numel()} numbers differ"
        )
    assert (lists is None) == (other[3] is None)
    assert lists is None or all((a == b).all() for a, b in zip(lists, other[3], strict=True))
    times = [[{**r, "seconds": 0} for r in records] for records in (history.epochs, history.refit, reported)]
    assert times == [[{**r, "seconds": 0} for r in records] for records in (other[1].epochs, other[1].refit, other[2])]
    assert (history.best_epoch, history.best_metric, history.stopped) == (other[1].best_epoch, other[1].best_metric, other[1].stopped)  # fmt: skip


def check(size, cases, device="cpu"):
    """Trainings on ``size`` ranks end as in one process, on every rank, and so do their histories."""
    one = train(None, cases, False, device)
    many = ranks.on_ranks(size, train, cases, False, device, seconds=200.0)
    for of_rank in many:
        for case, found, expected in zip(cases, of_rank, one, strict=True):
            try:
                same(found, expected)
            except AssertionError as error:
                raise AssertionError(f"{case} on {size} ranks: {error}") from error
    for of_rank in many[1:]:
        assert [f[1] for f in of_rank] == [f[1] for f in many[0]]  # the seconds too


FEW = [
    ("K=2", LOSSES["softmax"] | EVALUATED | {"epochs": 2, "storage": "bfloat16"}),
    (
        "K=1",
        LOSSES["bpr"]
        | {"epochs": 2, "protocol": "none", "negatives": "uniform(1)+dynamic(1, candidates=6, refresh=3)"},
    ),
    ("contrast", LOSSES["bpr"] | EVALUATED | {"epochs": 2, "refit": True}),
    ("alphas", LOSSES["binary"] | {"epochs": 2, "protocol": "none"}),
]


def test_two_ranks_train_to_the_bits_of_one_process(device):
    check(2, FEW, str(device))


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_every_loss_and_depth(size, storage):
    check(
        size,
        [
            (f"K={k}", LOSSES[loss] | EVALUATED | {"storage": storage})
            for k, loss in itertools.product(range(4), LOSSES)
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_way_of_a_model(size):
    kinds = [name for name in MODELS if not name.startswith("K=")]
    check(size, [(kind, LOSSES[loss] | {"protocol": "none"}) for kind, loss in itertools.product(kinds, LOSSES)])


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_sampler(size):
    each = {"protocol": "none", "reg": 0.01}
    check(
        size, [(k, each | {"negatives": negatives}) for negatives, k in itertools.product(NEGATIVES, ("K=1", "alphas"))]
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_the_choice_of_an_epoch(size):
    early = {"epochs": 9, "patience": 1, "lr": 0.5}
    options = [{}, {"refit": True}, early, early | {"refit": True}, {"protocol": "validation"}]
    check(
        size, [(k, LOSSES["softmax"] | EVALUATED | more) for more, k in itertools.product(options, ("K=1", "alphas"))]
    )


def test_a_model_made_for_ranks_stays_shared_out():
    one, (first, second) = train(None, FEW[:1]), ranks.on_ranks(2, train, FEW[:1], True)
    for a, b, expected in zip(first, second, one, strict=True):
        same(a, (*expected[:3], None))
        assert (a[1], a[2]) == (b[1], b[2])
        assert b[0]["embedding.weight"].shape == (0, DIM)


# --- what ranks refuse, and how they end ------------------------------------------------------------------------------


DIFFERENT = {
    "data": "data, and rank 1 has '",
    "model": "model.embedding_dim, and rank 1 has 50, rank 0 48",
    "config": "config.epochs, and rank 1 has 2, rank 0 1",
    "alphas": "values.alpha, and rank 1 has '",
    "table": "values.embedding.weight, and rank 1 has '",
    "frozen": "trained, and rank 1 has ['alpha'], rank 0 ['alpha', 'embedding.weight']",
    "weights": "graph, and rank 1 has '",
    "checkpoint": "checkpoint, and rank 1 has 'c.npz', rank 0 None",
}


def refused(world):
    """What fit says where this rank, if it is not the first one, has something else."""
    found = {}
    for what in DIFFERENT:
        here = what if world.rank else ""
        data = synthetic_interactions(**DATA | ({"seed": 2} if here == "data" else {}))
        graph = data.graph()
        if what == "weights":
            weight = torch.ones(graph.n_edges) + world.rank
            graph = fgr.Graph.from_edges(
                torch.from_numpy(data.train.users), torch.from_numpy(data.train.items), 100, 80, weight
            )
        model = fgr.LightGCN(
            graph, 50 if here == "model" else 48, 1, alpha=0.25 if here == "alphas" else None, learn_alpha=True
        )
        with torch.no_grad():
            model.embedding.weight[70, 20] += here == "table"
        for p in model.parameters():
            p.requires_grad_(here != "frozen" or p is model.alpha)
        file = "c.npz" if here == "checkpoint" else None
        with pytest.raises(ValueError, match="all ranks must have the same") as caught:
            fgr.fit(model, data, epochs=1 + (here == "config"), progress=False, checkpoint=file)
        found[what] = str(caught.value)
        assert model.columns is None
    return found


def test_ranks_that_would_train_something_else_are_refused():
    for texts in ranks.on_ranks(2, refused):
        for what, text in texts.items():
            assert f"fit: all ranks must have the same {DIFFERENT[what]}" in text


def of_other_times(world):
    """Of edges that are the same, of which the latest are not."""
    users, items = np.divmod(np.arange(400), 20)
    time = np.random.default_rng(world.rank).permutation(400)
    data = make_dataset("times", Interactions.from_raw(users, items, time=time), split="none")
    fgr.fit(fgr.MF(data, 32), data, epochs=1, valid_split="temporal", loss="binary", progress=False)


def test_ranks_that_would_hold_out_other_edges_are_refused():
    with pytest.raises(
        ValueError, match="fit: all ranks must have the same edges held out of train, and rank 1 has '20-20-360-"
    ):
        ranks.on_ranks(2, of_other_times)


def of_class(world, kind):
    data = synthetic_interactions(**DATA)
    fgr.fit(getattr(fgr, kind)(data, 16), data, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("NGCF", "NGCF mixes the columns of its vectors.*take MF or LightGCN"),
        ("MF", "2 ranks share 16 columns in panels of 16"),
    ],
)
def test_models_that_cannot_be_shared_out_are_refused(kind, message):
    with pytest.raises(ValueError, match=message):
        ranks.on_ranks(2, of_class, kind)


def diverging(world):
    data = synthetic_interactions(**DATA)
    model = fgr.LightGCN(data, DIM, 1)
    before = model.embedding.weight.detach().clone()
    with pytest.raises(FloatingPointError, match="training has diverged, in epoch 1"):
        fgr.fit(model, data, lr=1e38, epochs=2, protocol="none", progress=False)
    return model.columns is None and torch.equal(model.embedding.weight, before)


def test_ranks_that_diverge_are_put_back_together():
    assert ranks.on_ranks(2, diverging) == [True, True]
