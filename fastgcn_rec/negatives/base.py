"""What all samplers of negatives share: what they draw for, what they give, sums of them, their texts."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch

from ..core.arguments import as_python
from ..core.columns import Columns
from ..core.graph import Graph
from ..ops.sample import NEGATIVE_OF_BATCH, draw_negatives
from ..ops.uniform_rows import uniform_rows

Tensor = torch.Tensor
DRAWS = 1 << 24  # random numbers that a row has for every place in a sum
QUERIES = 1 << 20  # the place of uniform_rows that query items are drawn at
UNSAID = {"unsaid": True}  # metadata of a field that a sampler's text names only where it is not the default


class Negatives(NamedTuple):
    """What a sampler gives, and the losses take.

    Attributes
    ----------
    ids : int64 [B, n], or [1, n] when the batch shares them; -1 = none
    mask : bool [B, n] or None
        Beside shared ids: False where a user has an edge to the item.

    Examples
    --------
    >>> Negatives(torch.tensor([[2, 3]]), torch.tensor([[True, False], [True, True]])).per_row(2)
    tensor([[ 2, -1],
            [ 2,  3]])
    """

    ids: Tensor
    mask: Tensor | None = None

    def per_row(self, batch: int) -> Tensor:
        """int64 [batch, n] with -1 for none."""
        ids = self.ids.expand(batch, -1)
        return ids if self.mask is None else torch.where(self.mask, ids, -1)


class Embeddings:
    """The current vectors, computed when a sampler first asks in a step, and kept for those content with stale ones.

    Parameters
    ----------
    compute : returns the vectors [n_nodes, dim], users first; ``model.get_embedding`` is one
    columns : Columns, optional
        Those of the vectors that ``compute`` returns, [n_nodes, width], where ranks share them out; ``model.columns``.

    Examples
    --------
    >>> kept = Embeddings(lambda: torch.zeros(3, 2))
    >>> kept.at(5, refresh=2).shape, list(kept.state())
    (torch.Size([3, 2]), ['2'])
    """

    def __init__(self, compute: Callable[[], Tensor], columns: Columns | None = None) -> None:
        self.compute, self.columns = compute, columns
        self.shared: dict[
            Any, Any
        ] = {}  # what samplers have computed together with the other ranks, kept as long as the training
        self.kept: dict[int, tuple[int, Tensor]] = {}  # by refresh: the step they are of, the vectors

    def at(self, step: int, refresh: int = 1) -> Tensor:
        """The vectors of the last step that ``refresh`` divides; of ``step`` itself, if those are not at hand."""
        since = step - step % refresh
        if refresh not in self.kept or self.kept[refresh][0] != since:
            if 1 not in self.kept or self.kept[1][0] != step:
                with torch.no_grad():
                    self.kept[1] = step, self.compute().detach()
            if refresh > 1:  # a copy: the vectors may be parameters, which the step changes
                self.kept[refresh] = since, self.kept[1][1].clone()
        return self.kept[refresh][1]

    def forget(self, step: int) -> None:
        """The vectors of this step are to be computed again: a CUDA graph that was captured then has them only when it is replayed."""
        self.kept = {refresh: held for refresh, held in self.kept.items() if held[0] != step}

    def of(
        self, graph: Graph, step: int, refresh: int, users: Tensor, items: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(vectors of users, of items, users, items): tables with all columns of :meth:`at`, in which these ids (-1: none) find their rows by the last
        two; whole ones and the ids as they are, where this process holds all columns."""
        table = self.at(step, refresh)
        if self.columns is None:
            return *table.split([graph.n_users, graph.n_items]), users, items
        return self.columns.pairs(table, graph.n_users, users, items)

    def state(self) -> dict[str, Tensor]:
        """What going on after an interruption needs: the stale vectors, by refresh."""
        return {str(refresh): table for refresh, (_, table) in self.kept.items() if refresh > 1}

    def resume(self, step: int, state: dict[str, Tensor]) -> None:
        """Goes on after ``step`` steps."""
        last = step - 1
        self.kept = {int(r): (last - last % int(r), table) for r, table in state.items()}


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a sampler draws for.

    Attributes
    ----------
    graph : Graph
        The edges trained on.
    users, pos : int64 [B]
        Edges of the graph.
    seed, offset : int, or one-element int64 tensors on the graph's device
        Row b is sample t = offset + b of the stream that ``seed`` names.
    step, epoch : int
        Steps taken before this one; the epoch, from 1.
    embeddings : Embeddings or None
    part : int
        The place in a sum, from 0, which has random numbers of its own.
    queries : function or None
        Gives the items int64 [B] that the positives are predicted from, -1: none; see :meth:`query_items`.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4)
    >>> Batch(graph, torch.tensor([0, 1]), torch.tensor([0, 1]), seed=0).draw(2)
    tensor([[3, 3],
            [3, 3]])
    """

    graph: Graph
    users: Tensor
    pos: Tensor
    seed: int | Tensor
    offset: int | Tensor = 0
    step: int = 0
    epoch: int = 1
    embeddings: Embeddings | None = None
    part: int = 0
    queries: Callable[[], Tensor | None] | None = None

    def at(self, part: int) -> Batch:
        return dataclasses.replace(self, part=part)

    def draw(self, n: int, cumulative: Tensor | None = None, anybody: bool = False) -> Tensor:
        """Negatives int64 [B, n] ([1, n] for anybody) by the native law; see ``draw_negatives``."""
        return draw_negatives(
            self.graph, self.users, n, self.seed, self.offset, NEGATIVE_OF_BATCH, self.part * DRAWS, cumulative, anybody
        )

    def query_items(self) -> Tensor:
        """The item that each positive is predicted from, int64 [B], -1: none. Where no model says so, one of the user's others, uniform, the same
        for all samplers of a sum."""
        given = None if self.queries is None else self.queries()
        if given is not None:
            return given
        graph, others = self.graph, self.graph.user_degree[self.users].long() - 1
        at = torch.arange(len(self.users), device=graph.device) + self.offset
        u = uniform_rows(at, 1, seed=self.seed, place=QUERIES)[:, 0]
        first, has = graph.indptr[self.users].long(), others > 0
        drawn, last = (
            graph.indices[where.where(has, 0)].long()
            for where in (first + (u.double() * others).long(), first + others)
        )
        items = torch.where(drawn == self.pos, last, drawn)
        return items.where(has, -1)


class Sampler:
    """A law of negatives; subclasses are frozen dataclasses whose fields say all about them.

    ``str(sampler)`` is its exact text, ``parse`` the way back: fields without a default by place, the others by name. A class of
    one's own, ``class Mine(Sampler, name="mine")``, can be named in texts too, ``fit``'s and the command line's.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, repr=False)
    ... class First(Sampler, name="first"):
    ...     n: int
    ...     def draw(self, batch):
    ...         return Negatives(torch.arange(self.n).expand(len(batch.users), -1))
    >>> parse("first(2)+first(1)")
    first(2)+first(1)
    >>> del Sampler.registry["first"]
    """

    registry: ClassVar[dict[str, type[Sampler]]] = {}
    name: ClassVar[str] = ""
    parts: int = 1  # places it takes in a sum

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            cls.name = name
            Sampler.registry[name] = cls

    def draw(self, batch: Batch) -> Negatives:
        raise NotImplementedError

    def prepare(self, graph: Graph) -> None:
        """Computes what is computed once for a graph; the first draw does it otherwise."""

    def most(self, batch: int) -> tuple[int, bool]:
        """The most negatives that a row of a batch of this size may get, and whether the batch shares them."""
        return getattr(self, "n", 0), False

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph may replay it: nothing is decided on the host."""
        return True

    def __call__(
        self,
        graph: Graph,
        users: Tensor,
        pos: Tensor,
        *,
        seed: int | Tensor,
        step: int = 0,
        epoch: int = 1,
        embeddings: Embeddings | Callable[[], Tensor] | None = None,
        queries: Tensor | None = None,
    ) -> Negatives:
        """Negatives of one batch in a loop of one's own, ``fit``'s for the same seed, step and batch size.

        Parameters
        ----------
        graph : Graph
        users, pos : int64 [B], edges of the graph
        seed : int
        step, epoch : int
            The step, from 0, and the epoch, from 1; row b is sample t = step * B + b.
        embeddings : Embeddings, or a function without arguments that returns the vectors [n_nodes, dim], such as
            ``model.get_embedding``; for the samplers that read them. Stale vectors (``refresh`` > 1) need one Embeddings object for
            the whole loop.
        queries : int64 [B], optional
            The items that the positives are predicted from, -1: none; for ``PPRHard(of="item")``.

        Returns
        -------
        Negatives
            (ids, mask), to be handed to a loss.

        Examples
        --------
        >>> from fastgcn_rec import bpr_loss, sample_batch
        >>> from fastgcn_rec.models import LightGCN
        >>> from fastgcn_rec.negatives import Dynamic, Uniform
        >>> graph = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2])
        >>> model, sampler = LightGCN(graph, 8, 1), Uniform(1) + Dynamic(1, candidates=8)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        >>> for step in range(3):
        ...     users, pos, _ = sample_batch(graph, 4, 0, seed=0, offset=4 * step)
        ...     neg, mask = sampler(graph, users, pos, seed=0, step=step, embeddings=model.get_embedding)
        ...     user_emb, item_emb = model.get_embedding().split([3, 3])
        ...     optimizer.zero_grad()
        ...     bpr_loss(user_emb, item_emb, users, pos, neg, mask).backward()
        ...     optimizer.step()
        >>> neg.shape, mask
        (torch.Size([4, 2]), None)
        """
        if embeddings is not None and not isinstance(embeddings, Embeddings):
            embeddings = Embeddings(embeddings)
        of = None if queries is None else lambda: queries
        return self.draw(Batch(graph, users, pos, seed, step * len(users), step, epoch, embeddings, queries=of))

    def __add__(self, other: Sampler) -> Sum:
        if not isinstance(other, Sampler):
            return NotImplemented
        return Sum(_terms(self) + _terms(other))

    def __repr__(self) -> str:
        shown = [
            (f.name if f.default is not dataclasses.MISSING else "", as_python(getattr(self, f.name)))
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if f.repr and not (f.metadata.get("unsaid") and getattr(self, f.name) == f.default)
        ]
        return f"{self.name}({', '.join(f'{key}={value!r}' if key else f'{value!r}' for key, value in shown)})"


