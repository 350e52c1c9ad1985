"""How much memory training will take, before anything is allocated."""

from __future__ import annotations

import dataclasses
import itertools

import torch

from ..core import native
from ..core.arguments import check_count
from ..core.columns import PANEL, column_bounds
from ..core.csr import MAX_NODES
from ..negatives import parse
from ..ranking.lists import RANKED_AT_ONCE
from ..training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the CPU for :func:`fastgcn_rec.fit`; ``total`` is the peak (docs/performance.md). Of P ranks, it is that of the one with most columns.

    With U users, I items, N = U + I nodes, E training edges, dim d, K layers, batch B with R nodes, and w columns of d on a rank, d in one process:

    edges       8 E                   user and item of every edge, as the data set holds them
    graph       8 E + 12 N            both CSR halves and the scales; once more for the part that is trained on if there is a validation part
    building    12 E                  half a graph and a copy of the edges, while a graph is built
    split       34 E at its peak      sorting keys of the validation split, given back before training starts
    parameters  16 N w                embedding, two moments of Adam, the best epoch's copy (lazy_adam 8 N more; adagrad 8 N w + 4 N; sgd 8 N w)
    layers      4 N w if K >= 2       what is kept between hops (2 bytes instead of 4 in bfloat16, and a copy of the embedding)
    batch       B-sized               everything else of a step: its native workspace (not what a sampler of negatives needs: a mask,
                                      candidates, or, where it reads vectors, 4 N w (1 to 3) as in an evaluation); of several ranks
                                      4 R (2 d + (P + 1) w) more, the batch's rows as they are sent, received and put together, or
                                      with the softmax, if that is more, 4 R d beside its share of the batch, n = B / P users, at the
                                      greater of two moments: their scores as they are sent and received, 4 n B + 12 n (B - n) + 8 n d,
                                      or the gradients, thrice, beside both ways of the scores, 8 n B + 24 n d + 16 B w
    evaluation  (4 N w) (1 to 3) + 4 I d + 1 KiB a user, 32 MiB at most   the final embedding, its layers, the items packed, lists; of
                                      several ranks 4 I d + 16 U w more, the items' and the own users' vectors whole
    whole       0; 4 N (d + w)        of several ranks: the table before it is shared out and after it is gathered, beside the own columns
                                      (a model that is made for the ranks, with ``world=``, is never whole)

    Examples
    --------
    >>> print(estimate_memory(1000, 2000, 50_000))  # doctest: +ELLIPSIS
    edges              0.4 MiB
    ...
    """

    edges: int
    graph: int
    building: int
    split: int
    parameters: int
    layers: int
    batch: int
    evaluation: int
    whole: int = 0

    @property
    def total(self) -> int:
        """Splitting comes before the parameters are touched, and the whole table before them and after; evaluation comes on top of training."""
        training = self.parameters + self.layers + self.batch + self.evaluation
        return self.edges + self.graph + max(self.building, self.split, self.whole, training)

    def __str__(self) -> str:
        sizes = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        parts = [f"{name:12s}{size / 2**20:10.1f} MiB" for name, size in sizes.items() if size or name != "whole"]
        return "\n".join([*parts, f"{'peak':12s}{self.total / 2**20:10.1f} MiB"])


def estimate_memory(
    n_users: int,
    n_items: int,
    n_edges: int,
    dim: int = 64,
    n_layers: int = 3,
    config: TrainConfig | None = None,
    ranks: int = 1,
) -> MemoryEstimate:
    """The memory that ``fit`` takes for a data set of this size, evaluation included; torch itself not.

    Parameters
    ----------
    n_users, n_items, n_edges : int >= 0, of the training part
    dim, n_layers : of a LightGCN, or of MF with 0 layers
    config : TrainConfig, default: TrainConfig()
    ranks : int >= 1, that share the columns out; the estimate is of the one with most of them

    Raises
    ------
    TypeError : sizes that are no integers. ValueError : negative ones, more nodes than a graph has, more ranks than panels of 16 columns, or more bytes than
        64 bits count.

    Examples
    --------
    >>> round(estimate_memory(29858, 40981, 810128).total / 2**20)  # gowalla
    205
    >>> round(estimate_memory(29858, 40981, 810128, ranks=4).parameters / 2**20, 1)
    17.3
    """
    config = config or TrainConfig()
    given = {"n_users": n_users, "n_items": n_items, "n_edges": n_edges, "dim": dim, "n_layers": n_layers}
    n_users, n_items, n_edges, dim, n_layers = (
        check_count(value, f"estimate_memory: {name}", int(name == "dim")) for name, value in given.items()
    )
    ranks = check_count(ranks, "estimate_memory: ranks", 1)
    width = max(b - a for a, b in itertools.pairwise(column_bounds(dim, ranks)))
    n_nodes = n_users + n_items
    if n_nodes > MAX_NODES:
        raise ValueError(f"estimate_memory: n_users + n_items must be <= {MAX_NODES}, got {n_users} + {n_items}")
    if n_layers >= 2**31:
        raise ValueError(f"estimate_memory: n_layers must be below 2^31, got {n_layers}")
    table, own = 4 * n_nodes * dim, 4 * n_nodes * width
    half = config.storage == "bfloat16" and n_layers > 0
    layer = own // 2 if half else own
    validated = config.protocol == "validation"
    n_neg, shared = 0 if config.loss == "softmax" else config.n_neg, False
    if config.negatives:
        n_neg, shared = parse(config.negatives).most(config.batch_size)
    rows = n_nodes + config.batch_size * (2 + n_neg)
    if 64 * rows * max(dim, config.batch_size) >= 2**63:  # all of a step's arrays together
        raise ValueError(
            f"estimate_memory: dim = {dim} with {n_nodes} nodes, batch_size = {config.batch_size} and {n_neg} negatives a pair takes more "
            "bytes than 64 bits count; take smaller ones"
        )
    gathered = min(n_nodes, 2 * config.batch_size + n_neg * (1 if shared else config.batch_size))
    several, share, batch = int(ranks > 1), -(-config.batch_size // ranks), config.batch_size
    rows_sent = (2 if half else 4) * gathered * (2 * dim + (ranks + 1) * width)
    if config.loss == "softmax":  # ops/shared_softmax.py: while the scores are exchanged, and while the gradients are
        scores = 4 * share * batch + 12 * share * (batch - share) + 8 * share * dim
        gradients = 8 * share * batch + 24 * share * dim + 16 * batch * width
        rows_sent = max(rows_sent, (2 if half else 4) * gathered * dim + max(scores, gradients))
    code = native.DTYPE_CODE[torch.bfloat16 if half else torch.float32]
    layers = layer if n_layers >= 2 else 0
    sizes = (width, dim, n_layers + 1, config.batch_size, n_neg, shared)
    step = native.size("train_step", torch.device("cpu"), code, native.shape(n_users, n_items), *sizes)
    return MemoryEstimate(
        edges=8 * n_edges,
        graph=(1 + validated) * (8 * n_edges + 12 * n_nodes),
        building=12 * n_edges,
        split=34 * n_edges if validated else 0,
        parameters=(4 if config.optimizer in ("adam", "lazy_adam") else 2) * own
        + {"lazy_adam": 8, "adagrad": 4}.get(config.optimizer, 0) * n_nodes,
        layers=layers + (layer if half else 0),
        batch=step - layers + several * rows_sent,
        evaluation=(1 + min(n_layers, 2)) * own
        + 4 * n_items * dim
        + 1024 * min(n_users, RANKED_AT_ONCE)
        + several * (4 * n_items * dim + 16 * n_users * width),
        whole=several * (table + own),
    )


def bytes_sent(rows: int, dim: int, ranks: int, config: TrainConfig | None = None, on_gpu: bool = False) -> list[int]:
    """Bytes that each rank sends in a step, all others together, of a batch whose users and items are ``rows`` distinct nodes.

    Each rank sends every other one its columns of these rows and, where there is a ridge, 8 bytes for each of its panels of 16 columns, with adagrad as many for each row; with the softmax on
    CPUs it also sends the scores that its share of the batch gives the other's, and the gradients of its share in the other's columns. Nothing of it grows
    with the graph (docs/ranks.md).

    Parameters
    ----------
    rows, dim, ranks : int
    config : TrainConfig, default: TrainConfig()
        Its loss, batch_size, storage and reg. Negatives that are chosen by scores send their candidates' rows beside.

    Examples
    --------
    >>> bytes_sent(6144, 256, 2)
    [3145792, 3145792]
    """
    config = config or TrainConfig()
    bounds = column_bounds(dim, ranks)
    widths = [b - a for a, b in itertools.pairwise(bounds)]
    shares = [config.batch_size * (rank + 1) // ranks - config.batch_size * rank // ranks for rank in range(ranks)]
    shared = config.loss == "softmax" and not on_gpu
    sent = [0] * ranks
    for rank, other in itertools.permutations(range(ranks), 2):
        of_z = rows * widths[rank] * (2 if config.storage == "bfloat16" else 4)
        sent[rank] += of_z if config.reg == 0 else _eights(of_z) + 8 * -(-widths[rank] // PANEL)
        if config.optimizer == "adagrad":
            sent[rank] += 8 * rows * -(-widths[rank] // PANEL)
        if shared:
            own = shares[rank]
            sent[rank] += (
                _eights(4 * own * shares[other]) + _eights(4 * own) + 8 * own + 2 * _eights(4 * own * widths[other])
            )
    return sent


def _eights(n_bytes: int) -> int:
    return n_bytes + -n_bytes % 8
