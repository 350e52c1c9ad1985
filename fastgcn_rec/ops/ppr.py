"""Personalized PageRank: dense vectors of many sources, exact to a tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from ..core import native
from ..core.graph import Graph
from ..core.links import Links
from ..core.tensors import check_ids, check_range
from .registration import LINKS, accepts_arrays, count_of, number_of, register

Tensor = torch.Tensor
USERS, ITEMS = 0, 1
_AT_ONCE = 64  # sources: rows of 256 bytes, as the hop likes them
_MOST_TERMS = 10**5


class Ppr(NamedTuple):
    """What :func:`ppr` returns."""

    scores: Tensor
    bound: Tensor


def _ppr(nodes: Tensor, links: Links, *rest: Any) -> tuple[Tensor, Tensor]:  # the schema below names the arguments
    inv_degree, inv_degree_exact, side, restart, terms, first_node, last_node, with_bound = rest
    scores, bound = _outputs(nodes, links, *rest)
    nodes, graph, code = nodes.contiguous(), links.native(), native.DTYPE_CODE[inv_degree.dtype]
    space = native.workspace(native.size("ppr", nodes.device, code, graph, nodes.numel()), nodes.device)
    native.call(
        "ppr", nodes.device, code, graph, nodes, nodes.numel(), side, inv_degree, inv_degree_exact, restart, terms,
        first_node, last_node, scores, bound if with_bound else None, space,
    )  # fmt: skip
    return scores, bound


def _outputs(nodes: Tensor, links: Links, inv_degree: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    first_node, last_node, with_bound = rest[-3:]
    scores = inv_degree.new_empty((nodes.shape[0], last_node - first_node))
    return scores, inv_degree.new_empty(nodes.shape[0] if with_bound else 0, dtype=torch.float64)


_op = register(
    f"ppr(Tensor nodes, {LINKS}, Tensor inv_degree, Tensor inv_degree_exact, int side, float restart, int terms, "
    "int first_node, int last_node, bool with_bound) -> (Tensor, Tensor)",
    _ppr,
    _outputs,
)


@accepts_arrays
def ppr(
    graph: Graph,
    nodes: Any,
    restart: float = 0.15,
    tol: float = 1e-6,
    *,
    dtype: torch.dtype = torch.float32,
    memory_budget: int = 1 << 30,
) -> Any:
    """Personalized PageRank of each source: pi_s = c sum_k (1 - c)^k (A D^-1)^k e_s, c = ``restart``.

    A is the adjacency of the bipartite graph, users first, then items, and D its (weighted) degrees: where a walk from s that stops with
    probability c before every step is found when it stops (Jeh & Widom 2003, "Scaling personalized web search"). A source without edges
    has pi_s = e_s. Computed by Chebyshev polynomials, not by power iteration (docs/ppr.md).

    Parameters
    ----------
    graph : Graph
    nodes : integer ids [S] in [0, n_nodes), sources; item i is node n_users + i
    restart : in (0, 1)
    tol : in (0, 1)
        The degree of the polynomial is chosen so that without rounding ``bound`` <= tol. Rounding adds to it: in float32 about 1e-6 for most
        sources, more for sources of one or two edges. Where ``bound`` must be below that, ask for float64.
    dtype : float32 or float64
    memory_budget : bytes
        For the result and the workspace, 16 to 64 sources at a time.

    Returns
    -------
    Ppr
        scores : ``dtype`` [S, n_nodes], none negative.
        bound : float64 [S], an upper bound of |pi_s - scores_s|_1, rounding included: |c e_s + (1 - c) A D^-1 p - p|_1 / c for p = scores_s.

    Raises
    ------
    ValueError : restart, tol or shape; a result that does not fit the budget. TypeError : dtype. IndexError : a node out of range.

    Notes
    -----
    Row b depends on nodes[b] alone. The same bits for any number of threads.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1], [0, 0])
    >>> ppr(graph, [0], restart=0.5).scores
    tensor([[0.5833, 0.0833, 0.3333]])
    """
    nodes = check_sources("ppr", graph, nodes, restart, tol, dtype)
    result = len(nodes) * (graph.n_nodes * dtype.itemsize + 8)
    n, _ = plan("ppr", graph, len(nodes), graph.n_nodes * dtype.itemsize, result, dtype, memory_budget)
    scores = torch.empty((len(nodes), graph.n_nodes), dtype=dtype, device=graph.device)
    bound = torch.empty(len(nodes), dtype=torch.float64, device=graph.device)
    for rows, block, block_bound in source_blocks(graph, nodes, restart, tol, dtype, n, (0, graph.n_nodes), True):
        scores[rows], bound[rows] = block, block_bound
    return Ppr(scores, bound)


# --- what the functions of pagerank.py share with it ------------------------------------------------------------------


def check_sources(op: str, graph: Graph, nodes: Any, restart: float, tol: float, dtype: torch.dtype) -> Tensor:
    for name, value in (("restart", restart), ("tol", tol)):
        if not 0 < number_of(op, name, value) < 1:
            raise ValueError(f"{op}: {name} must lie in (0, 1), got {value}")
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{op}: dtype must be float32 or float64, got {str(dtype).removeprefix('torch.')}")
    nodes = check_nodes(op, "nodes", nodes, graph, graph.n_nodes)
    for side in (USERS, ITEMS):
        if n_terms(graph, side, restart, tol) > _MOST_TERMS:
            raise ValueError(
                f"{op}: restart = {restart} with tol = {tol} takes more than {2 * _MOST_TERMS:,} hops, whose rounding alone exceeds "
                "such a tol; raise restart or tol"
            )
    return nodes


def check_nodes(op: str, name: str, nodes: Any, graph: Graph, n: int) -> Tensor:
    """Ids [S] in [0, n), int64, on the graph's device."""
    nodes = check_ids(op, name, nodes, (None,), graph.indptr)
    check_range(op, name, nodes, n)
    return nodes