def _terms(sampler: Sampler) -> tuple[Sampler, ...]:
    return sampler.terms if isinstance(sampler, Sum) else (sampler,)


@dataclasses.dataclass(frozen=True, repr=False)
class Sum(Sampler):
    """The negatives of all its terms side by side; what ``+`` gives. Shared ones stay shared if all are, else they become rows.

    Examples
    --------
    >>> from fastgcn_rec.negatives import Popularity, Uniform
    >>> both = Uniform(2) + Popularity(1)
    >>> both, both.most(batch=5)
    (uniform(2)+popularity(1, power=0.75), (3, False))
    """

    terms: tuple[Sampler, ...]

    @property
    def parts(self) -> int:  # type: ignore[override]
        return sum(term.parts for term in self.terms)

    @property
    def capturable(self) -> bool:
        return all(term.capturable for term in self.terms)

    def prepare(self, graph: Graph) -> None:
        for term in self.terms:
            term.prepare(graph)

    def most(self, batch: int) -> tuple[int, bool]:
        each = [term.most(batch) for term in self.terms]
        return sum(n for n, _ in each), all(shared for _, shared in each)

    def draw(self, batch: Batch) -> Negatives:
        drawn, part = [], batch.part
        for term in self.terms:
            drawn.append(term.draw(batch.at(part)))
            part += term.parts
        rows = len(batch.users)
        if all(d.mask is not None for d in drawn):
            masks = [d.mask for d in drawn if d.mask is not None]
            return Negatives(torch.cat([d.ids for d in drawn], 1), torch.cat(masks, 1))
        return Negatives(torch.cat([d.per_row(rows) for d in drawn], 1))

    def __repr__(self) -> str:
        return "+".join(map(str, self.terms))


