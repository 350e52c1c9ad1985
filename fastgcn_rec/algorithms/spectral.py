"""The largest singular values of a scaled R and their items' vectors, by half-hops and small dense algebra."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..core.graph import Graph
from ..ops.dense import dense, outer_sum
from ..ops.half_hop import half_hop
from .solvers import eigh, inverse_factor

Tensor = torch.Tensor
_BLOCK = 128  # columns a hop at most: what a block of this width gathers from stays in the cache
_OVERSAMPLING = 1.6  # dimensions of the subspace a vector asked for
_PASSES = 6  # of orthogonalisation at most; two, where a block is not within rounding of the space so far
_DEPTH = 8  # blocks of the subspace at least


@torch.no_grad()
def top_singular(graph: Graph, left: Tensor, right: Tensor, rank: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(squares of the ``rank`` largest singular values, descending; their right vectors [n_items, rank]) of diag(left) R diag(right).

    A randomized block Krylov method (Musco and Musco 2015, "Randomized block Krylov methods for stronger and faster approximate singular
    value decomposition", algorithm 2): Rayleigh-Ritz in span[G, S G, S^2 G, ...] for the Gram matrix S of the smaller side, G normal
    with up to 128 columns, each block orthogonal to all before it, until there are 8 of them and 1.6 times the dimensions asked for. Where that is
    the whole space the result is exact. The same seed gives the same vectors for any number of threads: the tall products are :func:`outer_sum` and :func:`dense`, and LAPACK, which has the small matrices (:mod:`fastgcn_rec.algorithms.solvers`), runs on one. Its bits may differ between processors.

    Parameters
    ----------
    graph : Graph
    left, right : float32 or float64 [n_users], [n_items]
    rank : int in [1, min(n_users, n_items)]

    A vector of singular value 0 comes back as 0.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 0, 1], [0, 1, 2])
    >>> top_singular(graph, torch.ones(2), torch.ones(3), 2)[0]
    tensor([2., 1.])
    """
    by_items = graph.n_items <= graph.n_users

    def to_users(x: Tensor) -> Tensor:
        return half_hop(graph, x, "users", left, right)

    def to_items(x: Tensor) -> Tensor:
        return half_hop(graph, x, "items", right, left)

    def gram(x: Tensor) -> Tensor:
        return to_items(to_users(x)) if by_items else to_users(to_items(x))

    values, vectors = _top_eigen(gram, graph.n_items if by_items else graph.n_users, rank, right, seed)
    if not by_items:
        vectors = _blockwise(to_items, vectors) * torch.where(values > 0, values.rsqrt(), 0)
    return values, vectors


def _top_eigen(gram: Callable[[Tensor], Tensor], n: int, rank: int, like: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    width = min(16 + rank // 4, _BLOCK)
    size = max(int(rank * _OVERSAMPLING), _DEPTH * width)
    if n <= size + width:
        basis = torch.eye(n, dtype=like.dtype, device=like.device)
        image = _blockwise(gram, basis)
    else:
        start = torch.randn(n, width, generator=torch.Generator().manual_seed(seed), device="cpu").to(like)
        basis, image = _orthonormal(start, start[:, :0]), like.new_empty(n, 0)
        while image.shape[1] < size:
            image = torch.cat([image, gram(basis[:, image.shape[1] :])], 1)
            if image.shape[1] < size:
                basis = torch.cat([basis, _orthonormal(image[:, -width:], basis)], 1)
    inner = outer_sum(basis, image)[0].double()
    values, rotation = eigh((inner + inner.T) / 2)
    values = values.flip(0)[:rank].to(like.dtype)
    floor = values[0] * n * torch.finfo(like.dtype).eps
    return torch.where(values > floor, values, 0), dense(basis, rotation.flip(1)[:, :rank].to(like.dtype).T)


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """An orthonormal basis of ``block`` without its part in ``basis``, by shifted Cholesky QR (Fukaya et al. 2020).

    What is left of a column that lies in ``basis`` is rounding, which takes further passes to make orthogonal.
    """
    eps, width = torch.finfo(block.dtype).eps, block.shape[1]
    for n in range(_PASSES):
        block = block - dense(basis, outer_sum(block, basis)[0])
        gram = outer_sum(block, block)[0]
        gram.diagonal().add_(gram.trace() * width * eps + 1e-30)
        inverse = inverse_factor(gram)
        block = dense(block, inverse)
        if n > 0 and inverse.diagonal().max() < 2:  # the columns were orthonormal already
            break
    return block


def _blockwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([function(block) for block in x.split(_BLOCK, 1)], 1)
