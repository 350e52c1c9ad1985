import pytest
import torch
from rank_threads import on_grid
from support import assert_close, random_graph, same_bits_in_any_order, weighted_graph

from fastgcn_rec import Graph, adam_step, propagate
from fastgcn_rec.core import native
from fastgcn_rec.core.row_graph import RowGraph, row_bounds
from fastgcn_rec.ops.row_hops import Compact, Panel, RowHops

ADAM = (0.9, 0.999, 1e-8, 0.01)
DIM = 19


def own_part(graph, world):
    """(its rows of the graph, the numbers of its nodes)."""
    users, items = (row_bounds(d.cpu(), world.size, 3) for d in (graph.user_degree, graph.item_degree))
    r = world.rank
    own = RowGraph.of(graph, (users[r], users[r + 1]), (items[r], items[r + 1]))
    nodes = [torch.arange(*own.users), torch.arange(own.items[0], own.items[1]) + graph.n_users]
    return own, torch.cat(nodes).to(graph.device)


def inputs(graph, storage):
    wide = native.accumulator(storage)
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(graph.n_nodes, DIM, generator=generator, dtype=torch.float64).to(wide)
    nodes = torch.cat([torch.arange(0, graph.n_users, 3), torch.arange(graph.n_users, graph.n_nodes, 2)])
    seed = torch.randn(len(nodes), DIM, generator=generator, dtype=torch.float64).to(wide)
    return table.to(graph.device), nodes.to(graph.device), seed.to(graph.device)


def step(grid, graph, alphas, norm, storage):
    """(own nodes, own rows of the table after one step, z at the batch's nodes)."""
    table, nodes, seed = inputs(graph, storage)
    graph_scales = graph.scales(norm, table.dtype)
    left, right = (None if s is None else s[:, None] for s in graph_scales)
    own, own_nodes = own_part(graph, grid.rows)
    alphas = torch.tensor(alphas, dtype=table.dtype, device=graph.device)
    hops = RowHops(own, grid.rows, alphas, norm, storage, DIM)
    shadow = None
    if storage == torch.bfloat16:
        shadow = (table if right is None else table * right)[own_nodes].to(storage)
    rows = table[own_nodes]
    panel = Panel(rows, torch.zeros_like(rows), torch.full_like(rows, 0.5), shadow)  # as after many steps: smooth
    batch = Compact(nodes[nodes < graph.n_users], nodes[nodes >= graph.n_users] - graph.n_users)
    parts = hops.mark(batch)
    assert torch.equal(hops.table_rows(panel, batch, parts), table[nodes])
    z = hops.forward(panel, batch, parts, table[nodes])
    scaled = seed if left is None else left[nodes] * seed
    lr = torch.full((), 0.05, dtype=torch.float64, device=graph.device)
    first = torch.ones((), dtype=torch.int64, device=graph.device)
    hops.backward(panel, scaled.to(storage), seed, alphas[0] * seed, (*ADAM, lr, first))
    hops.unmark(batch)
    assert all(bool((side.slot == -1).all()) for side in hops.sides)
    if shadow is not None:
        scale = 1 if right is None else right[own_nodes]
        assert torch.equal(shadow, (panel.table * scale).to(storage))
    return own_nodes, panel.table, z


def reference(graph, alphas, norm, storage):
    table, nodes, seed = inputs(graph, storage)
    x = table.double().requires_grad_()
    z = propagate(graph, x, alphas, norm)
    upstream = torch.zeros_like(x)
    upstream[nodes] = seed.double()
    z.backward(upstream)
    grad = x.grad
    x = x.detach()
    after, moments = x.clone(), (torch.zeros_like(x), torch.full_like(x, 0.5))
    adam_step(after, grad, *moments, 1, 0.05, *ADAM[:2], eps=ADAM[2], weight_decay=ADAM[3])
    return after, z[nodes].detach()


GRAPHS = {"weighted": weighted_graph, "plain": random_graph, "bare": lambda: Graph.from_edges([0, 5], [3, 3], 40, 30)}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("storage", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("alphas", "norm"),
    [([0.7], "sym"), ([0.2, 0.8], "sym"), ([0.3, 0.5, 0.2], "none"), ([0.1, 0.2, 0.3, 0.4], (0.3, 0.6))],
)
def test_a_step_is_that_of_one_process_however_its_rows_are_shared_out(
    device, name, storage, alphas, norm, monkeypatch
):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 8)  # a GPU's three kinds of rows
    monkeypatch.setattr(native, "PART_EDGES", 12)
    graph = GRAPHS[name]().to(device)
    ((_, alone, z),) = on_grid(1, 1, lambda grid: step(grid, graph, alphas, norm, storage))
    expected, expected_z = reference(graph, alphas, norm, storage)
    assert_close(alone, expected, torch.bfloat16 if storage == torch.bfloat16 else alone.dtype, terms=1.0)
    assert_close(z, expected_z)
    for size in (2, 3):
        found = torch.full_like(alone, float("nan"))
        for nodes, rows, own_z in on_grid(1, size, lambda grid: step(grid, graph, alphas, norm, storage)):
            found[nodes] = rows
            assert torch.equal(own_z, z)
        assert torch.equal(found, alone)


def test_the_same_bits_in_any_order(device):
    graph = random_graph().to(device)
    same_bits_in_any_order(
        lambda: on_grid(1, 1, lambda grid: step(grid, graph, [0.4, 0.3, 0.3], "sym", torch.float32))[0][1:], device
    )


def test_ranges_that_leave_rows_out_are_refused(device):
    graph = random_graph().to(device)
    own = RowGraph.of(graph, (0, 30), (0, 30))
    with pytest.raises(ValueError, match=r"ranges of users must follow each other from 0 to 40, got \[\(0, 30\)\]"):
        on_grid(1, 1, lambda grid: RowHops(own, grid.rows, torch.ones(2, device=device), "sym", torch.float32, DIM))
