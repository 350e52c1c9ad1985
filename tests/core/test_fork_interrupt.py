"""Forked children and interrupted calls, in processes of their own: a fork or a signal in the one that runs the tests would concern them all.

The names after ``python test_fork_interrupt.py`` choose functions below, whose answers are printed as JSON.
"""

import ctypes
import functools
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import torch
from support import as_a_program, on_the_cpu, random_graph

import fastgcn_rec as fgr
from fastgcn_rec.data import synthetic_interactions

pytestmark = on_the_cpu


@functools.cache
def answers(*names: str) -> dict:
    """What these functions return, called one after the other in a new process; TimeoutExpired if one hangs."""
    out = as_a_program(__file__, *names, timeout=240)
    assert out.returncode == 0, out.stderr[-3000:]
    return json.loads(out.stdout.splitlines()[-1])


def of_forks(name: str) -> dict:
    return answers("without_a_region_before", "in_children", "in_a_child_of_c")[name]


def of_signals(name: str) -> dict:
    return answers("interrupted", "with_a_flag_only", "on_another_thread")[name]


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return np.array_equal(a.numpy(), b.numpy())  # torch.equal of large tensors would hang in a child


def jobs() -> dict:
    """Calls that open regions, as functions without arguments that return tensors."""
    torch.set_num_threads(2)
    data = synthetic_interactions(300, 200, 6000, seed=0)
    graph = random_graph(2000, 1500, 60_000)
    table = torch.randn(graph.n_nodes, 64, generator=torch.Generator().manual_seed(0))
    model = fgr.LightGCN(graph, 64)

    def fitted() -> torch.Tensor:
        torch.manual_seed(0)
        small = fgr.LightGCN(data, 32, 2)
        fgr.fit(small, data, epochs=1, batch_size=1024, progress=False)
        return small.embedding.weight.detach()

    return {
        "propagate": lambda: fgr.propagate(graph, table, [0.5, 0.3, 0.2]),
        "recommend": lambda: torch.from_numpy(model.recommend([0, 7], 5)[1]),
        "sample_batch": lambda: fgr.sample_batch(graph, 4096, n_neg=2, seed=0)[2],
        "Graph.from_edges": lambda: random_graph(2000, 1500, 200_000).indices,
        "fit": fitted,
    }


def in_children() -> dict:
    """Every job in a forked child, with the threads that a child has by itself and with two; whether the bits are the parent's."""
    given = jobs()
    expected = {name: job() for name, job in given.items()}
    context, found = multiprocessing.get_context("fork"), {}
    for name, job in given.items():
        kernels_only = name in ("propagate", "recommend", "sample_batch")  # torch's own large ops hang with two threads
        for threads in (None, 2) if kernels_only else (None,):

            def child(pipe, job=job, name=name, threads=threads) -> None:
                if threads:
                    torch.set_num_threads(threads)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    same = equal(job(), expected[name])
                pipe.send([same, [str(w.message) for w in caught if "forked" in str(w.message)]])

            ours, theirs = context.Pipe()
            process = context.Process(target=child, args=(theirs,))
            process.start()
            answered = ours.poll(20)
            found[f"{name}, {threads or 'its own'} threads"] = ours.recv() if answered else ["hangs", []]
            process.kill()
    return found


