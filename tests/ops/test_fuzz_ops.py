"""Random arguments for every op: a call gives a result, or an error of the kinds and in the words that CONTRIBUTING.md asks for.

With FASTGCN_REC_MODULE=<a _C built with -fsanitize> (tests/another_build.py) the same calls run under a sanitizer.
"""

import random
import re

import numpy as np
import pytest
import torch
from support import EMULATED, FEW

import fastgcn_rec as fgr
from fastgcn_rec import Graph

ROUNDS = 8 if FEW else 60  # calls of each op and seed
HUGE = [2**31, 2**40, 2**63 - 1, 2**63, -(2**63), -1, 2**70]  # no number between, that would be honest work
NO_NUMBER = [None, "x", True, [], float("nan"), float("inf"), -1.0, 1e300, 1e-300, 1.5]


class Random(random.Random):
    def floats(self, *shape, dtype=None):
        dtype = dtype or self.choice([torch.float32, torch.float64])
        return torch.tensor([self.gauss(0, 1) for _ in range(int(np.prod(shape)))], dtype=dtype).reshape(shape)

    def ids(self, *shape, n, none=False):
        low = -1 if none or n == 0 else 0
        return torch.tensor([self.randrange(low, max(n, 1)) for _ in range(int(np.prod(shape)))]).long().reshape(shape)

    def graph(self):
        n_users, n_items = self.choice([(5, 7), (1, 1), (12, 3), (4, 0), (0, 0)])
        n = self.choice([0, 1, 20]) if n_users and n_items else 0
        weight = [self.random() + 0.1 for _ in range(n)] if self.random() < 0.3 else None
        return Graph.from_edges(self.ids(n, n=n_users), self.ids(n, n=n_items), n_users, n_items, weight)

    def count(self):
        return self.choice([0, 1, 3, 40])

    def odd(self, value):
        """Something that somebody might pass in place of ``value``."""
        if isinstance(value, Graph):
            return self.choice([None, value.to_scipy(), "x", value.indptr])
        if isinstance(value, torch.Tensor):
            return self.odd_tensor(value)
        if isinstance(value, (bool, str)):
            return self.choice([None, "x", 3, torch.ones(2)])
        numbers = [np.float32(0.5), np.int64(2), torch.tensor(2), torch.tensor([1, 2]), torch.tensor(0.5), 0, 1, 0.5]
        return self.choice(HUGE + NO_NUMBER + numbers)

    def odd_tensor(self, t):
        array = (t.float() if t.dtype == torch.bfloat16 else t).numpy()
        forms = [
            lambda: t[None], lambda: t[:0], lambda: t.reshape(-1)[:1].reshape(()), lambda: t[:-1], lambda: t.flip(0),
            lambda: t.repeat_interleave(2, 0)[::2], lambda: t[:1].expand(t.shape), lambda: t.T.contiguous().T,
            lambda: t.to(self.choice([torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.bool, torch.int32, torch.complex64])),
            lambda: t.to_sparse(), lambda: torch._neg_view(t) if t.is_floating_point() else -t, lambda: t.to("meta"),
            lambda: t * self.choice([2**40, -1, 0, 10**6]), lambda: t * float("nan"), lambda: t * 1e300,
            lambda: array, lambda: array[::-1], lambda: array.astype(array.dtype.newbyteorder(">")), lambda: array.astype(object),
            lambda: array.astype("U8"), lambda: array.tolist(), lambda: array > 0, lambda: [array.tolist(), [1]], lambda: np.asfortranarray(array),
            lambda: None, lambda: "x", lambda: 7, lambda: {1, 2}, lambda: np.datetime64("now"), lambda: np.float128(1) * array,
        ]  # fmt: skip
        try:
            return self.choice(forms)()
        except (RuntimeError, IndexError):  # torch has no such tensor
            return None


def losses(r):
    u, i, d, b = 4, 6, r.choice([1, 3, 17]), r.choice([0, 1, 5])
    dtype = r.choice([torch.float32, torch.float64, torch.bfloat16])
    batch = {"users": r.ids(b, n=u), "pos": r.ids(b, n=i)}
    return {"user_emb": r.floats(u, d, dtype=dtype), "item_emb": r.floats(i, d, dtype=dtype), **batch}


