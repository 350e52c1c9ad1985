"""logq that grows with the density of the data."""

import pytest
import torch

from fastgcn_rec import NGCF, LightGCN, PinSAGE, TrainConfig, fit
from fastgcn_rec.core.graph import Graph
from fastgcn_rec.losses import Objective, item_bias


def test_it_is_the_part_of_the_pairs_that_are_edges_up_to_the_full_correction():
    graph = Graph.from_edges(
        [0, 0, 1, 3], [0, 1, 1, 2], n_users=9, n_items=20
    )  # 4 of 3 x 3: ids without an edge are no pairs
    assert Objective(loss="softmax").logq_on(graph) == 0
    assert Objective(loss="softmax", logq=-0.3).logq_on(graph) == -0.3
    assert Objective(loss="softmax", logq_density=0.9).logq_on(graph) == 0.9 * 4 / 9
    assert Objective(loss="softmax", logq_density=50).logq_on(graph) == 1
    assert Objective(loss="softmax", logq=0.6, logq_density=0.9).logq_on(graph) == 0.6
    assert Objective(loss="softmax", logq=1.2, logq_density=50).logq_on(graph) == 1.2


@pytest.mark.parametrize("kind", ["native", "autograd", "own batches"])
def test_a_training_by_density_is_one_by_that_logq(data, kind):
    def trained(**options):
        if kind == "own batches":
            model = PinSAGE(data, embedding_dim=8, hidden_dim=8, n_walks=20)
        else:
            model = (NGCF if kind == "autograd" else LightGCN)(data, 8, 1)
        fit(model, data, loss="softmax", epochs=2, batch_size=256, progress=False, protocol="none", **options)
        return [p.detach() for p in model.parameters()]

    density = Objective(loss="softmax", logq_density=1).logq_on(data.graph())
    assert 0 < density < 0.2
    by_density, by_logq, without = trained(logq_density=5), trained(logq=5 * density), trained()
    assert all(map(torch.equal, by_density, by_logq))
    assert not all(map(torch.equal, by_density, without))


def test_it_belongs_to_the_softmax():
    for wrong in ({"logq_density": 1.0}, {"loss": "softmax", "logq_density": -1.0}):
        with pytest.raises(ValueError, match="logq_density"):
            TrainConfig(**wrong)


def test_the_bias_is_that_of_the_density():
    graph = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2])
    full = item_bias(Objective(loss="softmax", logq=1), graph)
    assert torch.equal(item_bias(Objective(loss="softmax", logq_density=50), graph), full)
    half = item_bias(Objective(loss="softmax", logq_density=9 / 8), graph)
    assert torch.equal(half, 0.5 * full)
