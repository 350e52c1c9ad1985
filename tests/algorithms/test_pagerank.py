import contextlib
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranks import outcomes
from scipy import stats
from support import graphs, on_the_cpu, random_graph, ranking, same_bits_in_any_order

from fastgcn_rec import PprRanks, ppr, ppr_rank_band, ppr_topk, sample_listed


def band_by_sorting(graph, lo, hi):
    """A user's band, by a full sort of the dense scores."""
    scores = ppr(graph, torch.arange(graph.n_users, device=graph.device)).scores[:, graph.n_users :].cpu().numpy()
    seen = graph.to_scipy().toarray() > 0
    bands = []
    for u in range(graph.n_users):
        bands.append(ranking(np.flatnonzero(~seen[u]).tolist(), scores[u].__getitem__)[lo:hi])
    return bands


@given(graphs(), st.integers(0, 12), st.integers(1, 12), st.integers(0, 2**40))
def test_bands_are_those_of_a_full_sort_and_draws_fall_in_them(device, graph, lo, width, seed):
    graph = graph.to(device)
    users = torch.arange(graph.n_users, device=device)
    bands = band_by_sorting(graph, lo, lo + width)
    ranks = PprRanks.build(graph, lo=lo, hi=lo + width, progress=False)
    for u, band in enumerate(bands):
        assert ranks.counts[u] == len(band)
        assert ranks.lists[u, : len(band)].tolist() == band
        assert (ranks.lists[u, len(band) :] == -1).all()
    drawn = ppr_rank_band(graph, users, lo, lo + width, 4, seed)
    assert torch.equal(drawn, ranks.sample(users, 4, seed))
    for band, row in zip(bands, drawn.tolist(), strict=True):
        assert set(row) <= set(band or [-1])


def test_fractions_are_of_the_catalogue(device):
    graph = random_graph(20, 30, 60).to(device)
    by_fraction = PprRanks.build(graph, lo=0.1, hi=0.5, progress=False)
    by_rank = PprRanks.build(graph, lo=3, hi=15, progress=False)
    assert torch.equal(by_fraction.lists, by_rank.lists)
    assert PprRanks.build(graph, lo=0, hi=5000, progress=False).lists.shape == (20, 30)
    assert (ppr_rank_band(graph, [0, 1], 2000, 5000, 3, seed=0) == -1).all()


def test_draws_are_uniform_over_the_band(device):
    graph = random_graph(20, 60, 200).to(device)
    band = band_by_sorting(graph, 10, 22)[5]
    drawn = ppr_rank_band(graph, [5], 10, 22, 12_000, seed=3).cpu().numpy().ravel()
    counts = np.bincount(drawn, minlength=60)
    assert counts[band].sum() == 12_000
    assert stats.chisquare(counts[band]).pvalue > 1e-4


def test_draws_depend_on_seed_offset_and_draw_alone(device):
    graph = random_graph(30, 50, 200).to(device)
    ranks = PprRanks.build(graph, lo=5, hi=25, progress=False)
    users = torch.arange(30, device=device)
    rows = ranks.sample(users, 6, seed=11, offset=100)
    assert torch.equal(ranks.sample(users[7:], 3, torch.tensor([11], device=device), offset=107), rows[7:, :3])
    assert not torch.equal(ranks.sample(users, 6, seed=12, offset=100), rows)
    assert torch.equal(ppr_rank_band(graph, users.repeat(2), 5, 25, 6, seed=11)[:30], ranks.sample(users, 6, seed=11))
    same_bits_in_any_order(lambda: (ranks.sample(users.repeat(40), 6, seed=11),), device)


def test_a_few_users_and_those_that_were_not_built(device):
    graph = random_graph(30, 50, 200).to(device)
    ranks = PprRanks.build(graph, [20, 3], 5, 25, progress=False)
    everyone = PprRanks.build(graph, lo=5, hi=25, progress=False)
    assert torch.equal(ranks.lists, everyone.lists[[20, 3]])
    assert torch.equal(ranks.sample([3, 20, 3], 4, seed=1), everyone.sample([3, 20, 3], 4, seed=1))
    if device.type == "cuda":
        return  # nothing is checked there but by the kernel
    with pytest.raises(ValueError, match="user 4 was not among those of build"):
        ranks.sample([3, 4], 1, seed=0)
    with pytest.raises(ValueError, match="user 99 was not"):
        ranks.sample([99], 1, seed=0)


