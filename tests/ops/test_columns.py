"""Ops of rows whose columns several ranks share out: the same bits as of one process."""

import pytest
import torch
from rank_threads import on_threads
from support import random_graph

from fastgcn_rec import Graph, TrainStep, l2_loss, propagate
from fastgcn_rec.core.columns import Columns
from fastgcn_rec.core.world import World

DIMS = [16, 33, 64, 100, 250]


def ranks_of(dim):
    return [size for size in (1, 2, 3, 4) if size <= -(-dim // 16)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dim", DIMS)
def test_the_ridge_of_shared_columns(device, dim, dtype):
    emb = torch.randn(300, dim, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    ids = torch.randint(-1, 300, (700,), generator=torch.Generator().manual_seed(1)).to(device)

    def run(world):
        columns = Columns(world, dim)
        own = columns.own(emb).requires_grad_()
        value = l2_loss(own, ids, columns=columns)
        return value.detach(), columns.whole(torch.autograd.grad(3 * value, own)[0])

    leaf = emb.clone().requires_grad_()
    value = l2_loss(leaf, ids)
    expected = value, torch.autograd.grad(3 * value, leaf)[0]
    for size in ranks_of(dim):
        for found in on_threads(size, run):
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dim", DIMS)
def test_propagation_of_shared_columns(device, dim, dtype):
    if device.type == "cuda" and len(ranks_of(dim)) > 0:
        pytest.skip("autograd has one thread a GPU, in which ranks that are threads would wait for each other")
    graph = random_graph(120, 80, 900).to(device)
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    x = torch.randn(200, dim, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    up = torch.randn(200, dim, generator=torch.Generator().manual_seed(1)).to(device, dtype)

    def gradients(x, up, columns):
        x = x.requires_grad_()
        alphas = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=accumulator, device=device, requires_grad=True)
        y = propagate(graph, x, alphas, columns=columns)
        return (y.detach(), *torch.autograd.grad(y, (x, alphas), up))

    def run(world):
        columns = Columns(world, dim)
        y, dx, dalphas = gradients(columns.own(x), columns.own(up), columns)
        return columns.whole(y), columns.whole(dx), dalphas

    expected = gradients(x.clone(), up, None)
    for size in ranks_of(dim):
        for found in on_threads(size, run):
            assert all(map(torch.equal, found, expected))


def test_a_table_that_is_not_this_ranks_is_refused(device):
    graph = random_graph().to(device)
    table = torch.ones(graph.n_nodes, 64, device=device)

    def run(world):
        columns = Columns(world, 64)
        with pytest.raises(
            ValueError, match=rf"emb must have the 32 columns .* that rank {world.rank} of 2 holds, got 64"
        ):
            l2_loss(table, torch.zeros(1, dtype=torch.int64, device=device), columns=columns)
        with pytest.raises(ValueError, match=r"x must have the 32 columns"):
            propagate(graph, table, [0.5, 0.5], columns=columns)
        alphas = torch.ones(2, device=device, requires_grad=True)
        with pytest.raises(ValueError, match='with norm="gcn" the gradient of alphas is not shared out'):
            propagate(graph, columns.own(table), alphas, norm="gcn", columns=columns)

    on_threads(2, run)


@pytest.mark.parametrize("columns", [2, World()])
def test_what_are_no_columns_is_refused(columns):
    graph, table = Graph.from_edges([0, 1], [0, 0]), torch.ones(3, 16)
    for call in (
        lambda: l2_loss(table, torch.tensor([0]), columns),
        lambda: propagate(graph, table, [0.5, 0.5], columns=columns),
        lambda: TrainStep(graph, table, columns=columns),
    ):
        with pytest.raises(TypeError, match=f"columns must be a Columns, .*got {type(columns).__name__}"):
            call()


def test_columns_of_one_process_are_checked_like_those_of_ranks():
    with pytest.raises(ValueError, match="emb must have the 40 columns"):
        l2_loss(torch.ones(3, 16), torch.tensor([0]), Columns(World(), 40))
