import pytest
import torch
from rank_threads import on_grid
from support import random_graph

from fastgcn_rec import Graph, sample_batch
from fastgcn_rec.core.row_graph import RowGraph, row_bounds
from fastgcn_rec.core.world import World
from fastgcn_rec.ops.row_batch import RowBatches

GRAPHS = {
    "plain": random_graph,
    "users without edges": lambda: Graph.from_edges([1, 3, 3, 8], [0, 0, 2, 1], 11, 3),
    "a user who has seen everything": lambda: Graph.from_edges([0, 0, 1], [0, 1, 0], 2, 2),
}


def own_part(graph, world):
    users, items = (row_bounds(d.cpu(), world.size, 1) for d in (graph.user_degree, graph.item_degree))
    r = world.rank
    return RowGraph.of(graph, (users[r], users[r + 1]), (items[r], items[r + 1]))


@pytest.mark.parametrize("by", ["edge", "user"])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_rank_draws_the_batch_of_one_process(device, name, by):
    graph = GRAPHS[name]().to(device)

    def draw(grid):
        batches = RowBatches(own_part(graph, grid.rows), grid.rows)
        offset = torch.tensor(3 * graph.n_edges - 7, device=device)
        return [batches(50, 3, seed=5, offset=offset, by=by), batches(9, 0, seed=torch.tensor(6, device=device), by=by)]

    expected = [sample_batch(graph, 50, 3, seed=5, offset=3 * graph.n_edges - 7, by=by)]
    expected.append(sample_batch(graph, 9, 0, seed=6, by=by))
    for ranks in (1, 2, 3):
        for found in on_grid(1, ranks, draw):
            for batch, wanted in zip(found, expected, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(batch, wanted, strict=True))


def test_what_cannot_be_drawn_is_refused(device):
    graph = random_graph().to(device)
    batches = RowBatches(own_part(graph, World()), World())
    with pytest.raises(ValueError, match="by must be 'edge' or 'user', got 'item'"):
        batches(4, seed=0, by="item")
    with pytest.raises(ValueError, match="batch_size must be >= 0, got -1"):
        batches(-1, seed=0)
    with pytest.raises(TypeError, match="offset"):
        batches(4, seed=0, offset=0.5)
    with pytest.raises(ValueError, match="offset"):
        batches(4, seed=0, offset=-1)
    none = Graph.from_edges([], [], 2, 2, device=device)
    with pytest.raises(ValueError, match="no edges to sample from"):
        RowBatches(own_part(none, World()), World())(4, seed=0)


def test_graphs_and_worlds_that_are_none_and_rows_that_are_missing_are_refused():
    graph = random_graph()
    with pytest.raises(TypeError, match=r"RowBatches: graph must be a RowGraph, got Graph; RowGraph.of"):
        RowBatches(graph, World())
    with pytest.raises(TypeError, match="RowBatches: world must be a World"):
        RowBatches(own_part(graph, World()), None)
    part = RowGraph.of(graph, (0, 1), (0, graph.n_items))
    with pytest.raises(ValueError, match="RowBatches: the ranks' ranges of users must follow each other from 0 to"):
        RowBatches(part, World())