def test_a_band_that_exceeds_the_budget_is_thinned_evenly(device):
    graph = random_graph(200, 300, 2000).to(device)
    whole = PprRanks.build(graph, lo=20, hi=220, progress=False)
    for budget in range(200_000, 4_000_000, 20_000):  # the first that holds the working memory and some of each list
        with warnings.catch_warnings(record=True) as caught, contextlib.suppress(ValueError):
            warnings.simplefilter("always")
            ranks = PprRanks.build(graph, lo=20, hi=220, progress=False, memory_budget=budget)
            break
    assert "200 ranks of 200 users take" in str(caught[0].message)
    kept = ranks.lists.shape[1]
    assert 0 < kept < 200
    assert (ranks.counts == kept).all()
    at = torch.arange(kept, device=device) * 200 // kept
    assert torch.equal(ranks.lists, whole.lists[:, at])


def test_bands_of_items_leave_out_the_item_itself(device):
    graph = random_graph(30, 50, 200).to(device)
    ranked = ppr_topk(graph, graph.n_users + torch.arange(50, device=device), 50, "items").ids.tolist()
    ranks = PprRanks.build(graph, lo=5, hi=25, of="items", progress=False)
    assert ranks.lists.tolist() == [[j for j in row if j != i][5:25] for i, row in enumerate(ranked)]
    some = PprRanks.build(graph, [40, 3], 5, 25, of="items", progress=False)
    assert torch.equal(some.lists, ranks.lists[[40, 3]])
    assert torch.equal(some.sample([3, 40], 4, seed=1), ranks.sample([3, 40], 4, seed=1))
    assert repr(some) == f"PprRanks(2 items, 20 items each, {graph.device})"
    with pytest.raises(ValueError, match="of must be 'users' or 'items', got 'all'"):
        PprRanks.build(graph, of="all")
    with pytest.raises(IndexError, match=r"items: id 50 at position 0 is outside \[0, 50\)"):
        PprRanks.build(graph, [50], of="items")
    if device.type == "cpu":
        with pytest.raises(ValueError, match="item 4 was not among those of build"):
            some.sample([4], 1, seed=0)


@on_the_cpu
def test_the_cache_is_read_back_and_keyed_by_all_that_matters(tmp_path, monkeypatch):
    graph = random_graph(30, 50, 200)
    first = PprRanks.build(graph, lo=5, hi=25, cache_dir=tmp_path, progress=False)
    monkeypatch.setattr("fastgcn_rec.algorithms.pagerank.best_columns", None)  # nothing is ranked again
    again = PprRanks.build(graph, lo=5, hi=25, cache_dir=tmp_path, progress=False)
    assert torch.equal(first.lists, again.lists)
    assert torch.equal(first.sample([7], 9, seed=1), again.sample([7], 9, seed=1))
    monkeypatch.undo()
    PprRanks.build(graph, lo=5, hi=24, cache_dir=tmp_path, progress=False)
    PprRanks.build(graph, lo=5, hi=25, restart=0.2, cache_dir=tmp_path, progress=False)
    PprRanks.build(graph, [1, 2], lo=5, hi=25, cache_dir=tmp_path, progress=False)
    PprRanks.build(graph, [1, 2], lo=5, hi=25, cache_dir=tmp_path, progress=False, of="items")
    PprRanks.build(random_graph(30, 50, 200, seed=1), lo=5, hi=25, cache_dir=tmp_path, progress=False)
    assert len(list(tmp_path.glob("ppr-ranks-*.npz"))) == 6


def on_a_rank(world, folder, users, options):
    """What a rank gets, which files it has made, and which it finds the second time, when nothing can be ranked."""
    graph = random_graph(31, 50, 200)
    first = PprRanks.build(graph, users, 5, 25, progress=False, world=world, cache_dir=folder, **options)
    if folder is not None:
        world.barrier()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastgcn_rec.algorithms.pagerank.best_columns", None)
            again = PprRanks.build(graph, users, 5, 25, progress=False, world=world, cache_dir=folder, **options)
        assert torch.equal(first.lists, again.lists)
    return first.lists, first.counts, first.sample([3], 4, seed=1)


@on_the_cpu
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("users", [None, [20, 3], [3]])
def test_ranks_that_share_the_users_out_get_what_one_process_does(tmp_path, users, kept):
    folder = tmp_path / "kept" if kept else None
    whole = PprRanks.build(random_graph(31, 50, 200), users, 5, 25, progress=False, cache_dir=tmp_path / "one")
    for lists, counts, sampled in outcomes(3, on_a_rank, folder, users, {}):
        assert torch.equal(lists, whole.lists)
        assert torch.equal(counts, whole.counts)
        assert torch.equal(sampled, whole.sample([3], 4, seed=1))
    if folder is not None:
        assert [(a.name, a.read_bytes()) for a in folder.iterdir()] == [
            (b.name, b.read_bytes()) for b in (tmp_path / "one").iterdir()
        ]


