import pytest
import torch
from rank_threads import on_grid
from support import FEW, random_graph, weighted_graph

from fastgcn_rec import Graph, TrainStep, sample_batch, unseen_mask
from fastgcn_rec.core import native
from fastgcn_rec.core.columns import Columns
from fastgcn_rec.core.grid import Grid
from fastgcn_rec.core.row_graph import RowGraph, row_bounds
from fastgcn_rec.core.world import World
from fastgcn_rec.ops.row_batch import RowBatches
from fastgcn_rec.ops.row_step import RowStep

DIM, BATCH, STEPS = 40, 24, 3
MOMENTS = ("exp_avg", "exp_avg_sq")


def own_part(graph, world):
    """(its rows of the graph, the numbers of its nodes)."""
    users, items = (row_bounds(d.cpu(), world.size, 3) for d in (graph.user_degree, graph.item_degree))
    r = world.rank
    own = RowGraph.of(graph, (users[r], users[r + 1]), (items[r], items[r + 1]))
    return own, torch.cat([torch.arange(*own.users), torch.arange(own.items[0], own.items[1]) + graph.n_users])


def table_of(graph, dtype=torch.float32, dim=DIM):
    generator = torch.Generator().manual_seed(3)
    table = 0.3 * torch.randn(graph.n_nodes, dim, generator=generator, dtype=torch.float64)
    return table.to(dtype).to(graph.device)


def negatives(graph, users, pos, neg, kind):
    if kind == "none":
        return None, None
    if kind == "own":
        return neg.clone().index_fill_(0, torch.tensor([2], device=neg.device), -1), None
    shared = torch.cat([pos[:7], pos.new_tensor([-1])])[None]
    return shared, unseen_mask(graph, users, shared) if kind == "masked" else None


def train(take, graph, kind, batches):
    losses = []
    for t in range(STEPS):
        users, pos, neg = batches(BATCH, 2, seed=1, offset=t * BATCH)
        losses.append(take(users, pos, *negatives(graph, users, pos, neg, kind)))
    return torch.stack(losses)


def alone(graph, alphas, kind, dtype, **options):
    """(losses, table, moments) of one process."""
    table = table_of(graph, dtype)
    step = TrainStep(graph, table, alphas, lr=0.02, **options)
    losses = train(step, graph, kind, lambda *args, **kwargs: sample_batch(graph, *args, **kwargs))
    return losses, table, step.exp_avg, step.exp_avg_sq


def together(graph, columns, rows, alphas, kind, dtype, **options):
    """The same of ranks; the losses of all are compared."""

    def on_rank(grid):
        own, nodes = own_part(graph, grid.rows)
        share = Columns(grid.columns, DIM)
        step = RowStep(own, grid, share.own(table_of(graph, dtype)[nodes]), DIM, alphas, lr=0.02, **options)
        losses = train(step, graph, kind, RowBatches(own, grid.rows))
        assert step.step == STEPS
        assert torch.equal(step.table(), torch.cat([panel.table for panel in step.panels], 1))
        own = [torch.cat([getattr(p, name) for p in step.panels], 1) for name in ("table", *MOMENTS)]
        return losses, nodes, slice(share.first, share.last), own

    whole = [torch.full((graph.n_nodes, DIM), float("nan"), dtype=dtype, device=graph.device) for _ in range(3)]
    found = on_grid(columns, rows, on_rank)
    for losses, nodes, at, own in found:
        assert torch.equal(losses, found[0][0])
        for part, target in zip(own, whole, strict=True):
            target[nodes, at] = part
    return found[0][0], *whole


def assert_same(graph, columns, rows, alphas, kind, dtype=torch.float32, columns_at_once=None, **options):
    expected = alone(graph, alphas, kind, dtype, **options)
    found = together(graph, columns, rows, alphas, kind, dtype, columns_at_once=columns_at_once, **options)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


LOSSES = [("bpr", "own"), ("binary", "shared"), ("max_margin", "masked"), ("softmax", "none")]
ALPHAS = [[1.0], [0.6, 0.4], [0.2, 0.3, 0.5], [0.25] * 4]
GRIDS = [(1, 2), (2, 2), (1, 3)]


@pytest.mark.parametrize("storage", [None, torch.bfloat16])
@pytest.mark.parametrize("alphas", ALPHAS[1::2] if FEW else ALPHAS, ids=lambda a: f"K={len(a) - 1}")
@pytest.mark.parametrize(("loss", "kind"), LOSSES)
def test_ranks_by_rows_find_the_bits_of_one_process(device, loss, kind, alphas, storage, monkeypatch):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 8)  # a GPU's three kinds of rows
    monkeypatch.setattr(native, "PART_EDGES", 12)
    graph = random_graph().to(device)
    for columns, rows in GRIDS[:2]:
        assert_same(graph, columns, rows, alphas, kind, loss=loss, reg=0.1, storage=storage)


