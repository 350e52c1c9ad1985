from typing import Any, TypeAlias

from torch import Tensor

Address: TypeAlias = int | Tensor | None

class Graph:
    def __init__(
        self,
        n_users: int,
        n_items: int,
        indptr: Address,
        indices: Address,
        weight: Address,
        indptr_t: Address,
        indices_t: Address,
        weight_t: Address,
        split: Address,
        n_split: int,
        heavy: Address,
        n_heavy: int,
        heavy_degree: int,
        part_edges: int,
    ) -> None: ...

class StepShare:
    def __init__(
        self,
        parts: int,
        *,
        whole_dim: int = 0,
        first_column: int = 0,
        own_z: Address = None,
        own_ridge: Address = None,
        z: Address = None,
        ridge: Address = None,
        scaled_seed: Address = None,
        seed: Address = None,
        direct: Address = None,
        first_row: int = 0,
        last_row: int = 0,
        scores: Address = None,
        ld: int = 0,
        factor: Address = None,
        row_loss: Address = None,
        grad: Address = None,
        user_rows: Address = None,
        item_rows: Address = None,
        own_squares: Address = None,
        squares: Address = None,
    ) -> None: ...

class Retrieval:
    def __init__(
        self,
        queries: Address,
        items: Address,
        n_queries: int,
        n_items: int,
        dim: int,
        cosine: bool,
        subset: Address,
        n_candidates: int,
        indptr: Address,
        indices: Address,
        n_exclude_rows: int,
        rows: Address,
        k: int,
        queries_at_once: int,
        items_at_once: int,
    ) -> None: ...

class PprPush:
    def __init__(
        self,
        graph: Graph,
        inv_degree: Address,
        nodes: Address,
        n_sources: int,
        restart: float,
        epsilon: float,
        threads: int,
    ) -> None: ...
    def n_entries(self) -> int: ...
    def copy(self, indptr: Address, ids: Address, scores: Address) -> None: ...

class Slim:
    def __init__(
        self,
        graph: Graph,
        l1: float,
        l2: float,
        tolerance: float,
        neighbours: int,
        most_sweeps: int,
        threads: int,
    ) -> None: ...
    def n_entries(self) -> int: ...
    def n_open(self) -> int: ...
    def worst_gap(self) -> float: ...
    def copy(self, indptr: Address, ids: Address, values: Address) -> None: ...

def nearest_rows(
    indptr: Address,
    indices: Address,
    value: Address,
    n_rows: int,
    indptr_t: Address,
    indices_t: Address,
    value_t: Address,
    n_columns: int,
    n_b: int,
    law: int,
    of_a: Address,
    of_b: Address,
    shrinkage: float,
    first: int,
    k: int,
    ids: Address,
    likeness: Address,
    total: Address,
    threads: int,
) -> None: ...
def ridge_rows(
    g: Graph,
    target: Address,
    v: Address,
    dim: int,
    base: Address,
    ridge: Address,
    block: int,
    x: Address,
    threads: int,
) -> int: ...

class IntegerTable:
    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def add(self, ids: Address, n: int, codes: Address, threads: int) -> None: ...
    def sorted(self, ids: Address, ranks: Address) -> None: ...

class TextTable:
    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def add(self, wide: bool, offsets: Address, bytes: Address, n: int, codes: Address, threads: int) -> None: ...
    def has(self, text: str) -> bool: ...
    def forms(self) -> tuple[bool, bool, bool]: ...
    def texts(self) -> list[str]: ...
    def sorted(self, ranks: Address) -> list[str]: ...

def split_lines(
    bytes: Address,
    n: int,
    sep: bytes,
    quoted: bool,
    width: int,
    longest: int,
    columns: Address,
    n_columns: int,
) -> int: ...
def whole_numbers(offsets: Address, bytes: Address, n: int, out: Address) -> bool: ...
def short_decimals(offsets: Address, bytes: Address, n: int, out: Address) -> bool: ...
def take(table: Address, codes: Address, n: int, wide: bool, out: Address, threads: int) -> None: ...
def first_events(
    wide: bool,
    users: Address,
    items: Address,
    whole: Address,
    real: Address,
    n_events: int,
    n_users: int,
    n_items: int,
    many: bool,
    rows: Address,
    indptr: Address,
    threads: int,
) -> int: ...
def share_out(
    indptr: Address,
    n_users: int,
    whole: Address,
    real: Address,
    placed: bool,
    many: bool,
    rows: Address,
    most: Address,
    n_parts: int,
    part: Address,
    threads: int,
) -> None: ...
def build_info() -> dict[str, Any]: ...
def isa_level() -> str: ...
def select_isa_level(name: str) -> None: ...
def bucket_edges(
    wide: bool,
    rows: Address,
    cols: Address,
    weight: Address,
    n_edges: int,
    n_rows: int,
    indptr: Address,
    indices: Address,
    out_weight: Address,
    threads: int,
) -> None: ...
def transpose(
    indptr: Address,
    indices: Address,
    weight: Address,
    n_rows: int,
    n_cols: int,
    indptr_t: Address,
    indices_t: Address,
    weight_t: Address,
    threads: int,
) -> None: ...
def merge_duplicates(indptr: Address, indices: Address, weight: Address, n_rows: int) -> int: ...
def alias_table(
    indptr: Address, indices: Address, weight: Address, n_rows: int, n_cols: int, alias: Address, threads: int
) -> None: ...
def gram_sizes(g: Graph, most: int, sizes: Address, threads: int) -> None: ...
def gram_rows(
    g: Graph, diagonal: Address, indptr: Address, indices: Address, values: Address, threads: int
) -> None: ...
def inverse_factor(
    a_indptr: Address,
    a_indices: Address,
    a_values: Address,
    diagonal: Address,
    n_rows: int,
    least: float,
    most: int,
    indptr: Address,
    indices: Address,
    values: Address,
    threads: int,
) -> None: ...
def factor_scores(
    rows: Graph, factor: Graph, before: Address, after: Address, own: Address, scores: Address, threads: int
) -> None: ...
def check_csr(indptr: Address, indices: Address, n_rows: int, n_cols: int, n_edges: int) -> None: ...
def advise_huge_pages(begin: Tensor, bytes: int, now: bool) -> bool: ...
def parallel_regions() -> int: ...
def grain() -> int: ...
def set_grain(work: int) -> None: ...
def l2_loss_workspace_bytes(n: int, dim: int) -> int: ...
def select_negatives_workspace_bytes(batch: int, m: int) -> int: ...

# Each op of csrc/bindings_ops.inc, as <op>_cpu and, where CUDA is built, <op>_cuda, and how a device builds a graph; fastgcn_rec.core.native.call names them.
def __getattr__(name: str) -> Any: ...