def check_field(sampler: Sampler, name: str, least: int, most: int | None = None) -> None:
    value = as_python(getattr(sampler, name))
    object.__setattr__(sampler, name, value)  # frozen: its text is to name Python's number
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{sampler.name}: {name} must be an integer, got {value!r}")
    if value < least or (most is not None and value > most):
        limit = f">= {least}" if most is None else f"in [{least}, {most}]"
        raise ValueError(f"{sampler.name}: {name} must be {limit}, got {value}")


def parse(text: str | Sampler) -> Sampler:
    """The sampler that a text names; ``str(sampler)`` is the way back.

    Raises
    ------
    ValueError : what is not understood, with the names that are known.

    Examples
    --------
    >>> str(parse("uniform(4) + ppr(2)"))
    'uniform(4)+ppr(2, lo=2000, hi=5000)'
    """
    if isinstance(text, Sampler):
        return text
    try:
        sampler = _read(ast.parse(text.strip(), mode="eval").body)
        if not isinstance(sampler, Sampler):
            raise ValueError(f"{sampler!r} is no sampler")
        return sampler
    except (SyntaxError, TypeError, ValueError) as error:
        known = ", ".join(sorted(Sampler.registry))
        raise ValueError(f"negatives: cannot read {text!r}: {error}; it is a sum of {known}") from None


def _read(node: ast.expr, text: bool = False) -> Any:
    """``text``: whether it may be one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _read(node.left) + _read(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in Sampler.registry:
            raise ValueError(f"no sampler is called {node.func.id!r}")
        kind = Sampler.registry[node.func.id]
        keywords = {str(k.arg): _read(k.value, isinstance(getattr(kind, str(k.arg), None), str)) for k in node.keywords}
        return kind(*map(_read, node.args), **keywords)
    if isinstance(node, ast.Name) and node.id in Sampler.registry:
        raise ValueError(f"a sampler takes its arguments in brackets, as in uniform(1), got {node.id}")
    value = ast.literal_eval(node)
    if not isinstance(value, (int, float)) and not (text and isinstance(value, str)):
        raise ValueError(f"{value!r} is no number")
    return value
