"""Negatives that are chosen among candidates by their scores or distances, beside brute force and their laws."""

import numpy as np
import pytest
import torch
from every_sampler import MANY, pvalue
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fastgcn_rec import Graph, select_negatives
from fastgcn_rec.negatives import SemiHard
from fastgcn_rec.ops import reference


@given(
    st.integers(1, 20),
    st.integers(0, 4),
    st.integers(0, 99),
    st.sampled_from(["hardest", "semi_hard"]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_dynamic_and_semi_hard_are_brute_force(device, m, n, seed, law, dtype):
    """The values are small integers, whose products are exact, so that ties are ties; distances differ by more than rounding."""
    generator = torch.Generator().manual_seed(seed)
    user_emb, item_emb = (torch.randint(-3, 4, (rows, 5), generator=generator).to(dtype) for rows in (4, 12))
    users, pos = torch.arange(4), torch.randint(12, (4,), generator=generator)
    candidates = torch.randint(-1, 12, (4, m), generator=generator)
    margin = 0.31
    wide = user_emb.double(), item_emb.double()
    if law == "semi_hard":  # leave out items at the very edges of the band, where rounding decides
        for b in range(4):
            d = reference.unit_distances(*wide, b, list(range(12)))
            near = torch.minimum((d - d[pos[b]]).abs(), (d - d[pos[b]] - margin).abs()) < 1e-3
            candidates[b][torch.isin(candidates[b], near.nonzero().flatten())] = -1
    expected = reference.select_negatives(*wide, users, pos, candidates, n, law, margin)
    inputs = (t.to(device) for t in (user_emb, item_emb, users, pos, candidates))
    assert torch.equal(select_negatives(*inputs, n, law, margin=margin).cpu(), expected)


@pytest.mark.parametrize("law", ["hardest", "semi_hard", "distance_weighted"])
def test_a_table_of_the_candidates_rows_alone_gives_the_same_picks(device, law):
    """Whatever rows they are: ties go by the candidates' numbers."""
    generator = torch.Generator().manual_seed(3)
    user_emb, item_emb = (torch.randint(-1, 2, (n, 5), generator=generator).float().to(device) for n in (4, 90))
    users, pos = torch.arange(4, device=device), torch.tensor([3, 70, 70, 5], device=device)
    candidates = torch.randint(-1, 90, (4, 20), generator=generator).to(device)
    expected = select_negatives(user_emb, item_emb, users, pos, candidates, 6, law, margin=0.9, seed=5)
    kept = torch.cat([pos, candidates.clamp(min=0).flatten()]).unique().flip(0)
    row_of = torch.full((91,), -1, device=device)
    row_of[kept] = torch.arange(len(kept), device=device)
    compact = user_emb, item_emb[kept], users, row_of[pos], candidates
    assert torch.equal(select_negatives(*compact, 6, law, margin=0.9, seed=5, rows=row_of[candidates]), expected)
    assert int((expected >= 0).sum()) >= 4


def test_semi_hard_is_uniform_over_the_band(device):
    graph = Graph.from_edges([0], [0], 1, 12).to(device)
    angle = torch.tensor([0.0, 0.5, *np.linspace(0.1, 0.9, 11)])  # of the user, the positive, the others
    table = torch.stack([angle.cos(), angle.sin()], 1).to(device)
    rows = torch.zeros(MANY // 4, dtype=torch.int64, device=device)
    ids = SemiHard(1, 0.2, candidates=16)(graph, rows, rows, seed=1, embeddings=lambda: table).ids
    d = reference.unit_distances(table.cpu()[:1].double(), table.cpu()[1:].double(), 0, list(range(12)))
    inside = (d > d[0]) & (d < d[0] + 0.2)
    inside[0] = False
    counts = np.bincount(ids.cpu().numpy().ravel() + 1, minlength=13)
    assert pvalue(counts[1:], inside.double().numpy()) > 1e-4


@pytest.mark.parametrize("dim", [3, 8, 64])
def test_distance_weighted_draws_by_the_inverse_density(device, dim):
    """Where a draw falls in the running sum of its row's probabilities, uniformly within its item, is uniform on [0, 1)."""
    generator = torch.Generator().manual_seed(dim)
    user_emb, item_emb = (torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in (20, 30))
    rows = MANY // 8
    users, pos = torch.arange(rows) % 20, torch.zeros(rows, dtype=torch.int64)
    candidates = torch.stack([torch.randperm(30, generator=generator)[:6] for _ in range(rows)])
    inputs = [t.to(device) for t in (user_emb, item_emb, users, pos, candidates)]
    picked = select_negatives(*inputs, 2, "distance_weighted", seed=3, lo=0.5, hi=1.4).cpu()
    unit = torch.nn.functional.normalize
    d = torch.linalg.vector_norm(unit(user_emb)[users][:, None] - unit(item_emb)[candidates], dim=2)
    p = reference.distance_weights(d, dim)
    places = []
    for k in range(2):
        at = (candidates == picked[:, k : k + 1]).long().argmax(1, keepdim=True)
        before = p.cumsum(1).gather(1, at) - p.gather(1, at)
        places.append(before + torch.rand(rows, 1, generator=generator, dtype=torch.float64) * p.gather(1, at))
    for place in places:
        assert stats.kstest(place.numpy().ravel(), "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(places[0].numpy().ravel(), places[1].numpy().ravel())[0, 1]) < 5 / rows**0.5


def test_distance_weights_are_the_clipped_inverse_density():
    d = torch.tensor([[0.1, 0.5, 1.0, 1.4, 1.9]], dtype=torch.float64)
    clipped = d.clamp(0.5, 1.4)
    q = clipped ** (8 - 2) * (1 - clipped**2 / 4) ** ((8 - 3) / 2)
    torch.testing.assert_close(reference.distance_weights(d, 8), (1 / q) / (1 / q).sum())


@pytest.mark.parametrize("law", ["hardest", "semi_hard", "distance_weighted"])
def test_a_candidate_without_a_row_is_none(law):
    users, items = torch.eye(2), torch.tensor([[1.0, 0.1], [0.9, 0.2]])
    given = users, items, torch.tensor([0]), torch.tensor([0]), torch.tensor([[7, 9, 8]])
    found = select_negatives(*given, 2, law, margin=1.9, rows=torch.tensor([[-1, 1, -1]]))
    assert set(found.flatten().tolist()) <= {9, -1}
    assert 9 in found