def without_a_region_before() -> dict:
    """The threads and the warnings of a child whose parent has opened no region."""
    torch.set_num_threads(2)
    graph = random_graph()
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fgr.propagate(graph, torch.ones(graph.n_nodes, 4), [0.5, 0.5])
        os.write(write, json.dumps({"threads": torch.get_num_threads(), "warnings": len(caught)}).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return json.loads(os.read(read, 1000))


def in_a_child_of_c() -> dict:
    """A fork that Python's hooks do not see: exit code 0 where the kernel ends and gives the same bits."""
    job = jobs()["propagate"]
    expected = job()
    if (pid := ctypes.PyDLL(None).fork()) == 0:
        signal.alarm(20)
        os._exit(0 if equal(job(), expected) else 1)
    return {"status": os.waitpid(pid, 0)[1]}


class Stop(Exception):
    """What the handler raises."""


def long_calls() -> dict:
    """Calls that would take from seconds to hours, of small memory."""
    torch.set_num_threads(2)
    small, graph = random_graph(10, 10, 25), random_graph(3000, 2000, 60_000)
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(graph.n_nodes, 64, generator=generator)
    users, items = torch.randint(3000, (2000,), generator=generator), torch.randint(2000, (2000,), generator=generator)

    def many_hops() -> None:
        fgr.TrainStep(graph, table.clone(), [0.01] * 100_000)(users, items, items[:, None])

    queries = torch.randn(10_000, 64, generator=generator)
    return {
        "ppr": lambda: fgr.ppr(graph, torch.arange(2), restart=1e-8),
        "ppr_push": lambda: fgr.ppr_push(graph, torch.arange(2), restart=1e-6),
        "propagate": lambda: fgr.propagate(graph, table, [0.01] * 100_000),
        "backward": lambda: fgr.propagate(graph, table.clone().requires_grad_(), [0.01] * 50_000).sum().backward(),
        "TrainStep": many_hops,
        "random_walk": lambda: fgr.random_walk(small, [1], 20_000_000, 1),
        "random_walk_neighbors": lambda: fgr.random_walk_neighbors(graph, torch.arange(3000), 200_000, 20, 0.2, 10, 3),
        "random_walk_neighbors, one seed": lambda: fgr.random_walk_neighbors(small, [1], 5 * 10**8, 2, 0.2, 5, 3),
        "retrieve": lambda: fgr.retrieve(queries.repeat(40, 1), queries.repeat(20, 1), 5),
    }


def interrupted() -> dict:
    """Whether each long call, given a signal after .15 s, ended with the handler's exception, and how long after it that came."""

    def handler(*_) -> None:
        raise Stop

    signal.signal(signal.SIGALRM, handler)
    graph = random_graph(3000, 2000, 60_000)
    table = torch.ones(graph.n_nodes, 64)
    expected = fgr.propagate(graph, table, [0.5, 0.5])
    found = {}
    for name, call in long_calls().items():
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        try:
            call()
            ended = "ran to its end"
        except Stop:
            ended = "raised"
        signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.perf_counter() - begin
        usable = torch.equal(fgr.propagate(graph, table, [0.5, 0.5]), expected)
        found[name] = [ended, seconds, usable]
    return found


def with_a_flag_only() -> dict:
    """Calls under a storm of signals whose handler sets a flag and calls an op, beside the same calls without; and the number of signals."""
    given = jobs()
    graph, (of_users, of_items) = random_graph(3000, 2000, 60_000), (torch.randn(4000, 64), torch.randn(9000, 64))
    table = torch.randn(5000, 64)
    given = {
        "propagate": lambda: fgr.propagate(graph, table, [0.05] * 300),
        "retrieve": lambda: fgr.retrieve(of_users, of_items, 10).ids,
        "ppr": lambda: fgr.ppr(graph, torch.arange(64), restart=1e-3).scores,
        "fit": given["fit"],
    }
    expected = {name: call() for name, call in given.items()}
    seen = [0]

    def handler(*_) -> None:
        seen[0] += 1
        fgr.propagate(graph, table, [0.5, 0.5])
        signal.setitimer(signal.ITIMER_REAL, 0.03)  # the next one, after this, however slow the machine

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    same = dict.fromkeys(given, True)
    while seen[0] < 5:  # however fast the machine
        for name, call in given.items():
            same[name] &= torch.equal(call(), expected[name])
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    return {"same": same, "signals": seen[0]}


def on_another_thread() -> dict:
    """A call of a thread that is not the main one, while a signal for the main one raises there: it runs to its end."""
    graph, table = random_graph(3000, 2000, 60_000), torch.randn(5000, 64)

    def call() -> torch.Tensor:
        return fgr.propagate(graph, table, [0.05] * 600)

    def handler(*_) -> None:
        raise Stop

    torch.set_num_threads(2)
    expected, found = call(), []
    signal.signal(signal.SIGALRM, handler)
    thread = threading.Thread(target=lambda: found.append(torch.equal(call(), expected)))
    raised = False
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        thread.start()
        while thread.is_alive():
            time.sleep(0.01)
    except Stop:
        raised = True
    thread.join()
    return {"raised in the main thread": raised, "same": found}


def test_a_forked_child_computes_the_same_bits_and_says_once_that_it_lost_its_threads():
    found = of_forks("in_children")
    assert {name: same for name, (same, _) in found.items()} == dict.fromkeys(found, True)
    assert [len(said) for _, said in found.values()] == [1] * len(found)


def test_a_fork_before_any_region_keeps_its_threads_without_a_word():
    assert of_forks("without_a_region_before") == {"threads": 2, "warnings": 0}


def test_a_fork_that_python_does_not_see_does_not_hang_in_a_kernel():
    assert of_forks("in_a_child_of_c") == {"status": 0}


def test_a_signal_whose_handler_raises_ends_a_call_and_the_next_one_works():
    found = of_signals("interrupted")
    assert {name: (ended, usable) for name, (ended, _, usable) in found.items()} == dict.fromkeys(
        found, ("raised", True)
    )
    assert max(seconds for _, seconds, _ in found.values()) < 10, found


def test_a_handler_that_raises_nothing_changes_no_bit():
    found = of_signals("with_a_flag_only")
    assert found["same"] == dict.fromkeys(found["same"], True)
    assert found["signals"] >= 5


def test_calls_of_other_threads_go_on_when_the_main_one_is_interrupted():
    assert of_signals("on_another_thread") == {"raised in the main thread": True, "same": [True]}


if __name__ == "__main__":
    print(json.dumps({name: globals()[name]() for name in sys.argv[1:]}))
