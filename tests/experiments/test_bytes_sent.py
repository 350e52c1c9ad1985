"""What ranks send in a step is what the formula says, and knows nothing of the graph's size."""

import pytest
import ranks
import torch

from fastgcn_rec import Graph, TrainConfig, TrainStep
from fastgcn_rec.core.columns import Columns
from fastgcn_rec.data import synthetic_edges
from fastgcn_rec.experiments.estimate import bytes_sent

BATCH, DIM = 50, 70
KINDS = {
    "bpr": TrainConfig(batch_size=BATCH, reg=0.1),
    "softmax": TrainConfig(batch_size=BATCH, reg=0.1, loss="softmax"),
    "bfloat16": TrainConfig(batch_size=BATCH, reg=0.1, storage="bfloat16"),
    "no ridge": TrainConfig(batch_size=BATCH, reg=0.0, loss="max_margin"),
    "softmax in bfloat16, no ridge": TrainConfig(batch_size=BATCH, reg=0.0, loss="softmax", storage="bfloat16"),
}


def batch(config):
    """Of ids that both graphs have; some nodes of it twice."""
    n_neg = int(config.loss != "softmax")
    drawn = torch.randint(60, (2 + n_neg, BATCH), generator=torch.Generator().manual_seed(1))
    return drawn[0], drawn[1], drawn[2:].T.contiguous()


def sent_in_steps(world, sizes):
    """By kind and size of the graph, in one step."""
    columns, found = Columns(world, DIM), {}
    for n in sizes:
        graph = Graph.from_edges(*synthetic_edges(n, n, 10 * n), n, n)
        for kind, config in KINDS.items():
            storage = torch.bfloat16 if config.storage == "bfloat16" else None
            table = torch.ones(2 * n, columns.width)
            step = TrainStep(
                graph, table, [0.5, 0.5], loss=config.loss, reg=config.reg, storage=storage, columns=columns
            )
            users, pos, neg = batch(config)
            before = world.sent
            step(users, pos, neg if neg.shape[1] else None)
            found[kind, n] = world.sent - before
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_the_bytes_of_a_step_are_those_of_the_formula_whatever_the_graph(size):
    sizes = (60, 1200)
    found = ranks.on_ranks(size, sent_in_steps, sizes)
    for kind, config in KINDS.items():
        users, pos, neg = batch(config)
        rows = len(users.unique()) + len(torch.cat([pos, neg.flatten()]).unique())
        expected = bytes_sent(rows, DIM, size, config)
        for n in sizes:
            assert [own[kind, n] for own in found] == expected, (kind, n)


def test_one_process_sends_nothing():
    assert bytes_sent(4096, 256, 1) == [0]
