import signal

import pytest
import torch
from rank_threads import on_grid
from ranks import on_ranks

from fastgcn_rec import LightGCN, fit
from fastgcn_rec.core.grid import Grid
from fastgcn_rec.core.row_graph import RowGraph, row_bounds
from fastgcn_rec.core.world import World
from fastgcn_rec.data import load_dataset, synthetic_interactions
from fastgcn_rec.data.row_data import load_rows
from fastgcn_rec.system import stopping
from fastgcn_rec.training import Interrupted, TrainConfig
from fastgcn_rec.training.rows import fit_rows

DIM = 40
SETTINGS = {"epochs": 3, "batch_size": 64, "protocol": "none", "lr": 0.02, "seed": 4}


def data_of():
    return synthetic_interactions(60, 45, 600, dim=8, seed=1)


def own_part(graph, world):
    users, items = (row_bounds(d, world.size, 3) for d in (graph.user_degree, graph.item_degree))
    r = world.rank
    return RowGraph.of(graph, (users[r], users[r + 1]), (items[r], items[r + 1]))


def train(grid, num_layers=2, **options):
    return fit_rows(
        own_part(data_of().graph(), grid.rows),
        grid,
        embedding_dim=DIM,
        num_layers=num_layers,
        init_seed=7,
        **{**SETTINGS, **options},
    )


def result(grid, **options):
    """(table, vectors of all nodes, losses of the epochs)."""
    trained = train(grid, **options)
    losses = [record["loss"] for record in trained.history.epochs]
    return trained.table(), trained.whole(trained.vectors()), losses


def alone(num_layers=2, **options):
    data = data_of()
    model = LightGCN(data, DIM, num_layers, seed=7)
    history = fit(model, data, progress=False, **{**SETTINGS, **options})
    z = model.eval().get_embedding().detach()
    return model.embedding.weight.detach(), z, [record["loss"] for record in history.epochs]


def assert_same(found, expected):
    for table, z, losses in found:
        assert torch.equal(table, expected[0])
        assert torch.equal(z, expected[1])
        assert losses == pytest.approx(expected[2], rel=1e-6)


CASES = {
    "matrix factorization": {"num_layers": 0, "loss": "binary", "n_neg": 2},
    "bpr by user, a schedule": {"num_layers": 3, "sampler": "user", "lr_schedule": "linear", "warmup": 0.2},
    "softmax": {"num_layers": 1, "loss": "softmax", "reg": 0.1},
    "max margin": {"num_layers": 2, "loss": "max_margin", "margin": 0.5},
    "popular negatives": {"num_layers": 1, "negatives": "uniform(1)+popularity(2)", "sampler": "user"},
    "shared negatives": {"num_layers": 0, "negatives": "shared(9)", "loss": "binary"},
    "negatives in the batch": {"num_layers": 1, "negatives": "in_batch()+shared(3, base=popularity(1))"},
}


@pytest.mark.parametrize("case", CASES)
def test_it_trains_to_the_bits_of_fit(case):
    expected = alone(**CASES[case])
    for columns, rows in ((1, 1), (1, 2), (2, 2), (1, 3)):
        assert_same(on_grid(columns, rows, lambda grid: result(grid, **CASES[case])), expected)


def test_bfloat16_layers_some_columns_at_once():
    expected = alone(storage="bfloat16")
    for found in on_grid(1, 2, lambda grid: result(grid, storage="bfloat16", columns_at_once=16)):
        assert torch.equal(found[0], expected[0])


def on_processes(world, row_groups):
    return result(Grid.of(world, row_groups))


@pytest.mark.parametrize(("ranks", "row_groups"), [(2, 2), (4, 2)])
def test_processes_train_to_the_bits_of_fit(ranks, row_groups):
    assert_same(on_ranks(ranks, on_processes, row_groups), alone())


FILES = {"user": "user", "item": "item", "time": "", "rating": "", "split": "random", "seed": 3}


def of_files(world, path):
    grid = Grid.of(world, world.size)
    data = load_rows(path, grid.rows, per_row=3 * DIM, **FILES)
    return fit_rows(data.graph, grid, embedding_dim=DIM, num_layers=2, init_seed=7, **SETTINGS).table()