def with_negatives(r):
    batch = losses(r)
    b, m = len(batch["users"]), r.choice([0, 1, 3])
    return {**batch, "neg": r.ids(r.choice([b, 1]), m, n=6, none=True), "mask": torch.ones(b, m, dtype=torch.bool)}


def selecting(r):
    batch = losses(r)
    return {**batch, "candidates": r.ids(len(batch["users"]), r.choice([0, 4]), n=6, none=True)}


def sampling(r):
    graph = r.graph()
    return {"graph": graph, "users": r.ids(3 if graph.n_users else 0, n=graph.n_users)}, {"n": r.count(), "seed": 3}


def walking(r):
    graph = r.graph()
    return {"graph": graph, "nodes": r.ids(3 if graph.n_nodes else 0, n=graph.n_nodes)}


def retrieving(r):
    q, n, d, dtype = (
        r.choice([0, 3, 60]),
        r.choice([0, 1, 40]),
        r.choice([0, 1, 5]),
        r.choice([torch.float32, torch.float64]),
    )
    more = {}
    if r.random() < 0.4:
        more = {"exclude": Graph.from_edges([], [], q, n), "exclude_rows": r.ids(q, n=q)}
    if r.random() < 0.4:
        more["items_subset"] = r.ids(3 if n else 0, n=n)
    return {"queries": r.floats(q, d, dtype=dtype), "items": r.floats(n, d, dtype=dtype), "k": r.count(), "metric": r.choice(["dot", "cosine"]),
            "memory_budget": 1 << 20, **more}  # fmt: skip


def stepping(r):
    shape = r.choice([(5,), (2, 3), (0,)])
    dtype = r.choice([torch.float32, torch.float64])
    tensors = {name: r.floats(*shape, dtype=dtype) for name in ("param", "grad", "exp_avg")}
    return {
        **tensors,
        "exp_avg_sq": r.floats(*shape, dtype=dtype).abs(),
        "step": 1,
        "lr": 0.1,
        "beta1": 0.9,
        "eps": 1e-8,
        "weight_decay": 0.0,
    }


def training(graph, embedding, users, pos, neg, **options):
    return fgr.TrainStep(graph, embedding, **options)(users, pos, neg)


def train_step(r):
    graph, loss = r.graph(), r.choice(["bpr", "binary", "max_margin", "softmax"])
    b = 4 if graph.n_users and graph.n_items else 0
    options = {
        "alphas": [0.5, 0.5],
        "loss": loss,
        "temperature": 0.1,
        "margin": 1.0,
        "reg": 0.1,
        "lr": 0.1,
        "eps": 1e-8,
        "norm": "sym",
    }
    neg = None if loss == "softmax" else r.ids(b, 2, n=graph.n_items, none=True)
    batch = {"users": r.ids(b, n=graph.n_users), "pos": r.ids(b, n=graph.n_items), "neg": neg}
    return {"graph": graph, "embedding": r.floats(graph.n_nodes, 4), **batch, **options}


def of_graph(make):
    def arguments(r):
        graph = r.graph()
        return {"graph": graph, **make(r, graph)}

    return arguments


