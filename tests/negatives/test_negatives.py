"""Samplers of negatives: their laws, what they never return, their texts, and training with them."""

import dataclasses

import numpy as np
import pytest
import torch
from every_sampler import MANY, SAMPLERS, Band, draw, pvalue, vectors
from hypothesis import given
from hypothesis import strategies as st
from support import FEW, graphs, on_the_cpu, random_graph, same_bits_in_any_order

from fastgcn_rec import Graph, ppr_topk, sample_batch, select_negatives, unseen_mask
from fastgcn_rec.negatives import (
    Batch,
    Curriculum,
    Dynamic,
    Embeddings,
    InBatch,
    Negatives,
    Popularity,
    PPRHard,
    Sampler,
    Shared,
    Uniform,
    hard,
    parse,
)

# --- what holds for all ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SAMPLERS)
@given(graphs(min_edges=1), st.integers(0, 2**40))
def test_own_items_never_come_back(device, kind, graph, seed):
    """Users who have everything included, of whom some graphs have one."""
    sampler, seen = SAMPLERS[kind](graph.n_items), graph.to_scipy().toarray() > 0
    users, pos, _ = sample_batch(graph.to(device), 9, 0, seed=seed)
    negatives = draw(sampler, graph.to(device), users, pos, seed=seed)
    rows = negatives.per_row(9).cpu()
    most, shared = sampler.most(9)
    assert rows.shape[1] <= most
    assert shared == (negatives.ids.shape[0] == 1) == (negatives.mask is not None)
    for u, row in zip(users.tolist(), rows.tolist(), strict=True):
        items = [i for i in row if i >= 0]
        assert not seen[u, items].any()
        assert items == [] or not seen[u].all()
        if kind in ("uniform", "distance_weighted") and not seen[u].all():
            assert -1 not in row


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_row_depends_on_its_place_in_the_stream_alone(device, kind):
    graph = random_graph().to(device)
    sampler, table = SAMPLERS[kind](graph.n_items), vectors(graph, device=device)
    users, pos, _ = sample_batch(graph, 64, 0, seed=3)

    def rows(begin, end, seed=5):
        batch = Batch(graph, users[begin:end], pos[begin:end], seed, begin, 0, 2, Embeddings(lambda: table))
        return sampler.draw(batch).per_row(end - begin)

    whole = rows(0, 64)
    assert torch.equal(rows(0, 64, torch.tensor(5, device=device)), whole)
    if kind not in (
        "in_batch",
        "shared",
        "shared by popularity",
        "ppr",
        "ppr of items",
        "sum",
    ):  # those are of the batch
        assert torch.equal(rows(40, 64), whole[40:])
    if kind != "in_batch":
        assert not torch.equal(rows(0, 64, 6), whole)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_the_same_bits_for_any_number_of_threads(device, kind):
    graph = random_graph(60, 50, 500).to(device) if FEW else random_graph(600, 500, 9000).to(device)
    users, pos, _ = sample_batch(graph, 90 if FEW else 900, 0, seed=3)
    sampler = SAMPLERS[kind](graph.n_items)
    same_bits_in_any_order(lambda: [draw(sampler, graph, users, pos).per_row(len(users))], device)


def test_uniform_is_what_sample_batch_draws(device):
    graph = random_graph().to(device)
    users, pos, neg = sample_batch(graph, 50, 3, seed=11, offset=100)
    assert torch.equal(Uniform(3)(graph, users, pos, seed=11, step=2).ids, neg)
    assert torch.equal((Uniform(3) + Popularity(1))(graph, users, pos, seed=11, step=2).ids[:, :3], neg)


# --- the laws ------------------------------------------------------------------------------------------------------------


def law_graph():
    """User 0 has items 0, 3, 4 and 9 of 12; degrees 5, 1, 2, 5, 3, 1, 2, 0, 4, 6, 1, 3."""
    degrees = [5, 1, 2, 5, 3, 1, 2, 0, 4, 6, 1, 3]
    edges = [(0, i) for i in (0, 3, 4, 9)]
    for item, degree in enumerate(degrees):
        others = degree - (item in (0, 3, 4, 9))
        edges += [(1 + u, item) for u in range(others)]
    users, items = zip(*edges, strict=True)
    graph = Graph.from_edges(users, items, 8, 12)
    assert graph.item_degree.tolist() == degrees
    return graph


def counts_for_user_zero(sampler, graph, n=MANY):
    rows = torch.zeros(n, dtype=torch.int64, device=graph.device)
    ids = draw(sampler, graph, rows, rows).per_row(n)
    return np.bincount(ids.cpu().numpy().ravel() + 1, minlength=13)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.5])