def n_terms(graph: Graph, side: int, restart: float, tol: float) -> int:
    """Half the degree of the polynomial that makes ``bound`` <= tol in exact arithmetic, for every source of a side.

    With the a_k and r of csrc/include/fgr/ppr.h and gamma = 1 - c, the residual of the sum up to a_2J is made of T_2J and T_2J+2 alone,
    and |D^1/2 T_k(S) D^-1/2 e_s|_1 <= sqrt(W / d_s), W the sum of edge weights (Cauchy & Schwarz; |T_k(S)| <= 1). So
    bound <= sqrt(W / min d) gamma^2 / (2 sqrt(1 - gamma^2)) r^2J (1 + r^2).
    """

    def root_of_spread() -> float:
        inverse = graph.scales("left", torch.float64)[0]
        assert inverse is not None
        inverse = inverse[: graph.n_users] if side == USERS else inverse[graph.n_users :]
        inverse = inverse[inverse > 0]
        if inverse.numel() == 0:
            return 0.0
        return math.sqrt(float(inverse.reciprocal().cpu().numpy().sum()) * float(inverse.max()))

    spread = graph.cached(("ppr: sqrt(W / min d)", side), root_of_spread)  # a GPU is not waited for again
    if spread == 0:
        return 1
    gamma, root = 1 - restart, math.sqrt(restart * (2 - restart))
    r = gamma / (1 + root)
    excess = math.log(spread * gamma**2 / (2 * root) * (1 + r * r)) - math.log(tol)
    decay = 2 * (math.log1p(root) - math.log1p(-restart))  # -2 log r, which does not vanish where r rounds to 1
    return max(1, math.ceil(excess / decay))


def plan(
    op: str, graph: Graph, n_sources: int, source_bytes: int, result_bytes: int, dtype: torch.dtype, memory_budget: int
) -> tuple[int, int]:
    """(sources at a time, bytes of memory that takes) within the budget; each source of a block takes ``source_bytes``
    beside its share of the workspace, and the result ``result_bytes``."""
    memory_budget = count_of(op, "memory_budget", memory_budget, most=2**63 - 1)
    native_graph = graph.links().native()
    most = min(_AT_ONCE, max(16, (n_sources + 15) // 16 * 16))
    for n in range(most, 0, -16):
        space = native.size("ppr", graph.device, native.DTYPE_CODE[dtype], native_graph, n)
        need = result_bytes + space + n * source_bytes
        if need <= memory_budget:
            return n, need
    less = "; ppr_topk and ppr_push keep less of each source" if op == "ppr" else ""
    raise ValueError(
        f"{op}: memory_budget must be >= {size_text(need)}, {size_text(result_bytes)} of them for the result of {n_sources} sources, "
        f"got {size_text(memory_budget)}; raise it or pass fewer sources at a time{less}"
    )


def size_text(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.3g} GiB" if n_bytes >= 2**28 else f"{n_bytes / 2**20:.3g} MiB"


def source_blocks(
    graph: Graph,
    nodes: Tensor,
    restart: float,
    tol: float,
    dtype: torch.dtype,
    n: int,
    columns: tuple[int, int],
    with_bound: bool,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(positions in ``nodes``, scores of the nodes in ``columns``, bound) for n sources of one side at a time."""
    inverse, exact = (graph.scales("left", d)[0] for d in (dtype, torch.float64))
    for side in (USERS, ITEMS):
        rows = torch.nonzero((nodes >= graph.n_users) == (side == ITEMS)).flatten()
        if not len(rows):
            continue
        terms = n_terms(graph, side, restart, tol)
        for block in rows.split(n):
            scores, bound = _op(
                nodes[block],
                graph.links(),
                inverse,
                exact,
                side,
                restart,
                terms,
                *columns,
                with_bound,
            )
            yield block, scores, bound
