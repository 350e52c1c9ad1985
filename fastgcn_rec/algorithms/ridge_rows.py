"""Ridge regressions of many sparse rows on dense vectors: half a step of implicit ALS."""

from __future__ import annotations

import math

import torch

from ..core import native
from ..core.csr import Csr
from ..ops.dense import dense, outer_sum
from .solvers import eigh

Tensor = torch.Tensor
UNIT = 16  # columns; csrc/cpu/isa/levels.h


class RidgeRows:
    """Ridge regressions of rows on the vectors v that their entries name, and a little on all others.

    x_r = argmin_x sum_{i in row r} w_ri (t_ri - <x, v_i>)^2 + unobserved sum_i <x, v_i>^2 + ridge_r |x|^2
        = (sum_{i in row r} w_ri v_i v_i^T + unobserved G + ridge_r I)^-1 sum_{i in row r} w_ri t_ri v_i,   G = sum_i v_i v_i^T

    (Hu, Koren & Volinsky 2008, "Collaborative filtering for implicit feedback datasets", eq. 4). v is turned once into the basis of the
    eigenvectors of G, Q: there ``unobserved G + ridge_r I`` is a diagonal D_r whatever ridge_r is. So a row of n entries costs n dim^2 / 2 + dim^3 / 6
    multiplications and additions where n >= dim, and n^2 dim / 2 + n^3 / 6 where it is shorter, by Woodbury's identity:

    x_r = D_r^-1 V^T W^1/2 (I + W^1/2 V D_r^-1 V^T W^1/2)^-1 W^1/2 t,   the rows of V the n vectors, W their weights

    Parameters
    ----------
    v : float tensor [n_columns, dim]
        On any device; computed with in float32.
    unobserved : float >= 0
        The weight of every pair, whether the row has it or not.

    Attributes
    ----------
    v : float32 [n_columns, wide] on the CPU: v Q, and zeros up to a multiple of 16 columns; base : [wide], unobserved times the eigenvalues

    Raises
    ------
    TypeError : v is no tensor of floats. ValueError : v has not two dimensions or a column, or is not finite, or unobserved is no finite number >= 0.

    Examples
    --------
    >>> rows = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1], dtype=torch.int32), None
    >>> fits = RidgeRows(torch.eye(2), unobserved=0.5)
    >>> x = fits.solve(rows, torch.tensor([0.5, 1.0]))
    >>> fits.back(x).abs()
    tensor([[0.5000, 0.5000],
            [0.0000, 0.4000]])
    """

    @torch.no_grad()
    def __init__(self, v: Tensor, unobserved: float = 0.0) -> None:
        if not isinstance(v, Tensor) or not v.is_floating_point():
            raise TypeError(f"RidgeRows: v must be a tensor of floats, got {getattr(v, 'dtype', type(v).__name__)}")
        if v.dim() != 2 or not v.shape[1]:
            raise ValueError(f"RidgeRows: v must have shape [n, dim], dim >= 1, got {list(v.shape)}")
        if not 0 <= unobserved < math.inf:
            raise ValueError(f"RidgeRows: unobserved must be >= 0 and finite, got {unobserved}")
        v = v.detach().cpu().float().contiguous()
        self.dim = v.shape[1]
        wide = -(-self.dim // UNIT) * UNIT
        gram = outer_sum(v, v)[0].double()
        if not bool(gram.isfinite().all()):
            raise ValueError("RidgeRows: v, or its squares in float32, are not finite")
        values, vectors = eigh(gram)
        self.base, turn = values.new_zeros(wide), values.new_zeros(wide, self.dim)
        self.base[: self.dim], turn[: self.dim] = unobserved * values.clamp_min(0), vectors.T
        self.base, self._turn = self.base.float(), turn.float()
        self.v = self.turned(v)

    def turned(self, x: Tensor) -> Tensor:
        """Rows [n, dim] in the basis of ``v`` [n, wide]."""
        y: Tensor = dense(x, self._turn)
        return y

    def back(self, x: Tensor) -> Tensor:
        """Rows [n, wide] of this basis in that of the vectors that were given, [n, dim]."""
        y: Tensor = dense(x, self._turn.T)
        return y

    @torch.no_grad()
    def solve(
        self,
        rows: Csr,
        ridge: Tensor,
        target: Tensor | None = None,
        start: Tensor | None = None,
        block: int | None = None,
    ) -> Tensor:
        """x float32 [n_rows, wide], in the basis of ``v``; the same bits for any number of threads.

        Parameters
        ----------
        rows : Csr on the CPU
            indptr int64 [n_rows + 1], indices int32, and weights float32 >= 0, None for ones. A row without entries is 0.
        ridge : [n_rows], > 0
        target : t float32, one an entry; None for ones
        start, block : float32 [n_rows, wide] and int >= 1, or None
            One pass of block coordinate descent (Rendle et al. 2021, "iALS++: Speeding up matrix factorization with subspace optimization") in place
            of the minimum: rows of more than ``block`` entries are solved for ``block`` columns (in steps of 16) with all others as they are in
            ``start``, then for the next, once through; n dim block / 2 + dim block^2 / 6 each. Shorter ones as a whole, which costs no more.

        Raises
        ------
        ValueError : shapes or values do not fit, ``ridge`` is not positive, or rounding to float32 leaves a matrix no Cholesky factor or a solution that is
        not finite; names the row.
        """
        n, wide = rows[0].numel() - 1, self.v.shape[1]
        ridge = _floats("ridge", ridge, (n,))
        if not bool(((ridge > 0) & ridge.isfinite()).all()):
            raise ValueError("RidgeRows: ridge must be > 0 and finite")
        if target is not None:
            target = _floats("target", target, (rows[1].numel(),))
        if (start is None) != (block is None):
            raise ValueError("RidgeRows: start and block belong together, got one of them")
        x = torch.empty((n, wide), device="cpu") if start is None else _floats("start", start, (n, wide)).clone()
        at_once = wide if block is None else -(-block // UNIT) * UNIT
        failed = native.ridge_rows(native.rows(*rows, len(self.v)), target, self.v, self.base, ridge, at_once, x)
        if failed >= 0:
            raise ValueError(
                f"RidgeRows: the matrix of row {failed} is not positive definite in float32, or its solution is not finite; take more ridge, or smaller "
                "weights and vectors"
            )
        return x


def _floats(name: str, given: Tensor, shape: tuple[int, ...]) -> Tensor:
    if given.shape != shape:
        raise ValueError(f"RidgeRows: {name} must have shape {list(shape)}, got {list(given.shape)}")
    return given.detach().cpu().float().contiguous()
