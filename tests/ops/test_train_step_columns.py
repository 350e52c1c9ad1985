"""TrainStep of shared columns: on any number of ranks the bits of one process."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rank_threads import on_threads
from support import EMULATED, graphs, on_the_cpu, random_graph

from fastgcn_rec import TrainStep, sample_batch
from fastgcn_rec.core import native
from fastgcn_rec.core.columns import Columns

ALPHAS = [[1.0], [0.5, 0.5], [0.5, 0.3, 0.2], [0.25] * 4]
SIZES = [2, 3, 4]


def table_of(graph, dim, dtype):
    return torch.randn(graph.n_nodes, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def trained(graph, dim, dtype, batches, columns=None, **options):
    """What three steps leave, all columns of it."""
    table = table_of(graph, dim, dtype)
    whole = (lambda own: own) if columns is None else columns.whole
    table = (table if columns is None else columns.own(table)).to(graph.device)
    step = TrainStep(graph, table, columns=columns, lr=0.05, **options)
    losses = [step(*batch) for batch in batches]
    return [*losses, whole(table), *(whole(t) if t.ndim == 2 else t for t in step.state.values())]


def assert_the_same_bits(graph, dim, dtype, batches, sizes=SIZES, **options):
    expected = trained(graph, dim, dtype, batches, **options)
    for size in sizes:
        if size > -(-dim // 16):
            continue
        for found in on_threads(
            size, lambda world: trained(graph, dim, dtype, batches, Columns(world, dim), **options)
        ):
            assert all(map(torch.equal, found, expected)), f"on {size} ranks"


def batches_of(graph, batch, n_neg, shared=False, mask=False, steps=3):
    found = []
    for t in range(steps):
        generator = torch.Generator().manual_seed(t)
        users = torch.randint(graph.n_users, (batch,), generator=generator)
        pos = torch.randint(graph.n_items, (batch,), generator=generator)
        neg = torch.randint(-1, graph.n_items, (1 if shared else batch, n_neg), generator=generator)
        keep = torch.rand(batch, n_neg, generator=generator) < 0.6 if mask else None
        found.append([None if x is None else x.to(graph.device) for x in (users, pos, neg, keep)])
    return found


@pytest.mark.parametrize("loss", ["bpr", "binary", "max_margin", "softmax"])
@pytest.mark.parametrize(
    ("dtype", "storage"), [(torch.float32, None), (torch.float64, None), (torch.float32, torch.bfloat16)]
)
@pytest.mark.parametrize("alphas", ALPHAS)
def test_every_loss_storage_and_depth(device, alphas, dtype, storage, loss):
    graph = (random_graph(60, 40, 500) if EMULATED else random_graph(300, 200, 3000)).to(device)
    batches = batches_of(graph, 40 if EMULATED else 128, 2)
    if loss == "softmax":
        batches = [batch[:2] for batch in batches]
    sizes = [3] if EMULATED else SIZES
    assert_the_same_bits(graph, 64, dtype, batches, sizes, alphas=alphas, loss=loss, storage=storage, reg=0.03)


@given(
    graph=graphs(),
    dim=st.integers(17, 150),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    bf16=st.booleans(),
    alphas=st.sampled_from(ALPHAS),
    norm=st.sampled_from(["sym", "left", "none", (0.7, 0.2)]),
    loss=st.sampled_from(["bpr", "binary", "softmax"]),
    shared=st.booleans(),
    mask=st.booleans(),
    bias=st.booleans(),
    decay=st.sampled_from([0.0, 0.01]),
    reg=st.sampled_from([0.0, 0.1]),
    n_neg=st.integers(1, 3),
    batch=st.integers(1, 40),
    size=st.integers(2, 4),
)
def test_any_width_graph_and_batch(
    device, graph, dim, dtype, bf16, alphas, norm, loss, shared, mask, bias, decay, reg, n_neg, batch, size
):
    graph = graph.to(device)
    batches = batches_of(graph, batch, n_neg, shared, mask and shared and batch > 1, 2)
    options = {"alphas": alphas, "norm": norm, "loss": loss, "reg": reg, "weight_decay": decay, "temperature": 0.2}
    if loss == "softmax":
        batches = [b[:2] for b in batches]
        options["item_bias"] = torch.linspace(-1, 2, graph.n_items, device=device).to(dtype) if bias else None
    if bf16 and dtype == torch.float32:
        options["storage"] = torch.bfloat16
    assert_the_same_bits(graph, dim, dtype, batches, [size], **options)


@pytest.mark.parametrize("optimizer", ["lazy_adam", "adagrad", "sgd"])
@given(
    graph=graphs(),
    dim=st.integers(17, 150),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    bf16=st.booleans(),
    loss=st.sampled_from(["bpr", "binary", "softmax"]),
    shared=st.booleans(),
    decay=st.sampled_from([0.0, 0.01]),
    reg=st.sampled_from([0.0, 0.1]),
    batch=st.integers(1, 40),
    size=st.integers(2, 4),
)
def test_optimizers_of_rows(device, optimizer, graph, dim, dtype, bf16, loss, shared, decay, reg, batch, size):
    """A row's sum of squares is made of those of its panels, wherever they are."""
    graph = graph.to(device)
    batches = batches_of(graph, batch, 2, shared)
    options = {"optimizer": optimizer, "loss": loss, "reg": reg, "weight_decay": decay, "temperature": 0.2}
    if loss == "softmax":
        batches = [b[:2] for b in batches]
    storage = torch.bfloat16 if bf16 and dtype == torch.float32 else None
    assert_the_same_bits(graph, dim, dtype, batches, [size], storage=storage, **options)


