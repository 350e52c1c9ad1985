"""How much memory training will take, before anything is allocated."""

from __future__ import annotations

import dataclasses

import torch

from ..core import native
from ..core.arguments import check_count
from ..core.csr import MAX_NODES
from ..negatives import parse
from ..ranking.lists import RANKED_AT_ONCE
from ..training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the CPU for :func:`fastgcn_rec.fit`; ``total`` is the peak (docs/performance.md).

    With U users, I items, N = U + I nodes, E training edges, dim d, K layers, batch B:

    edges       8 E                   user and item of every edge, as the data set holds them
    graph       8 E + 12 N            both CSR halves and the scales; once more for the part that is trained on if there is a validation part
    building    12 E                  half a graph and a copy of the edges, while a graph is built
    split       34 E at its peak      sorting keys of the validation split, given back before training starts
    parameters  16 N d                embedding, two moments of Adam, the best epoch's copy
    layers      4 N d if K >= 2       what is kept between hops (2 bytes instead of 4 in bfloat16, and a copy of the embedding)
    batch       B-sized               everything else of a step: its native workspace (not what a sampler of negatives needs: a mask,
                                      candidates, or, where it reads vectors, 4 N d (1 to 3) as in an evaluation)
    evaluation  (4 N d) (1 to 3) + 4 I d + 1 KiB a user, 32 MiB at most   the final embedding, its layers, the items packed, lists

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

    @property
    def total(self) -> int:
        """Splitting comes before the parameters are touched; evaluation comes on top of training."""
        resident = self.edges + self.graph
        return resident + max(self.building, self.split, self.parameters + self.layers + self.batch + self.evaluation)

    def __str__(self) -> str:
        parts = [f"{f.name:12s}{getattr(self, f.name) / 2**20:10.1f} MiB" for f in dataclasses.fields(self)]
        return "\n".join([*parts, f"{'peak':12s}{self.total / 2**20:10.1f} MiB"])


def estimate_memory(
    n_users: int, n_items: int, n_edges: int, dim: int = 64, n_layers: int = 3, config: TrainConfig | None = None
) -> MemoryEstimate:
    """The memory that ``fit`` takes for a data set of this size, evaluation included; torch itself not.

    Parameters
    ----------
    n_users, n_items, n_edges : int >= 0, of the training part
    dim, n_layers : of a LightGCN, or of MF with 0 layers
    config : TrainConfig, default: TrainConfig()

    Raises
    ------
    TypeError : sizes that are no integers. ValueError : negative ones, more nodes than a graph has, or more bytes than 64 bits count.

    Examples
    --------
    >>> round(estimate_memory(29858, 40981, 810128).total / 2**20)  # gowalla
    205
    """
    config = config or TrainConfig()
    given = {"n_users": n_users, "n_items": n_items, "n_edges": n_edges, "dim": dim, "n_layers": n_layers}
    n_users, n_items, n_edges, dim, n_layers = (
        check_count(value, f"estimate_memory: {name}", int(name == "dim")) for name, value in given.items()
    )
    n_nodes = n_users + n_items
    if n_nodes > MAX_NODES:
        raise ValueError(f"estimate_memory: n_users + n_items must be <= {MAX_NODES}, got {n_users} + {n_items}")
    if n_layers >= 2**31:
        raise ValueError(f"estimate_memory: n_layers must be below 2^31, got {n_layers}")
    table = 4 * n_nodes * dim
    half = config.storage == "bfloat16" and n_layers > 0
    layer = table // 2 if half else table
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
    code = native.DTYPE_CODE[torch.bfloat16 if half else torch.float32]
    layers = layer if n_layers >= 2 else 0
    sizes = (dim, n_layers + 1, config.batch_size, n_neg, shared)
    step = native.size("train_step", torch.device("cpu"), code, native.shape(n_users, n_items), *sizes)
    return MemoryEstimate(
        edges=8 * n_edges,
        graph=(1 + validated) * (8 * n_edges + 12 * n_nodes),
        building=12 * n_edges,
        split=34 * n_edges if validated else 0,
        parameters=4 * table,
        layers=layers + (layer if half else 0),
        batch=step - layers,
        evaluation=(1 + min(n_layers, 2)) * table + 4 * n_items * dim + 1024 * min(n_users, RANKED_AT_ONCE),
    )