def test_own_rows_of_files_are_trained_on(tmp_path):
    pa = pytest.importorskip("pyarrow")
    generator = torch.Generator().manual_seed(2)
    columns = {name: torch.randint(n, (900,), generator=generator).tolist() for name, n in (("user", 70), ("item", 50))}
    pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), tmp_path / "plays.parquet")
    data = load_dataset(tmp_path / "plays.parquet", **FILES)
    model = LightGCN(data, DIM, 2, seed=7)
    fit(model, data, progress=False, **SETTINGS)
    for table in on_ranks(2, of_files, tmp_path / "plays.parquet"):
        assert torch.equal(table, model.embedding.weight)


def test_a_checkpoint_goes_on_with_other_ranks(tmp_path):
    expected = alone()
    path = tmp_path / "run.npz"
    options = {"checkpoint": path, "eval_every": 1}
    on_grid(1, 2, lambda grid: train(grid, epochs=1, **options))
    assert len(list(tmp_path.iterdir())) == 3  # a manifest and two shards
    seen = []
    on_grid(2, 2, lambda grid: train(grid, epochs=2, on_epoch=seen.append, columns_at_once=16, **options))
    assert [record["epoch"] for record in seen] == [2.0] * 4
    assert_same(on_grid(1, 1, lambda grid: result(grid, **options)), expected)
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]
    assert_same(on_grid(1, 3, lambda grid: result(grid, **options)), expected)  # nothing is left to do
    with pytest.raises(ValueError, match="made with another config"):
        on_grid(1, 2, lambda grid: train(grid, **{**options, "reg": 0.5}))


def test_a_signal_on_one_rank_stops_all_and_the_rest_follows(tmp_path, monkeypatch):
    path, stops = tmp_path / "run.npz", {}
    expected = alone()

    def stopped(grid):
        class Stop(stopping.Stop):
            asked = 0

            @property
            def signal(self):
                self.asked += 1
                return signal.SIGTERM if grid.rows.rank == 1 and self.asked > 5 else None

            @signal.setter
            def signal(self, value):
                pass

        stops[grid.world.rank] = Stop()
        with pytest.raises(Interrupted, match=r"stopped after step 5 of .* the same call goes on from there") as caught:
            train(grid, checkpoint=path)
        return caught.value.signal

    from contextlib import contextmanager
    from threading import current_thread

    @contextmanager
    def deferred():
        yield stops.pop(max(stops)) if current_thread() else None

    monkeypatch.setattr(stopping, "deferred", deferred)
    assert on_grid(1, 2, stopped) == [signal.SIGTERM] * 2
    monkeypatch.undo()
    assert_same(on_grid(1, 2, lambda grid: result(grid, checkpoint=path)), expected)


def test_what_diverges_is_an_error():
    with pytest.raises(FloatingPointError, match="diverged, in epoch 1"):
        on_grid(1, 2, lambda grid: train(grid, lr=1e38, loss="binary"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer must be 'adam', got 'sgd'"),
        ({"protocol": "validation"}, "protocol must be 'none', got 'validation'; share columns alone"),
        ({"negatives": "uniform(1)+dynamic(1)"}, r"negatives are uniform, .* got dynamic\(1"),
        ({"loss": "softmax", "logq": 1.0}, "logq must be 0.0"),
        ({"loss": "softmax", "logq_density": 5.0}, "logq_density must be 0.0"),
    ],
)
def test_what_it_does_not_cover_is_refused(options, message):
    with pytest.raises(ValueError, match=f"fit_rows: where ranks share rows out {message}"):
        on_grid(1, 1, lambda grid: train(grid, **options))


def test_fit_says_where_row_groups_are():
    data = data_of()
    with pytest.raises(ValueError, match="fit_rows"):
        fit(LightGCN(data, 8), data, row_groups=2, progress=False)
    assert TrainConfig().protocol == "validation"


def test_graphs_and_grids_of_another_kind_are_named():
    whole, grid = data_of().graph(), Grid.of(World(), 1)
    with pytest.raises(TypeError, match=r"fit_rows: graph must be a RowGraph, got Graph; RowGraph.of"):
        fit_rows(whole, grid)
    with pytest.raises(TypeError, match=r"fit_rows: grid must be a Grid, .*got World"):
        fit_rows(own_part(whole, grid.rows), World())


def test_ranks_that_cut_the_table_otherwise_are_refused():
    def run(grid):
        return result(grid, columns_at_once=None if grid.world.rank else 16)

    with pytest.raises(
        ValueError, match="all ranks must have the same columns_at_once, and rank 1 has None, rank 0 16"
    ):
        on_grid(1, 2, run)
