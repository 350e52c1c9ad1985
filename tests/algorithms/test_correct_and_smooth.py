"""correct_and_smooth beside the iterations of the paper."""

import pytest
import torch
from support import assert_close, random_graph

from fastgcn_rec import Graph, correct_and_smooth
from fastgcn_rec.algorithms.smoothing import spreading
from fastgcn_rec.ops import reference


def given(graph, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(graph.n_nodes, 3, generator=generator, dtype=torch.float64)
    labels = torch.nn.functional.one_hot(torch.randint(0, 3, (graph.n_nodes,), generator=generator), 3).double()
    known = torch.rand(graph.n_nodes, generator=generator) < 0.3
    return scores, labels, known


def iterated(a, g0, keep, hops):
    g = g0
    for _ in range(hops):
        g = (1 - keep) * g0 + keep * a @ g
    return g


@pytest.mark.parametrize("scale", [None, 0.7])
def test_it_is_what_its_authors_iterate(device, scale):
    graph, hops, correct, smooth = random_graph(), 5, 0.6, 0.9
    scores, labels, known = given(graph)
    a = reference.adjacency(graph, "sym", torch.float64)
    e = torch.zeros_like(scores)
    e[known] = labels[known] - scores[known]
    spread = iterated(a, e, correct, hops)
    if scale is None:
        mean = e[known].abs().sum(1).mean()
        z = scores.clone()
        for i, row in enumerate(spread):
            if row.abs().sum() > 0:
                z[i] += mean * row / row.abs().sum()
    else:
        z = scores + scale * spread
    z[known] = labels[known]
    got = correct_and_smooth(
        graph.to(device), scores.to(device), labels.to(device), known.to(device), correct=correct, smooth=smooth,
        hops=hops, scale=scale,
    )  # fmt: skip
    assert_close(got, iterated(a, z, smooth, hops))


def test_labels_of_unknown_nodes_are_not_read_and_ids_or_a_mask_mark_the_known_ones():
    graph = random_graph()
    scores, labels, known = given(graph)
    wanted = correct_and_smooth(graph, scores, labels, known)
    hidden = torch.where(known[:, None], labels, float("nan"))
    assert torch.equal(correct_and_smooth(graph, scores, hidden, known.nonzero().flatten()), wanted)


def test_a_constant_error_inside_communities_is_corrected():
    """Two communities; scores are off by +-0.4, the same within each; a third of the users is known."""
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(0, 60, (900,), generator=generator)
    items = users % 2 * 20 + torch.randint(0, 20, (900,), generator=generator)
    graph = Graph.from_edges(users, items, 60, 40)
    side = torch.cat([torch.arange(60) % 2, torch.arange(40) // 20]).double()[:, None]
    scores = side + torch.where(side > 0, -0.4, 0.4)
    known = torch.arange(0, 60, 3)
    got = correct_and_smooth(graph, scores, side, known, smooth=0.0)
    unknown = torch.ones(60, dtype=torch.bool)
    unknown[known] = False
    assert (got - side)[:60][unknown].abs().mean() < 0.2 * (scores - side)[:60][unknown].abs().mean()


def test_gradients_in_scores():
    graph = random_graph(6, 5, 14)
    scores, labels, known = given(graph)
    scores.requires_grad_()
    for scale in (None, 0.5):
        assert torch.autograd.gradcheck(
            lambda s, scale=scale: correct_and_smooth(graph, s, labels, known, hops=3, scale=scale), (scores,)
        )


def test_no_hop_and_nothing_known():
    graph = random_graph()
    scores, labels, known = given(graph)
    start = torch.where(known[:, None], labels, scores)
    assert_close(correct_and_smooth(graph, scores, labels, known, hops=0), start)
    none = torch.zeros_like(known)
    assert_close(correct_and_smooth(graph, scores, labels, none, smooth=0.0, hops=2), scores)
    assert sum(spreading(0.3, 7)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"correct": 1.5}, r"correct must lie in \[0, 1\], got 1.5"),
        ({"smooth": -0.1}, r"smooth must lie in \[0, 1\], got -0.1"),
        ({"hops": -1}, "hops must be >= 0, got -1"),
        ({"scale": float("inf")}, "scale must be finite or None, got inf"),
        ({"labels": torch.ones(70, 2)}, r"labels must have the shape of scores, \[70, 3\], got \[70, 2\]"),
    ],
)
def test_errors(options, text):
    graph = random_graph()
    scores, labels, known = given(graph)
    with pytest.raises(ValueError, match=text):
        correct_and_smooth(graph, scores, **{"labels": labels, "known": known, **options})