@pytest.mark.parametrize("grid", GRIDS)
def test_weights_biases_norms_and_double_precision(device, grid):
    graph = weighted_graph().to(device)
    bias = torch.linspace(-1, 1, graph.n_items, device=device)
    options = {
        "loss": "softmax",
        "item_bias": bias,
        "temperature": 0.2,
        "negative_weight": 1.3,
        "norm": (0.2, 0.7),
        "weight_decay": 0.01,
    }
    assert_same(graph, *grid, [0.5, 0.3, 0.2], "none", torch.float64, **options)
    assert_same(graph, *grid, [0.5, 0.3, 0.2], "own", norm="none", betas=(0.8, 0.95), eps=1e-6)


@pytest.mark.parametrize("storage", [None, torch.bfloat16])
def test_some_columns_at_once_change_nothing(device, storage):
    graph = random_graph().to(device)
    for at_once in (16, 32, 64):
        assert_same(graph, 1, 2, [0.2, 0.3, 0.5], "own", columns_at_once=at_once, reg=0.1, storage=storage)


def test_a_changed_table_is_taken_over(device):
    graph = random_graph().to(device)

    def on_rank(grid, changed):
        own, nodes = own_part(graph, grid.rows)
        step = RowStep(
            own, grid, table_of(graph)[nodes] * (1 if changed else 2), DIM, [0.5, 0.5], storage=torch.bfloat16
        )
        if changed:
            for panel in step.panels:
                panel.table.mul_(2)
            step.refresh()
        step.lr, step.step = 0.1, 3
        train(step, graph, "own", RowBatches(own, grid.rows))
        assert step.lr == 0.1
        assert step.step == 3 + STEPS
        return step.table()

    for a, b in zip(*(on_grid(1, 2, lambda grid, c=c: on_rank(grid, c)) for c in (True, False)), strict=True):
        assert torch.equal(a, b)


def test_what_is_refused(device):
    graph = random_graph().to(device)

    def make(grid, table=None, **options):
        own, nodes = own_part(graph, grid.rows)
        return RowStep(own, grid, table_of(graph)[nodes] if table is None else table, DIM, [0.5, 0.5], **options)

    def refused(error, match, **options):
        with pytest.raises(error, match=match):
            on_grid(1, 1, lambda grid: make(grid, **options))

    refused(ValueError, r"\[own rows, own columns\] = \[70, 40\], got \[70, 39\]", table=table_of(graph, dim=39))
    refused(ValueError, "loss must be one of", loss="hinge")
    refused(ValueError, "columns_at_once must be a multiple of 16, got 24", columns_at_once=24)
    refused(TypeError, "storage must be bfloat16", storage=torch.float16)
    refused(TypeError, "embedding", table=table_of(graph).to(torch.bfloat16))

    def call(grid, *batch):
        return make(grid)(*batch)

    ids = torch.zeros(2, dtype=torch.int64, device=device)
    with pytest.raises(IndexError, match=r"users: id 40 .* outside \[0, 40\)"):
        on_grid(1, 1, lambda grid: call(grid, ids + 40, ids, ids[:, None]))
    with pytest.raises(IndexError, match=r"items: id 30 .* outside \[-1, 30\)"):
        on_grid(1, 1, lambda grid: call(grid, ids, ids, ids[:, None] + 30))
    with pytest.raises(ValueError, match="RowStep: the bpr loss needs neg"):
        on_grid(1, 1, lambda grid: call(grid, ids, ids))


def test_each_argument_of_another_kind_is_named():
    whole = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2])
    graph, grid, table = RowGraph.of(whole, (0, 3), (0, 3)), Grid.of(World(), 1), torch.randn(6, 16)
    for arguments, message in (
        ((whole, grid, table, 16), "graph must be a RowGraph, got Graph"),
        ((graph, World(), table, 16), "grid must be a Grid, .*got World"),
        ((graph, grid, table.tolist(), 16), "embedding is updated in place and must be a tensor, got list"),
        ((graph, grid, table, "16"), "dim must be an int"),
    ):
        with pytest.raises(TypeError, match=f"RowStep: {message}"):
            RowStep(*arguments)
    with pytest.raises(TypeError, match="RowStep: columns_at_once must be an int"):
        RowStep(graph, grid, table, 16, columns_at_once=16.0)
    for make in (lambda: RowStep(graph, grid, table, 16, betas=(0.9,)), lambda: TrainStep(whole, table, betas=0.9)):
        with pytest.raises(TypeError, match="betas must be two floats, got"):
            make()


def test_a_positive_is_an_item():
    graph = RowGraph.of(Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2]), (0, 3), (0, 3))
    step = RowStep(graph, Grid.of(World(), 1), torch.randn(6, 16), 16)
    with pytest.raises(IndexError, match="pos"):
        step([0], [-1], [[1]])
