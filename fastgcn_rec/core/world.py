"""The processes that work on one thing together: which of them this one is, and what they say to each other (torch.distributed)."""

from __future__ import annotations

import collections
import contextlib
import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore

from . import heartbeat
from .heartbeat import call

Tensor = torch.Tensor
T = TypeVar("T")
_watches: collections.Counter[str] = collections.Counter()  # of each group, which ranks count alike


class World:
    """The processes of a group of torch.distributed, or this one alone.

    All methods but the attributes are collective: every rank calls them, in the same order.

    Parameters
    ----------
    group : ProcessGroup, optional
        None: this process alone; :meth:`current` finds the initialised one.

    Attributes
    ----------
    rank, size : int
    sent : int
        Bytes of tensors that this rank has sent to others so far.

    Examples
    --------
    >>> world = World()
    >>> world.rank, world.size, world.gather(torch.ones(2)).tolist()
    (0, 1, [[1.0, 1.0]])
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.size = 1 if group is None else dist.get_world_size(group)
        self.sent = 0
        self._through_host = group is not None and dist.get_backend(group) == "gloo"

    @classmethod
    def current(cls, group: dist.ProcessGroup | None = None) -> World:
        """Of this group; None: of the default group, if torch.distributed is initialised, else this process alone."""
        if group is None and dist.is_available() and dist.is_initialized():
            group = dist.group.WORLD
        return cls(group)

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone prints and writes."""
        return self.rank == 0

    def shares(self, n: int, unit: int = 1) -> list[int]:
        """[size + 1]: rank r's share of n things in a row, which go in units of ``unit``, begins at shares[r] and ends at shares[r + 1]."""
        units = -(-n // unit)
        return [min(n, unit * (units * rank // self.size)) for rank in range(self.size + 1)]

    # --- tensors ----------------------------------------------------------------------------------------------------

    def gather(self, own: Tensor) -> Tensor:
        """[size, *own.shape]: every rank's, which have the same shape and dtype."""
        if self.size == 1:
            return own[None]
        return torch.stack(self.exchange([own] * self.size, [own.shape] * self.size))

    def joined(self, own: Tensor, bounds: Sequence[int]) -> Tensor:
        """[bounds[-1], ...]: the rows of all ranks, of which rank r has those from bounds[r] to bounds[r + 1]."""
        if self.size == 1:
            return own
        device = own.device if self._through_host else _where_nccl_reads(own)
        whole = torch.empty(bounds[-1], *own.shape[1:], dtype=own.dtype, device=device)
        whole[bounds[self.rank] : bounds[self.rank + 1]] = own
        self.fill(whole, bounds)
        return whole.to(own.device)

    def exchange(self, parts: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """What every rank has for this one: ``parts[q]`` goes to rank q, and comes from it with the shape ``shapes[q]``, in the dtype of the parts."""
        if self.size == 1:
            return [parts[0]]
        like = parts[0]
        device = torch.device("cpu") if self._through_host else _where_nccl_reads(like)
        width = like.element_size()
        given = [_flat(part).view(torch.uint8).to(device) for part in parts]
        taken = [width * int(torch.Size(shape).numel()) for shape in shapes]
        self.sent += sum(len(part) for rank, part in enumerate(given) if rank != self.rank)
        out = torch.empty(sum(taken), dtype=torch.uint8, device=device)
        call(dist.all_to_all_single, out, torch.cat(given), taken, [len(part) for part in given], group=self.group)
        found = out.to(like.device).split(taken)
        return [part.view(like.dtype).view(tuple(shape)) for part, shape in zip(found, shapes, strict=True)]

    def fill(self, whole: Tensor, bounds: Sequence[int]) -> None:
        """Every rank's rows [bounds[r], bounds[r + 1]) of ``whole``, contiguous, into the other ranks'; in place, nothing beside it is held."""
        if self.size == 1:
            return
        for rank, (begin, end) in enumerate(itertools.pairwise(bounds)):
            if begin == end or whole.numel() == 0:
                continue
            part = whole[begin:end].view(-1).view(torch.uint8)
            call(dist.broadcast, part, dist.get_global_rank(self.group, rank), group=self.group)  # type: ignore[arg-type]
            self.sent += len(part) * (self.size - 1) if rank == self.rank else 0

    # --- values -----------------------------------------------------------------------------------------------------

    def values(self, own: Any) -> list[Any]:
        """Every rank's value, of any kind that pickles; for a few of them, not for tables."""
        if self.size == 1:
            return [own]
        found: list[Any] = [None] * self.size
        call(dist.all_gather_object, found, own, group=self.group)
        return found

    def of_first(self, value: Any) -> Any:
        """Rank 0's value."""
        return self.values(value if self.first else None)[0]

    def by_first(self, action: Callable[[], T]) -> T:
        """The value of ``action``, which rank 0 alone calls, on every rank; or the error that it raises."""
        if self.size == 1:
            return action()
        value: T | None = None
        own: BaseException | None = None
        if self.first:
            try:
                value = action()
            except BaseException as failure:
                own = failure
        value, error = self.of_first((value, own and _sendable(own)))
        if error is not None:
            raise own or error
        return value  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:
        """Whether it is true on some rank."""
        return any(self.values(bool(flag)))

    def agree(self, who: str, **own: Any) -> None:
        """ValueError on every rank, naming what differs, on which rank, and both values, unless all ranks have the same ``own``; of what is a dict, entry
        by entry."""
        if self.size == 1:
            return
        flat = {name: repr(value) for name, value in _entries(own).items()}
        every = self.values(flat)
        for rank, texts in enumerate(every):
            for name in dict.fromkeys([*every[0], *texts]):
                here, first = texts.get(name, "none"), every[0].get(name, "none")
                if here != first:
                    raise ValueError(
                        f"{who}: all ranks must have the same {name}, and rank {rank} has {here:.300}, rank 0 {first:.300}; "
                        "start all ranks with the same command, data and version"
                    )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What fails within it on some ranks is raised on all, where each has done its work: the error of the first of them, which names that rank, unless
        all have the same.

        Within it ranks work by themselves: nothing that is collective."""
        own: BaseException | None = None
        try:
            yield
        except BaseException as error:
            if self.size == 1:
                raise
            own = error
        if self.size == 1:
            return
        errors = self.values(own and _sendable(own))
        if own is not None and len({repr(error) for error in errors}) == 1:
            raise own
        for rank, failure in enumerate(errors):
            if failure is not None:
                raise _naming(failure, rank) from own

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within it ranks notice where one of them is lost, and end with a RankLost that names it (:mod:`fastgcn_rec.core.heartbeat`)."""
        if self.size == 1 or heartbeat.active():
            yield
            return
        store = dist.distributed_c10d._get_default_store()
        store = getattr(store, "clone", lambda: store)()  # the main thread may wait in its own
        of_group = f"fastgcn_rec.beats.{self.group.group_name}"  # type: ignore[union-attr]
        _watches[of_group] += 1
        beats = PrefixStore(f"{of_group}.{_watches[of_group]}", store)
        with heartbeat.beating(beats, self.rank, self.size, heartbeat.wait_seconds()):
            yield

    def barrier(self) -> None:
        """Waits until every rank is here."""
        self.values(None)


def as_world(world: World | None, who: str) -> World:
    """The ranks that an argument ``world`` means: for None this process alone."""
    return World() if world is None else check_world(world, who)


def check_world(world: Any, who: str) -> World:
    if not isinstance(world, World):
        raise TypeError(f"{who}: world must be a World, such as World.current(), got {type(world).__name__}")
    return world


def _entries(own: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in own.items():
        found |= _entries(value, f"{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _where_nccl_reads(like: Tensor) -> torch.device:
    return like.device if like.device.type == "cuda" else torch.device("cuda", torch.cuda.current_device())


def _sendable(error: BaseException) -> BaseException:
    """The error as other ranks can read it; a RuntimeError that says the same of what does not pickle."""
    try:
        copy: BaseException = pickle.loads(pickle.dumps(error))
        return copy
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _naming(error: BaseException, rank: int) -> BaseException:
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} (on rank {rank})",)
    elif (
        isinstance(error, OSError) and len(error.args) == 2
    ):  # its text is of the attribute, what pickles of the arguments
        error.strerror = f"{error.strerror} (on rank {rank})"
        error.args = (error.errno, error.strerror)
    return error


def _flat(part: Tensor) -> Tensor:
    """The elements in their order, side by side: of none and of one PyTorch takes any stride for that."""
    return part.contiguous().as_strided((part.numel(),), (1,))