@pytest.mark.parametrize("dim", [40, 64, 200])
def test_long_rows_in_parts(monkeypatch, device, dim):
    """How a GPU shares a long row's edges out does not depend on how many of its columns are here."""
    monkeypatch.setattr(native, "HEAVY_DEGREE", 3)
    monkeypatch.setattr(native, "PART_EDGES", 8)
    graph = random_graph().to(device)
    assert_the_same_bits(graph, dim, torch.float32, batches_of(graph, 20, 2), alphas=[0.25] * 4)


def test_what_is_sent_are_the_rows_of_the_batch_and_the_panels_of_the_ridge(device):
    graph = random_graph(300, 200, 3000).to(device)
    batch = sample_batch(graph, 64, 2, seed=0)
    users, items = batch[0].unique(), torch.cat([batch[1], batch[2].flatten()]).unique()
    rows = min(64 * 4, graph.n_nodes) if native.runs_cuda(graph.device) else len(users) + len(items)

    def sent(world, reg, alphas=(0.5, 0.5), optimizer="adam"):
        columns = Columns(world, 64)
        own = columns.own(table_of(graph, 64, torch.float32).to(device))
        step = TrainStep(graph, own, list(alphas), reg=reg, columns=columns, optimizer=optimizer)
        step(*batch)
        return world.sent

    assert on_threads(4, lambda world: sent(world, 0.0)) == [3 * rows * 16 * 4] * 4
    assert on_threads(4, lambda world: sent(world, 0.1)) == [3 * (rows * 16 * 4 + 8)] * 4
    assert on_threads(4, lambda world: sent(world, 0.0, [1.0], "sgd")) == [3 * rows * 16 * 4] * 4
    assert on_threads(4, lambda world: sent(world, 0.0, [1.0], "adagrad")) == [3 * rows * (16 * 4 + 8)] * 4


@on_the_cpu
def test_of_the_softmax_each_rank_sends_the_others_their_items_scores():
    graph, batch = random_graph(300, 200, 3000), 64
    users, pos, _ = sample_batch(graph, batch, 1, seed=0)
    rows = len(users.unique()) + len(pos.unique())

    def sent(world):
        columns = Columns(world, 64)
        own = columns.own(table_of(graph, 64, torch.float32))
        TrainStep(graph, own, [0.5, 0.5], loss="softmax", columns=columns)(users, pos)
        return world.sent

    n, width = batch // 4, 64 // 4
    scores, gradients = 4 * n * n + (4 + 8) * n, 2 * 4 * n * width
    assert on_threads(4, sent) == [3 * (4 * rows * width + scores + gradients)] * 4


def test_errors_name_the_columns_and_leave_everything_as_it_was(device):
    graph = random_graph().to(device)
    table = torch.ones(graph.n_nodes, 64, device=device)

    def run(world):
        columns = Columns(world, 64)
        with pytest.raises(
            ValueError, match=rf"TrainStep: embedding must have the 32 columns .* rank {world.rank} of 2"
        ):
            TrainStep(graph, table, columns=columns)
        own = columns.own(table)
        step = TrainStep(graph, own, [0.5, 0.5], columns=columns)
        if not native.emulates_cuda and own.device.type == "cpu":
            with pytest.raises(IndexError, match="pos: id 99"):
                step(torch.tensor([0]), torch.tensor([99]), torch.tensor([[0]]))
        assert torch.equal(own, columns.own(table))
        assert step.step == 0

    on_threads(2, run)
