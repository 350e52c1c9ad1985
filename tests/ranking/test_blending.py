"""Weights of rankers, chosen on edges that were held out."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from support import as_a_program

from fastgcn_rec import Graph, Vectors, evaluate
from fastgcn_rec.data import Edges, synthetic_interactions
from fastgcn_rec.ranking.blending import choose_weights, normalized


def test_scores_are_normalised_user_by_user(device):
    scores = torch.randn(70, 40, generator=torch.Generator().manual_seed(0)).round(decimals=1) * 3 + 100
    plain = scores.double().numpy()
    z = (plain - plain.mean(1, keepdims=True)) / plain.std(1, keepdims=True)
    ranks = rankdata(-plain, "average", axis=1)
    for how, expected in (("none", plain), ("z", z), ("rank", 1 / (60 + ranks))):
        found = normalized(scores.to(device), how)
        np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-4, atol=1e-5, err_msg=how)


@pytest.mark.parametrize("value", [0.0, 0.1, -7e5])
def test_scores_that_say_nothing_are_0(value):
    assert not normalized(torch.full((2, 4097), value), "z").any()


@pytest.fixture(scope="module")
def halves():
    """Two rankers, each of which knows half of the columns of the vectors that made the data, and noise."""
    data = synthetic_interactions(300, 200, 6000, dim=8, seed=1)
    data = data.with_valid(data.split_valid(0.3)[1])
    rng = np.random.default_rng(0)
    left, scale, right = np.linalg.svd(data.graph().to_scipy().toarray(), full_matrices=False)
    users, items = left[:, :12] * scale[:12], right[:12].T
    parts = [(users[:, own], items[:, own] * size) for own, size in ((slice(0, 12, 2), 1.0), (slice(1, 12, 2), 40.0))]
    noise = (rng.normal(size=(300, 3)), rng.normal(size=(200, 3)))
    return data, [Vectors(*pair, data) for pair in (*parts, noise)]


def mixed(rankers, weights, data):
    return Vectors(
        np.concatenate([w * r.node_vectors()[0].numpy() for w, r in zip(weights, rankers, strict=True)], 1),
        np.concatenate([r.node_vectors()[1].numpy() for r in rankers], 1),
        data,
    )


@pytest.mark.parametrize("metric", ["ndcg@20", "recall@10"])
def test_the_weights_are_the_best_of_a_grid_and_their_value_is_what_evaluate_says(halves, metric):
    data, rankers = halves
    rankers, (name, k) = rankers[:2], metric.split("@")
    found = choose_weights(rankers, data.valid, data.graph(), metric)

    def value(model):
        return evaluate(model, data.valid, data.graph(), ks=[int(k)], metrics=(name,))[metric]

    assert found.value == pytest.approx(value(mixed(rankers, found.weights, data)), abs=1e-6)
    assert found.alone == pytest.approx([value(ranker) for ranker in rankers], abs=1e-6)
    unit = [weight / share for weight, share in zip(found.weights, found.shares, strict=True)]
    grid = [[unit[0] * t, unit[1] * (1 - t)] for t in np.linspace(0, 1, 11)]
    assert found.value >= max(value(mixed(rankers, weights, data)) for weights in grid) - 1e-6
    assert found.value > max(found.alone) + 0.005


def test_noise_gets_little_and_scales_do_not_matter(halves):
    data, rankers = halves
    found = choose_weights(rankers, data.valid, data.graph())
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[2] <= 0.1 < min(found.shares[:2])
    users, items = rankers[1].node_vectors()
    larger = [rankers[0], Vectors(users * 1024, items, data), rankers[2]]  # a power of two rounds nothing
    other = choose_weights(larger, data.valid, data.graph())
    assert other.shares == found.shares
    assert other.weights[1] == pytest.approx(found.weights[1] / 1024)
    assert choose_weights(rankers, data.valid, data.graph(), normalize="z").shares[2] <= 0.1


def test_seen_items_users_without_items_and_short_catalogues():
    seen = Graph.from_edges([0, 0, 1], [0, 1, 2], 3, 3)
    rankers = [Vectors(np.eye(3), np.eye(3), seen), Vectors(np.ones((3, 1)), [[3.0], [2.0], [1.0]], seen)]
    found = choose_weights(rankers, Edges([0, 0, 1], [2, 2, 0]), seen, "hit@1")
    assert (found.value, found.alone[1]) == (1.0, 1.0)
    equal = [Vectors(np.ones((3, 1)), np.ones((3, 1)), seen)] * 2
    assert choose_weights(equal, Edges([1], [0]), seen, "recall@2").value == 1.0


def test_any_number_of_rankers(halves):
    data, rankers = halves
    many = [rankers[n % 3] for n in range(12)]
    found = choose_weights(many, data.valid, data.graph())
    assert len(found.weights) == 12
    assert found.value >= choose_weights(rankers[:1], data.valid, data.graph()).value


def run():
    data = synthetic_interactions(300, 200, 6000, dim=8, seed=1)
    data = data.with_valid(data.split_valid(0.3)[1])
    rng = np.random.default_rng(0)
    rankers = [Vectors(rng.normal(size=(300, 3)), rng.normal(size=(200, 3)), data) for _ in range(3)]
    return [choose_weights(rankers, data.valid, data.graph(), normalize=how) for how in ("none", "z", "rank")]


def test_another_process_of_another_number_of_threads_chooses_the_same():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = run()
    finally:
        torch.set_num_threads(before)
    done = as_a_program(__file__)
    assert (done.returncode, done.stdout.strip()) == (0, repr(here)), done.stderr


def test_what_cannot_choose_is_refused(halves):
    data, rankers = halves
    for metric in ("gini@5", "coverage@5"):
        with pytest.raises(ValueError, match=f"metric must be one of recall, .*got '{metric}'"):
            choose_weights(rankers, data.valid, data.graph(), metric)
    with pytest.raises(ValueError, match="metric must be NAME@K"):
        choose_weights(rankers, data.valid, data.graph(), "ndcg")
    with pytest.raises(TypeError, match="metric must be a text such as 'recall@20', got NoneType"):
        choose_weights(rankers, data.valid, data.graph(), None)
    with pytest.raises(ValueError, match=r"normalize must be one of .*, got 'l2'"):
        choose_weights(rankers, data.valid, data.graph(), normalize="l2")
    with pytest.raises(ValueError, match="no edges are held out"):
        choose_weights(rankers, Edges([], []), data.graph())


if __name__ == "__main__":
    torch.set_num_threads(3)
    print(run())
