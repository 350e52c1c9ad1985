"""A function run on several ranks at once, each a process of its own with one thread; what tests of several ranks share."""

import contextlib
import importlib.util
import multiprocessing
import os
import pickle
import sys
import threading
import time
import traceback
import warnings
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory

import support  # so that ranks run the module that the tests run  # noqa: F401
import torch
import torch.distributed as dist

from fastgcn_rec.core.world import World

_HERE = str(Path(__file__).parent)
_FORKS = multiprocessing.get_context("forkserver")  # of a process that has imported the package, and run nothing
_FORKS.set_forkserver_preload(["torch", "torch.distributed", "fastgcn_rec.training", "fastgcn_rec.ranking"])


class Ended(Exception):
    """A rank that said nothing more: its exit code, negative for a signal; None where it was ended after the time that it had."""

    def __init__(self, rank, code):
        super().__init__(f"rank {rank} ended with code {code}")
        self.rank, self.code = rank, code


def on_ranks(size, function, *args, **options):
    """The results of function(world, *args) on ranks 0, 1, ...; raises what the first rank that fails raises, other than for one that has gone.
    ``options`` as of :func:`outcomes`."""
    found, failed = _run(size, function, args, **options)
    if failed:
        raise found[min(failed, key=lambda rank: _follows(found[rank]))]
    return found


def _follows(error):
    """Whether an error is of the connection to a rank that has gone before."""
    return isinstance(error, RuntimeError) and "gloo" in str(error)


def outcomes(size, function, *args, **options):
    """The result of every rank, or what it raised.

    ``function`` stands at the top of a file of tests, and is found there by its name. ``seconds``: that ranks may take, 60. ``threads``: of each, 1.
    ``env``: variables of the environment beside the present ones; None takes one away. ``group=False``: no process group, ``world`` is the rank's number.
    """
    return _run(size, function, args, **options)[0]


def _run(size, function, args, seconds=60.0, threads=1, env=None, group=True):
    call = pickle.dumps((function.__qualname__, args))
    variables = {**os.environ, **(env or {})}
    with TemporaryDirectory() as folder:
        place = f"file://{folder}/store" if group else None
        ends, processes = [], []
        for rank in range(size):
            end, theirs = _FORKS.Pipe(duplex=False)
            start = rank, size, place, seconds, threads, {k: v for k, v in variables.items() if v is not None}
            what = function.__module__, function.__code__.co_filename, call
            process = _FORKS.Process(target=_rank, args=(theirs, start, what))
            process.start()
            theirs.close()
            ends.append(end)
            processes.append(process)
        try:
            return _listen(ends, processes, time.monotonic() + seconds)
        finally:
            for process in processes:
                process.kill()
                process.join()


def _listen(ends, processes, until):
    """(what each rank says, those that failed, in the order in which they did)."""
    found, failed = [None] * len(ends), []
    waiting = dict(zip(ends, range(len(ends)), strict=True))
    while waiting:
        ready = wait(list(waiting), timeout=max(0.0, until - time.monotonic()))
        for end in ready or list(waiting):
            rank = waiting.pop(end)
            try:
                good, found[rank] = pickle.loads(end.recv_bytes()) if ready else (False, Ended(rank, None))
            except EOFError:
                processes[rank].join()
                good, found[rank] = False, Ended(rank, processes[rank].exitcode)
            if not good:
                failed.append(rank)
    return found, failed


def _end_with_parent():
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _rank(end, start, what):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    rank, size, place, seconds, threads, variables = start
    os.environ.clear()
    os.environ.update({"GLOO_SOCKET_IFNAME": "lo", "TORCH_DIST_INIT_BARRIER": "1", **variables})
    torch.set_num_threads(threads)
    warnings.simplefilter("error")
    try:
        world = rank
        if place is not None:
            # waits until all are connected: a rank that raised at once would end others in the middle of it
            dist.init_process_group("gloo", place, timedelta(seconds=seconds), size, rank)
            world = World.current()
        module, file, call = what
        _import(module, file)
        name, args = pickle.loads(call)
        said = True, getattr(sys.modules[module], name)(world, *args)
        if place is not None:
            dist.barrier()  # a rank that goes first takes its store with it
            dist.destroy_process_group()
    except BaseException as error:
        said = False, _sendable(error, rank)
    with contextlib.suppress(BrokenPipeError):
        end.send_bytes(pickle.dumps(said))


def _import(name, file):
    """The file of tests that ``function`` stands in, by the name that it has where the tests run."""
    if _HERE not in sys.path:
        sys.path.insert(0, _HERE)
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _sendable(error, rank):
    text = f"on rank {rank}:\n{traceback.format_exc()}"
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    notes = getattr(error, "add_note", lambda text: None)  # Python 3.10 has none
    notes(text)
    return error
