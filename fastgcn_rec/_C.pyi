from typing import Any

class Graph:
    def __init__(
        self,
        n_users: int,
        n_items: int,
        indptr: int,
        indices: int,
        weight: int,
        indptr_t: int,
        indices_t: int,
        weight_t: int,
        split: int,
        n_split: int,
        heavy: int,
        n_heavy: int,
        heavy_degree: int,
        part_edges: int,
    ) -> None: ...

class Retrieval:
    def __init__(
        self,
        queries: int,
        items: int,
        n_queries: int,
        n_items: int,
        dim: int,
        cosine: bool,
        subset: int,
        n_candidates: int,
        indptr: int,
        indices: int,
        n_exclude_rows: int,
        rows: int,
        k: int,
        queries_at_once: int,
        items_at_once: int,
    ) -> None: ...

class PprPush:
    def __init__(
        self, graph: Graph, inv_degree: int, nodes: int, n_sources: int, restart: float, epsilon: float, threads: int
    ) -> None: ...
    def n_entries(self) -> int: ...
    def copy(self, indptr: int, ids: int, scores: int) -> None: ...

def build_info() -> dict[str, Any]: ...
def isa_level() -> str: ...
def select_isa_level(name: str) -> None: ...
def bucket_edges(
    wide: bool,
    rows: int,
    cols: int,
    weight: int,
    n_edges: int,
    n_rows: int,
    indptr: int,
    indices: int,
    out_weight: int,
    threads: int,
) -> None: ...
def transpose(
    indptr: int,
    indices: int,
    weight: int,
    n_rows: int,
    n_cols: int,
    indptr_t: int,
    indices_t: int,
    weight_t: int,
    threads: int,
) -> None: ...
def merge_duplicates(indptr: int, indices: int, weight: int, n_rows: int) -> int: ...
def alias_table(indptr: int, indices: int, weight: int, n_rows: int, n_cols: int, alias: int, threads: int) -> None: ...
def check_csr(indptr: int, indices: int, n_rows: int, n_cols: int, n_edges: int) -> None: ...
def pair_loss_workspace_bytes(batch: int) -> int: ...
def parallel_regions() -> int: ...
def grain() -> int: ...
def set_grain(work: int) -> None: ...
def l2_loss_workspace_bytes(n: int) -> int: ...
def select_negatives_workspace_bytes(batch: int, m: int) -> int: ...

# Each op of csrc/bindings_ops.inc, as <op>_cpu and, where CUDA is built, <op>_cuda, and how a device builds a graph; fastgcn_rec.core.native.call names them.
def __getattr__(name: str) -> Any: ...