def test_popularity_draws_by_degree_to_the_power_among_the_unseen(device, power):
    graph = law_graph().to(device)
    weights = graph.item_degree.cpu().numpy().astype(float) ** power
    weights[[0, 3, 4, 9]] = 0
    counts = counts_for_user_zero(Popularity(1, power), graph)
    assert counts[0] == 0
    assert pvalue(counts[1:], weights) > 1e-4


def test_popularity_is_exact_for_a_user_who_has_all_but_rare_items(device):
    """All tries are thrown away here: what the walk over the rest draws is seen alone."""
    n = 200
    popular = [(u, i) for u in range(150) for i in range(n - 3)]
    rare = [(150, n - 3), (150, n - 2), (151, n - 2)]  # degrees 1, 2, and 0 of the last item
    users, items = np.array(popular + rare).T
    graph = Graph.from_edges(users, items, 152, n)
    rows = torch.zeros(MANY // 10, dtype=torch.int64, device=device)
    ids = Popularity(1, 1.0)(graph.to(device), rows, rows, seed=2).ids.cpu().numpy().ravel()
    assert set(ids) == {n - 3, n - 2}
    assert pvalue(np.bincount(ids - (n - 3)), [1, 2]) > 1e-4


def test_popularity_without_an_unseen_item_of_positive_weight_gives_none(device):
    graph = Graph.from_edges([0, 0, 1], [0, 1, 0], 2, 3).to(device)  # item 2 has no edge
    users = torch.tensor([0, 1], device=device)
    assert Popularity(2, 0.75)(graph, users, users, seed=0).ids.tolist() == [[-1, -1], [1, 1]]
    assert Popularity(1, 0.0)(graph, users[:1], users[:1], seed=0).ids.tolist() == [[2]]
    empty = Graph.from_edges([], [], 2, 3).to(device)
    assert Popularity(1)(empty, users, users, seed=0).ids.tolist() == [[-1], [-1]]


@pytest.mark.parametrize("base", [Uniform(1), Popularity(1, 1.0)])
def test_shared_sets_follow_their_law_and_mask_single_users(device, base):
    graph = law_graph().to(device)
    users = torch.arange(8, device=device)
    ids, mask = draw(Shared(MANY, base), graph, users, users)
    weights = np.ones(12) if isinstance(base, Uniform) else graph.item_degree.cpu().numpy()
    assert ids.shape == (1, MANY)
    assert pvalue(np.bincount(ids.cpu().numpy().ravel(), minlength=12), weights) > 1e-4
    seen = torch.from_numpy(law_graph().to_scipy().toarray() > 0)
    assert torch.equal(mask.cpu(), ~seen[:, ids[0].cpu()])


def test_in_batch_takes_the_positives_and_masks_own_items(device):
    graph = random_graph().to(device)
    users, pos, _ = sample_batch(graph, 30, 0, seed=1)
    ids, mask = InBatch()(graph, users, pos, seed=0)
    assert torch.equal(ids, pos[None])
    seen = torch.from_numpy(random_graph().to_scipy().toarray() > 0)
    assert torch.equal(mask.cpu(), ~seen[users.cpu()][:, pos.cpu()])
    assert not mask.diagonal().any()


@given(graphs(), st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_unseen_mask_matches_the_dense_matrix(device, graph, n, shared, seed):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(graph.n_users, (5,), generator=generator)
    items = torch.randint(-1, graph.n_items, (1 if shared else 5, n), generator=generator)
    seen = torch.from_numpy(graph.to_scipy().toarray() > 0)
    rows = items.expand(5, n)
    expected = (rows >= 0) & ~seen[users[:, None], rows.clamp(min=0)]
    assert torch.equal(unseen_mask(graph.to(device), users.to(device), items.to(device)).cpu(), expected)


def test_ppr_draws_within_its_band_and_leaves_own_items_out(device):
    graph = law_graph().to(device)
    counts = counts_for_user_zero(PPRHard(1, ranks=Band(12)), graph)
    weights = np.zeros(13)
    weights[[0, 3, 6]] = [2, 1, 1]  # ranks 2 .. 5 are items 2, 3, 4, 5, of which the user has 3 and 4
    assert pvalue(counts, weights) > 1e-4


def test_ppr_builds_its_ranks_once_for_a_graph(monkeypatch):
    built = []

    class PprRanks(Band):
        @classmethod
        def build(cls, graph, lo, hi, of):
            built.append((graph, lo, hi, of))
            return cls(graph.n_items)

    monkeypatch.setattr(hard, "PprRanks", PprRanks)
    graph, rows = law_graph(), torch.arange(8)
    sampler = Curriculum(Uniform(1), parse("ppr(1, lo=3, hi=9)"))
    for epoch in (1, 2, 3, 4):
        assert draw(sampler, graph, rows, rows, epoch=epoch).ids.shape == (8, epoch)
    assert draw(parse("ppr(1, lo=3, hi=9, of='item')"), graph, rows, rows).ids.shape == (8, 1)
    assert built == [(graph, 3, 9, "users"), (graph, 3, 9, "items")]


def test_ppr_draws_from_the_ranks_that_ppr_topk_gives(device):
    graph = random_graph(30, 40, 150).to(device)
    users, pos, _ = sample_batch(graph, 60, 0, seed=3)
    ranked = ppr_topk(graph, users, 40, "items", exclude_seen=True).ids
    for sampler, lo, hi in ((PPRHard(5, 4, 12), 4, 12), (PPRHard(5, 0.1, 0.3), 4, 12)):
        sampler.prepare(graph)
        ids = sampler(graph, users, pos, seed=1).ids
        for row, band in zip(ids.tolist(), ranked[:, lo:hi].tolist(), strict=True):
            assert set(row) <= set(band)
    assert str(parse("ppr(2, lo=0.1, hi=0.3)")) == "ppr(2, lo=0.1, hi=0.3)"


def test_ppr_of_the_query_item_draws_from_the_ranks_of_the_item(device):
    graph = random_graph(30, 40, 150).to(device)
    users, pos, _ = sample_batch(graph, 60, 0, seed=3)
    queries = (pos * 7 + 3) % 40
    queries[5] = -1
    ranked = ppr_topk(graph, graph.n_users + torch.arange(40, device=device), 40, "items").ids.tolist()
    seen = graph.to_scipy().toarray() > 0
    sampler = PPRHard(200, 4, 12, of="item")
    ids = sampler(graph, users, pos, seed=1, queries=queries).ids
    for query, u, row in zip(queries.tolist(), users.tolist(), ids.tolist(), strict=True):
        band = [i for i in ranked[query] if i != query][4:12] if query >= 0 else []
        assert set(row) - {-1} == {i for i in band if not seen[u, i]}
    assert torch.equal(sampler(graph, users, pos, seed=1, queries=queries).ids, ids)
    assert not torch.equal(sampler(graph, users, pos, seed=2, queries=queries).ids, ids)


def test_without_a_model_the_query_is_any_other_item_of_the_user(device):
    graph = law_graph().to(device)
    rows = torch.zeros(MANY, dtype=torch.int64, device=device)
    queries = Batch(graph, rows, torch.full_like(rows, 3), seed=5).query_items()
    assert pvalue(np.bincount(queries.cpu(), minlength=12), [i in (0, 4, 9) for i in range(12)]) > 1e-4
    assert torch.equal(Batch(graph, rows[7:], rows[7:] + 3, seed=5, offset=7).query_items(), queries[7:])
    one = Graph.from_edges([0, 1, 1], [0, 0, 1], 3, 2).to(device)
    assert Batch(one, torch.tensor([0, 1, 2], device=device), rows[:3], seed=5).query_items().tolist() == [-1, 1, -1]


def test_a_text_names_whose_ranks_where_it_is_not_the_users():
    assert str(PPRHard(1, of="item")) == "ppr(1, lo=2000, hi=5000, of='item')"
    assert parse("ppr(1, of='item')") == PPRHard(1, of="item")
    assert str(parse("ppr(1, of='user')")) == "ppr(1, lo=2000, hi=5000)"
    with pytest.raises(ValueError, match="of must be 'user' or 'item', got 'pin'"):
        parse("ppr(1, of='pin')")


# --- putting samplers together -------------------------------------------------------------------------------------------


def test_sums_put_their_terms_side_by_side_with_random_numbers_of_their_own(device):
    graph = random_graph().to(device)
    users, pos, _ = sample_batch(graph, 40, 0, seed=1)
    left, right = Uniform(2), Uniform(3)
    both = draw(left + right, graph, users, pos).ids
    assert torch.equal(both[:, :2], draw(left, graph, users, pos).ids)
    assert not torch.equal(both[:, 2:4], both[:, :2])
    assert str(left + (right + InBatch())) == "uniform(2)+uniform(3)+in_batch()"
    ids, mask = draw(Shared(4) + InBatch(), graph, users, pos)
    assert ids.shape == (1, 44)
    assert mask.shape == (40, 44)
    mixed = draw(Uniform(1) + Shared(4), graph, users, pos)
    assert mixed.mask is None
    assert torch.equal(mixed.ids[:, 1:], draw(Uniform(1) + Shared(4) + Uniform(1), graph, users, pos).ids[:, 1:5])
    with pytest.raises(TypeError):
        left + 3


def test_a_curriculum_adds_hard_negatives_from_epoch_to_epoch():
    graph = random_graph()
    users, pos, _ = sample_batch(graph, 10, 0, seed=1)
    sampler = Curriculum(Uniform(2), Dynamic(1))
    widths = [draw(sampler, graph, users, pos, epoch=e).ids.shape[1] - 2 for e in range(1, 11)]
    assert widths == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6]
    assert sampler.most(10) == (8, False)
    other = Curriculum(Uniform(2), Dynamic(1), start=3, per_epoch=2, cap=5)
    assert [other.n_hard(e) for e in range(1, 8)] == [0, 0, 0, 2, 4, 5, 5]


def test_a_class_of_ones_own_can_be_named(monkeypatch):
    monkeypatch.setattr(Sampler, "registry", dict(Sampler.registry))

    @dataclasses.dataclass(frozen=True, repr=False)
    class First(Sampler, name="first"):
        n: int

        def draw(self, batch):
            return Negatives(torch.zeros(len(batch.users), self.n, dtype=torch.int64))

    assert parse("uniform(1)+first(2)") == Uniform(1) + First(2)
    assert draw(parse("first(2)"), random_graph(), torch.arange(3), torch.arange(3)).ids.shape == (3, 2)


def test_errors():
    graph, rows = random_graph(), torch.arange(3)
    with pytest.raises(ValueError, match=r"dynamic: .*pass embeddings=model\.get_embedding"):
        Dynamic(1)(graph, rows, rows, seed=0)
    with pytest.raises(ValueError, match="power must be >= 0 and finite, got -1"):
        graph.item_law(-1.0)
    with pytest.raises(ValueError, match="more than 2\\^60; lower power"):
        graph.item_law(100.0)
    for options, message in (
        ({"law": "easiest"}, "law must be one of"),
        ({"n": -1}, "n must be >= 0"),
        ({"margin": 0.0}, "margin must be > 0"),
        ({"lo": 0.0}, "0 < lo <= hi < 2, got 0.0 and 1.4"),
    ):
        with pytest.raises(ValueError, match=message):
            select_negatives(torch.ones(3, 2), torch.ones(3, 2), rows, rows, rows[:, None], **{"n": 1, **options})
    with pytest.raises(ValueError, match=r"rows must have shape \[3, 1\], got \[3\]"):
        select_negatives(torch.ones(3, 2), torch.ones(3, 2), rows, rows, rows[:, None], 1, rows=rows)
    with pytest.raises(ValueError, match=r"items must have shape \[batch, M\] = \[3, M\], or \[1, M\].*got \[2, 1\]"):
        unseen_mask(graph, rows, rows[:2, None])


@on_the_cpu
def test_ids_out_of_range():
    graph, rows = random_graph(), torch.arange(3)
    with pytest.raises(IndexError, match=r"items: id 30 at position 0 is outside \[-1, 30\)"):
        unseen_mask(graph, rows, torch.tensor([[30]]))
    with pytest.raises(IndexError, match=r"candidates: id 3 at position 1 is outside \[-1, 3\)"):
        select_negatives(torch.ones(3, 2), torch.ones(3, 2), rows, rows, torch.tensor([[0], [3], [1]]), 1)
    with pytest.raises(IndexError, match=r"rows: id 3 at position 1 is outside \[-1, 3\)"):
        select_negatives(
            torch.ones(3, 2), torch.ones(3, 2), rows, rows, rows[:, None], 1, rows=torch.tensor([[0], [3], [1]])
        )


def test_opcheck(device):
    graph = random_graph().to(device)
    seed, rows = torch.tensor([3], device=device), torch.arange(4, device=device)
    csr = (graph.indptr, graph.indices, graph.indptr_t)
    ops = torch.ops.fastgcn_rec
    torch.library.opcheck(ops.sample_negatives.default, (*csr, graph.item_law(0.75), rows, 2, seed, seed, 4, 1 << 24))
    torch.library.opcheck(ops.unseen_mask.default, (*csr, rows, rows[None]))
    torch.library.opcheck(ops.unseen_mask.default, (*csr, rows, rows[:, None]))
    tables = vectors(graph, device=device).split([40, 30])
    for law in range(3):
        for places in (None, rows[:, None]):
            arguments = (*tables, rows, rows, rows[:, None], places, 1, law, 0.2, 0.5, 1.4, seed, seed, 0)
            torch.library.opcheck(ops.select_negatives.default, arguments)
