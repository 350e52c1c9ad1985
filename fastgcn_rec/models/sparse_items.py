"""What models share whose item-item weights are a sparse matrix."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import scipy.sparse as sp
import torch

from ..core.graph import Graph
from ..system.contents import check_arrays, check_csr
from .item_item import ItemItem, State

Tensor = torch.Tensor


class SparseItems(ItemItem):
    """s_u = r_u W with a sparse W [n_items, n_items], whose column j holds what items give to item j. W and the scores are float32; scoring runs on the
    CPU, wherever the graph is. A subclass gives ``_columns``."""

    @abstractmethod
    def _columns(self) -> sp.csr_array:
        """W's transpose [n_items, n_items]: in row j what item j is given."""

    def _make(self) -> State:
        w = self._columns().astype(np.float32).T.tocsr()
        w.sort_indices()
        arrays = {"indptr": w.indptr.astype(np.int64), "indices": w.indices.astype(np.int32), "values": w.data}
        return {name: torch.from_numpy(a).to(self.graph.device) for name, a in arrays.items()}

    def _check(self, state: State) -> None:
        n = self.n_items
        check_arrays(
            state, {"indptr": ("int64", (n + 1,)), "indices": ("int32", ("e",)), "values": ("float32", ("e",))}
        )
        check_csr("matrix's", state["indptr"].numpy(), state["indices"].numpy(), n)

    def matrix(self) -> sp.csr_array:
        """W [n_items, n_items], float32."""
        state = {name: t.cpu().numpy() for name, t in self.named_buffers()}
        return sp.csr_array((state["values"], state["indices"], state["indptr"]), shape=(self.n_items, self.n_items))

    def score_rows(self, edges: Graph) -> Tensor:
        return torch.from_numpy((edges.to_scipy() @ self.matrix()).toarray()).to(edges.device)
