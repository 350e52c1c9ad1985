"""Negatives picked from candidates by what the embeddings say of them."""

from __future__ import annotations

from typing import Any, Literal

import torch

from .. import _C
from ..core import native
from ..core.tensors import check_ids
from .registration import accepts_arrays, check_pairs, count_of, number_of, offset_of, register, scalar
from .sample import NEGATIVE_OF_BATCH

Tensor = torch.Tensor
Law = Literal["hardest", "semi_hard", "distance_weighted"]
_LAWS: dict[Law, int] = {"hardest": 0, "semi_hard": 1, "distance_weighted": 2}


def _select(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, candidates: Tensor, rows: Tensor | None, n: int, law: int,
    margin: float, lo: float, hi: float, seed: Tensor, offset: Tensor, first: int,
) -> Tensor:  # fmt: skip
    user_emb, item_emb = user_emb.contiguous(), item_emb.contiguous()
    users, pos, candidates = users.contiguous(), pos.contiguous(), candidates.contiguous()
    rows = None if rows is None else rows.contiguous()
    batch, m = candidates.shape
    out = users.new_empty((batch, n))
    space = native.workspace(_C.select_negatives_workspace_bytes(batch, m), users.device)
    native.call(
        "select_negatives", users.device, native.DTYPE_CODE[user_emb.dtype], law, margin, lo, hi, user_emb,
        user_emb.shape[0], item_emb, item_emb.shape[0], user_emb.shape[1], users, pos, candidates, rows, batch, m, seed, offset,
        NEGATIVE_OF_BATCH, first, n, out, space,
    )  # fmt: skip
    return out


_op = register(
    "select_negatives(Tensor user_emb, Tensor item_emb, Tensor users, Tensor pos, Tensor candidates, Tensor? rows, int n, int law, float margin,"
    " float lo, float hi, Tensor seed, Tensor offset, int first) -> Tensor",
    _select,
    lambda user_emb, item_emb, users, pos, candidates, rows, n, *rest: users.new_empty((users.shape[0], n)),
)


@accepts_arrays
def select_negatives(
    user_emb: Any,
    item_emb: Any,
    users: Any,
    pos: Any,
    candidates: Any,
    n: int,
    law: Law = "hardest",
    *,
    margin: float = 0.2,
    lo: float = 0.5,
    hi: float = 1.4,
    seed: int | Tensor = 0,
    offset: int | Tensor = 0,
    first: int = 0,
    rows: Any = None,
) -> Any:
    """n negatives a row from its candidates, by a law of scores or distances.

    With s(u, i) the inner product and d(u, i) the distance of the two vectors scaled to length 1:

    hardest            the n distinct candidates of the highest s, highest first, ties as in :func:`topk` (Zhang et al. 2013, "Optimizing
                       top-n collaborative filtering via dynamic negative item sampling")
    semi_hard          the first n distinct candidates, in the order given, with d(u, pos) < d(u, c) < d(u, pos) + margin (Schroff et
                       al. 2015, "FaceNet", with distances not squared)
    distance_weighted  n independent draws, each candidate with probability ~ 1 / q(d), q(d) = d^(dim - 2) (1 - d^2 / 4)^((dim - 3) / 2),
                       d clipped to [lo, hi] (Wu et al. 2017, "Sampling matters in deep embedding learning", eq. 3)

    Parameters
    ----------
    user_emb, item_emb : float32, float64 or bfloat16 [n_users, dim], [n_items, dim]
    users, pos : integer ids [B]
    candidates : integer ids [B, M], -1 = none
    n : int >= 0
    margin : float > 0; lo, hi : floats, 0 < lo <= hi < 2
    seed, offset : int, or one-element int64 tensors; first : int
        Of distance_weighted: draw k of row b is a function of (seed, offset + b, first + M + k).
    rows : integer ids [B, M], optional
        Where ``item_emb`` has the candidates, if it has no row for every item: each candidate, which is what is picked and breaks ties, is the row
        beside it here, -1 = none. ``pos`` and ``users`` are rows in any case.

    Returns
    -------
    int64 [B, n], padded with -1 where the candidates give no more. Not differentiable. The same for any number of threads.

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device or option. IndexError : an id out of range (CPU).

    Examples
    --------
    >>> import torch
    >>> select_negatives(torch.ones(1, 2), torch.eye(3)[:, :2], [0], [2], [[2, 0, 1, 0]], 4)
    tensor([[ 0,  1,  2, -1]])
    """
    op = "select_negatives"
    user_emb, item_emb, users, pos = check_pairs(op, user_emb, item_emb, users, pos)
    candidates = check_ids(op, "candidates", candidates, (users.shape[0], None), user_emb)
    if rows is not None:
        rows = check_ids(op, "rows", rows, tuple(candidates.shape), user_emb)
        candidates = candidates.masked_fill(rows < 0, -1)
    if law not in _LAWS:
        raise ValueError(f"{op}: law must be one of {tuple(_LAWS)}, got {law!r}")
    n, first = count_of(op, "n", n), count_of(op, "first", first)
    margin, lo, hi = (number_of(op, name, x) for name, x in (("margin", margin), ("lo", lo), ("hi", hi)))
    if not margin > 0:
        raise ValueError(f"{op}: margin must be > 0, got {margin}")
    if not 0 < lo <= hi < 2:
        raise ValueError(f"{op}: lo and hi are distances on the unit sphere, 0 < lo <= hi < 2, got {lo} and {hi}")
    seed = scalar(seed, torch.int64, user_emb.device, op, "seed")
    offset = offset_of(offset, len(users), user_emb.device, op)
    return _op(user_emb, item_emb, users, pos, candidates, rows, n, _LAWS[law], margin, lo, hi, seed, offset, first)
