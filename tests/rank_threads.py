"""Ranks as threads of this process, for tests of what a single op sends: quick, one at a time; processes are in tests/ranks.py."""

import threading

import torch

from fastgcn_rec.core.grid import Grid
from fastgcn_rec.core.world import World


class ThreadWorld(World):
    def __init__(self, rank, size, shared):
        super().__init__()
        self.rank, self.size, self.shared = rank, size, shared
        self._through_host = True

    def exchange(self, parts, shapes):
        parts = [part.clone(memory_format=torch.contiguous_format) for part in parts]
        self.sent += sum(part.nbytes for rank, part in enumerate(parts) if rank != self.rank)
        taken = [row[self.rank] for row in self.values(parts)]
        for rank, (part, shape) in enumerate(zip(taken, shapes, strict=True)):
            assert part.shape == tuple(shape), (
                f"rank {self.rank} waits for {tuple(shape)} of {rank}, which sends {part.shape}"
            )
            assert part.dtype == parts[0].dtype
        return taken

    def fill(self, whole, bounds):
        own = whole[bounds[self.rank] : bounds[self.rank + 1]].clone()
        self.sent += own.nbytes * (self.size - 1)
        for rank, part in enumerate(self.values(own)):
            whole[bounds[rank] : bounds[rank + 1]] = part

    def values(self, own):
        places, barrier, turn = self.shared
        turn.release()
        try:
            barrier.wait()
            places[self.rank] = own
            barrier.wait()
        finally:
            turn.acquire()
        return list(places)


def on_grid(columns, rows, function):
    """[function(grid) of each rank] of column groups times row groups; what the first that fails raises."""

    def group(size):
        return [None] * size, threading.Barrier(size, timeout=30)

    of_columns, of_rows = [group(columns) for _ in range(rows)], [group(rows) for _ in range(columns)]

    def on_rank(world):
        c, r = divmod(world.rank, rows)
        turn = world.shared[2]
        parts = ThreadWorld(c, columns, (*of_columns[r], turn)), ThreadWorld(r, rows, (*of_rows[c], turn))
        try:
            return function(Grid(world, *parts))
        except BaseException:
            for _, barrier in of_columns + of_rows:
                barrier.abort()
            raise

    return on_threads(columns * rows, on_rank)


def on_threads(size, function):
    """[function(world) of each rank]; what the first that fails raises."""
    found, errors = [None] * size, []
    shared = [None] * size, threading.Barrier(size), threading.Lock()  # emulated kernels run one at a time
    threads = torch.get_num_threads()

    def run(rank):
        with shared[2]:
            try:
                found[rank] = function(ThreadWorld(rank, size, shared))
            except BaseException as error:
                if not isinstance(error, threading.BrokenBarrierError):
                    errors.append(error)
                shared[1].abort()

    started = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    torch.set_num_threads(1)
    try:
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    finally:
        torch.set_num_threads(threads)
    if errors:
        raise errors[0]
    return found
