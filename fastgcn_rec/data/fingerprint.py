"""What a data set is known by: a text that is equal for equal data, whatever the order of rows and ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from ..core.ids import Array, IdIndex, Ints, is_text, pair_keys
from .edges import Edges


def fingerprint(users: IdIndex, items: IdIndex, parts: Mapping[str, Edges]) -> str:
    """``users-items-<edges of each part>-<16 hex digits>``; `Dataset.fingerprint` says what enters the digits.

    A validation part comes last there, so that data without one have the digits that they had before there were any.
    """
    digest = hashlib.sha256(b"fastgcn_rec data set 1\0")
    ranks: list[Ints] = []
    for _, order, ordered in (users, items):
        text = is_text(ordered)
        raw = _between_nuls(ordered) if text else ordered.astype("<i8").tobytes()
        digest.update(f"{'text' if text else 'int'} {ordered.size} {len(raw)}\0".encode() + raw)
        rank = np.empty(order.size, np.int64)
        rank[order] = np.arange(order.size)
        ranks.append(rank)
    sizes = ranks[0].size, ranks[1].size
    for name in sorted(parts, key=["train", "test", "valid"].index):
        part = parts[name]
        keys = pair_keys(ranks[0][part.users], ranks[1][part.items], *sizes)
        weight = part.weight
        if weight is None:
            keys.sort()
        else:
            order = np.argsort(keys)
            keys, weight = keys[order], weight[order]
        digest.update(f"pairs {keys.size}\0".encode() + keys.astype("<i8", copy=False).tobytes())
        if weight is not None:
            digest.update(b"weights\0" + weight.astype("<f4", copy=False).tobytes())
    return "-".join([*map(str, sizes), *(str(len(part)) for part in parts.values()), digest.hexdigest()[:16]])


def _between_nuls(texts: Array) -> bytes:
    """The texts' UTF-8 bytes with a NUL between any two; a NUL within one is 0xFF, which is in no UTF-8."""
    joined = "\0".join(texts.tolist())
    if joined.count("\0") < max(texts.size, 1):
        return joined.encode("utf-8", "surrogatepass")
    return b"\0".join(text.encode("utf-8", "surrogatepass").replace(b"\0", b"\xff") for text in texts.tolist())