def with_other_edges(world, how):
    graph = random_graph(30, 50, 200, seed=world.rank if how == "edges" else 0)
    PprRanks.build(graph, lo=5, hi=25 + (world.rank if how == "band" else 0), progress=False, world=world)


@on_the_cpu
@pytest.mark.parametrize("how", ["edges", "band"])
def test_ranks_that_are_asked_for_something_else_are_refused(how):
    for error in outcomes(2, with_other_edges, how):
        assert isinstance(error, ValueError)
        entry = "call.graph" if how == "edges" else "call.hi"
        assert f"PprRanks.build: all ranks must have the same {entry}, and rank 1 has" in str(error)


@on_the_cpu
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_cache_is_made_anew_with_a_warning(tmp_path, damage):
    graph = random_graph(30, 50, 200)
    first = PprRanks.build(graph, lo=5, hi=25, cache_dir=tmp_path, progress=False)
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        PprRanks.build(graph, lo=5, hi=24, cache_dir=tmp_path / "other", progress=False)
        path.write_bytes(next((tmp_path / "other").glob("*.npz")).read_bytes())
    with pytest.warns(UserWarning, match="made anew"):
        again = PprRanks.build(graph, lo=5, hi=25, cache_dir=tmp_path, progress=False)
    assert torch.equal(first.lists, again.lists)
    assert path.read_bytes() == whole


@on_the_cpu
def test_a_build_that_is_interrupted_leaves_no_file(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastgcn_rec.algorithms.pagerank._thin", interrupt)
    with pytest.raises(KeyboardInterrupt):
        PprRanks.build(random_graph(), lo=1, hi=5, cache_dir=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_shown_or_not(capfd, monkeypatch):
    monkeypatch.setattr("fastgcn_rec.system.progress.SECONDS", 0.0)
    PprRanks.build(random_graph(), lo=1, hi=5)
    assert "40 of 40 users" in capfd.readouterr().err
    PprRanks.build(random_graph(), lo=1, hi=5, progress=False)
    assert capfd.readouterr().err == ""


def test_listed_candidates_are_drawn_from_their_own_list(device):
    lists = torch.tensor([[4, 5, 6], [9, -1, -1], [-1, -1, -1]], dtype=torch.int32, device=device)
    counts = torch.tensor([3, 1, 0], dtype=torch.int32, device=device)
    drawn = sample_listed(lists, counts, [0, 1, 2, 0], 300, seed=5).tolist()
    assert [set(row) for row in drawn] == [{4, 5, 6}, {9}, {-1}, {4, 5, 6}]
    seed, offset = torch.tensor([5], device=device), torch.tensor([0], device=device)
    rows = torch.tensor([0, 1], device=device)
    torch.library.opcheck(torch.ops.fastgcn_rec.sample_listed.default, (lists, counts, rows, 2, seed, offset))


@on_the_cpu
def test_errors():
    graph = random_graph()
    with pytest.raises(ValueError, match="lo must be below hi, got 5 and 5"):
        ppr_rank_band(graph, [0], 5, 5, 1, seed=0)
    with pytest.raises(TypeError, match=r"two ints or two floats, got 0 and 0\.5"):
        ppr_rank_band(graph, [0], 0, 0.5, 1, seed=0)
    with pytest.raises(ValueError, match=r"hi must be a rank >= 0 or a fraction in \[0, 1\], got 1\.5"):
        ppr_rank_band(graph, [0], 0.0, 1.5, 1, seed=0)
    with pytest.raises(IndexError, match=r"users: id 40 at position 0 is outside \[0, 40\)"):
        ppr_rank_band(graph, [40], 0, 5, 1, seed=0)
    with pytest.raises(ValueError, match="users must be distinct"):
        PprRanks.build(graph, [1, 1], 0, 5)
    with pytest.raises(ValueError, match="memory_budget must be >="):
        PprRanks.build(graph, lo=0, hi=5, memory_budget=1000)
    with pytest.raises(ValueError, match="n must be >= 0, got -1"):
        ppr_rank_band(graph, [0], 0, 5, -1, seed=0)
    lists, counts = torch.zeros(2, 3, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    with pytest.raises(IndexError, match=r"rows: id 2 at position 1 is outside \[0, 2\)"):
        sample_listed(lists, counts, [0, 2], 1, seed=0)
    with pytest.raises(TypeError, match="lists must be an int32 tensor of 2 dimensions"):
        sample_listed(lists.long(), counts, [0], 1, seed=0)
    with pytest.raises(ValueError, match=r"counts must have shape \[2\], one a list, got \[1\]"):
        sample_listed(lists, counts[:1], [0], 1, seed=0)
    assert repr(PprRanks.build(graph, lo=0, hi=5, progress=False)) == "PprRanks(40 users, 5 items each, cpu)"