OPS = {
    "propagate": (fgr.propagate, of_graph(lambda r, g: {"x": r.floats(g.n_nodes, 4), "alphas": [0.5, 0.5], "norm": "sym"})),
    "half_hop": (fgr.half_hop, of_graph(lambda r, g: {"x": r.floats(g.n_items, 3), "to": "users", "left": None})),
    "bpr_loss": (fgr.bpr_loss, with_negatives),
    "binary_loss": (fgr.binary_loss, with_negatives),
    "max_margin_loss": (fgr.max_margin_loss, lambda r: {**with_negatives(r), "margin": 1.0}),
    "softmax_loss": (fgr.softmax_loss, lambda r: {**losses(r), "temperature": 0.1, "negative_weight": 1.0}),
    "l2_loss": (fgr.l2_loss, lambda r: {"emb": r.floats(4, 3), "ids": r.ids(5, n=4, none=True)}),
    "neighbor_pool": (fgr.neighbor_pool, lambda r: {"x": r.floats(6, 3), "ids": r.ids(4, 2, n=6, none=True), "weights": r.floats(4, 2)}),
    "dense": (fgr.dense, lambda r: {"x": r.floats(6, 3, dtype=torch.float32), "w": r.floats(4, 3, dtype=torch.float32)}),
    "topk": (fgr.topk, of_graph(lambda r, g: {"scores": r.floats(3, g.n_items), "k": r.choice([1, 4, 600]), "users": None})),
    "retrieve": (fgr.retrieve, retrieving),
    "sample_negatives": (fgr.sample_negatives, lambda r: (lambda a, b: {**a, **b})(*sampling(r))),
    "sample_batch": (fgr.sample_batch, of_graph(lambda r, g: {"batch_size": r.count(), "n_neg": r.choice([0, 2]), "seed": 1, "offset": r.choice([0, 9]), "by": r.choice(["edge", "user"])})),
    "sample_listed": (fgr.sample_listed, lambda r: {"lists": r.ids(3, 4, n=9).int(), "counts": r.ids(3, n=5).int(), "rows": r.ids(6, n=3), "n": r.count(), "seed": 1, "offset": 0}),
    "unseen_mask": (fgr.unseen_mask, lambda r: {**sampling(r)[0], "items": torch.full((1, 2), -1)}),
    "select_negatives": (fgr.select_negatives, lambda r: {**selecting(r), "n": r.count(), "law": r.choice(["hardest", "semi_hard", "distance_weighted"]), "margin": 0.2, "lo": 0.5, "hi": 1.4, "seed": 0, "offset": 0, "first": 0}),
    "uniform_rows": (fgr.uniform_rows, lambda r: {"ids": r.ids(4, n=9), "dim": r.count(), "seed": 1, "step": 0, "place": 0}),
    "random_walk": (fgr.random_walk, lambda r: {**walking(r), "length": r.choice([0, 5]), "seed": 0, "restart": 0.5}),
    "random_walk_neighbors": (fgr.random_walk_neighbors, lambda r: {**walking(r), "n_walks": 20, "length": 2, "restart": 0.5, "top": 3, "seed": 0}),
    "ppr": (fgr.ppr, lambda r: {**walking(r), "restart": 0.15, "tol": 1e-4, "memory_budget": 1 << 20}),
    "ppr_topk": (fgr.ppr_topk, lambda r: {**walking(r), "k": r.choice([1, 5]), "target": r.choice(["items", "users", "all"]), "exclude_seen": False}),
    "ppr_push": (fgr.ppr_push, lambda r: {**walking(r), "restart": 0.15, "epsilon": 1e-3}),
    "ppr_rank_band": (fgr.ppr_rank_band, lambda r: {**sampling(r)[0], "lo": 0, "hi": 3, "n": 2, "seed": 0}),
    "adam_step": (fgr.adam_step, stepping),
    "TrainStep": (training, train_step),
    "correct_and_smooth": (fgr.correct_and_smooth, of_graph(lambda r, g: {"scores": r.floats(g.n_nodes, 2, dtype=torch.float32), "labels": r.floats(g.n_nodes, 2, dtype=torch.float32), "known": r.ids(2 if g.n_nodes else 0, n=g.n_nodes), "correct": 0.5, "smooth": 0.8, "hops": 3})),
    "Graph": (Graph.from_edges, lambda r: {"users": r.ids(6, n=4), "items": r.ids(6, n=5), "n_users": 4, "n_items": 5, "weight": r.floats(6).abs() + 0.1}),
}  # fmt: skip


def in_our_words(op, names, error):
    """Whether an error names the op or one of its arguments; torch's dispatcher names the op too, as fastgcn_rec::op."""
    text = str(error)
    named = re.search(rf"\b({'|'.join([op, *names, 'rank band', 'PprRanks', 'norm'])})\b", text)
    return (named and "fastgcn_rec::" not in text) or (EMULATED and " stopped: " in text)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.filterwarnings("ignore")
def test_a_call_gives_a_result_or_an_error_in_our_words(op, seed):
    call, arguments = OPS[op]
    for i in range(ROUNDS):
        r = Random(f"{op} {seed} {i}")
        given = arguments(r)
        changed = r.sample(sorted(given), r.choice([0, 1, 1, 2]))
        given |= {name: r.odd(given[name]) for name in changed}
        error = None
        try:
            call(**given)
        except (TypeError, ValueError, IndexError, RuntimeError) as refusal:
            error = refusal
        what = {name: given[name] for name in changed}
        assert changed or not isinstance(error, TypeError), f"round {i}: {error!r}"
        assert error is None or in_our_words(op, given, error), f"round {i}, {what}: {error!r}"
