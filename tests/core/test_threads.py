"""Threads: small work stays serial, large work does not."""

import numpy as np
import pytest
import torch
from support import on_the_cpu, random_graph

import fastgcn_rec as fgr
from fastgcn_rec import _C

pytestmark = on_the_cpu


def calls(graph: fgr.Graph, n: int, dim: int) -> dict:
    """Calls about a graph that work on n rows of it at a time."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(graph.n_nodes, dim, generator=generator)
    of_users, of_items = table.split([graph.n_users, graph.n_items])
    users = torch.randint(graph.n_users, (n,), generator=generator)
    items = torch.randint(graph.n_items, (n,), generator=generator)
    negatives = torch.randint(graph.n_items, (n, 3), generator=generator)
    edges = graph.to_scipy().tocoo()
    weights = np.linspace(0.5, 1.5, graph.n_edges, dtype=np.float32)
    grad = table.clone().requires_grad_()
    zeros = torch.zeros_like(table)

    def train_step(negatives: torch.Tensor | None, loss: str) -> None:
        fgr.TrainStep(graph, table.clone(), [0.5, 0.5], loss=loss)(users, items, negatives)

    def walk_by_weights() -> None:
        fgr.random_walk(
            fgr.Graph.from_edges(edges.row, edges.col, graph.n_users, graph.n_items, weights), users[:1], 2, 1
        )

    return {
        "Graph.from_edges": lambda: fgr.Graph.from_edges(edges.row, edges.col, graph.n_users, graph.n_items),
        "select_users": lambda: graph.select_users(users),
        "alias tables": walk_by_weights,
        "propagate": lambda: fgr.propagate(graph, table, [0.5, 0.25, 0.25]),
        "propagate, no hop": lambda: fgr.propagate(graph, table, [0.5]),
        "half_hop": lambda: fgr.half_hop(graph, of_items, "users"),
        "dense": lambda: fgr.dense(of_users, of_items[:dim], of_items[0, :1].expand(dim)),
        "outer_sum": lambda: fgr.outer_sum(of_users, of_users),
        "backward": lambda: fgr.propagate(graph, grad, [0.5, 0.5]).sum().backward(),
        "bpr_loss": lambda: fgr.bpr_loss(of_users, of_items, users, items, negatives),
        "softmax_loss": lambda: fgr.softmax_loss(of_users, of_items, users, items),
        "l2_loss": lambda: fgr.l2_loss(table, users),
        "sample_batch": lambda: fgr.sample_batch(graph, n, n_neg=2, seed=0),
        "sample_negatives": lambda: fgr.sample_negatives(graph, users, 4, 7),
        "unseen_mask": lambda: fgr.unseen_mask(graph, users, negatives),
        "uniform_rows": lambda: fgr.uniform_rows(users, dim, seed=1),
        "select_negatives": lambda: fgr.select_negatives(of_users, of_items, users, items, negatives, 1),
        "random_walk": lambda: fgr.random_walk(graph, users, 6, 5),
        "random_walk_neighbors": lambda: fgr.random_walk_neighbors(graph, users, 50, 2, 0.5, 10, 3),
        "ppr": lambda: fgr.ppr(graph, users[:8]),
        "ppr_push": lambda: fgr.ppr_push(graph, users[:8], epsilon=1e-4),
        "topk": lambda: fgr.topk(graph, of_users[users] @ of_items.T, 5, users),
        "retrieve": lambda: fgr.retrieve(of_users[users], of_items, 5, None),
        "retrieve, one query": lambda: fgr.retrieve(of_users[:1], of_items, 5, None),
        "adam_step": lambda: fgr.adam_step(table.clone(), table, zeros.clone(), zeros.clone(), 1),
        "TrainStep, bpr": lambda: train_step(negatives, "bpr"),
        "TrainStep, softmax": lambda: train_step(None, "softmax"),
    }


SMALL = calls(random_graph(30, 20, 60), 4, 8)
LARGE = calls(random_graph(6000, 5000, 300_000), 6000, 64)
MODEL = fgr.MF(random_graph(100, 200, 1000), 16)
FOLD = fgr.FoldIn(fgr.LightGCN(random_graph(30, 20, 60), 16))
SMALL_REQUESTS = {
    "recommend": lambda: MODEL.recommend([3], 5),
    "recommend_new": lambda: FOLD.recommend([[1, 2]], 5),
    "fold_in": lambda: FOLD.users([[1, 2], [3]]),
    "similar_items": lambda: MODEL.similar_items([1], 5),
    "EASE": lambda: fgr.EASE(random_graph(), 1.0).recommend([3], 5),
    "ItemKNN": lambda: fgr.ItemKNN(random_graph()).recommend([3], 5),
}


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def regions(call) -> int:
    before = _C.parallel_regions()
    call()
    return _C.parallel_regions() - before


@pytest.mark.parametrize("name", SMALL | SMALL_REQUESTS)
def test_small_work_opens_no_parallel_region(name):
    assert regions((SMALL | SMALL_REQUESTS)[name]) == 0


@pytest.mark.parametrize("name", set(LARGE) - {"select_users"})
def test_large_work_opens_regions(name):
    assert regions(LARGE[name]) > 0


def test_threads_are_opened_by_the_work_that_there_is():
    table = torch.zeros(_C.grain() // 4 * 2 - 4)  # Adam counts four operations an element: just below two grains
    step = [torch.zeros_like(table) for _ in range(3)]
    assert regions(lambda: fgr.adam_step(table, *step, 1)) == 0
    table = torch.zeros(_C.grain() // 4 * 2)
    step = [torch.zeros_like(table) for _ in range(3)]
    assert regions(lambda: fgr.adam_step(table, *step, 1)) == 1
