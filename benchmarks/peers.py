"""The contenders: how others do the same jobs, each as its own users would call it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from fastgcn_rec import Graph

Tensor = torch.Tensor


def directed_edges(graph: Graph) -> Tensor:
    """Both directions of every edge, int64 [2, 2 * n_edges], users first: torch-geometric's edge_index."""
    users = torch.repeat_interleave(graph.user_degree)
    items = graph.indices.long() + graph.n_users
    forth = torch.stack([users, items])
    return torch.cat([forth, forth.flip(0)], 1)


def normalized_coo(graph: Graph) -> Tensor:
    """A~ as LightGCN-PyTorch holds it: torch.sparse COO, coalesced, float32."""
    edges = directed_edges(graph)
    degree = torch.cat([graph.user_degree, graph.item_degree]).float()
    values = (degree[edges[0]] * degree[edges[1]]).rsqrt()
    return torch.sparse_coo_tensor(edges, values, (graph.n_nodes, graph.n_nodes)).coalesce()


def normalized_csr(graph: Graph, index: torch.dtype = torch.int32) -> Tensor:
    csr = normalized_coo(graph).to_sparse_csr()
    parts = csr.crow_indices().to(index), csr.col_indices().to(index), csr.values()
    return torch.sparse_csr_tensor(*parts, size=csr.shape)


def normalized_scipy(graph: Graph) -> sp.csr_array:
    csr = normalized_csr(graph)
    parts = csr.values().numpy(), csr.col_indices().numpy(), csr.crow_indices().numpy()
    return sp.csr_array(parts, shape=csr.shape)


def cupy_product(csr: Tensor, x: Tensor) -> Callable[[], object]:
    """csr @ x on a GPU as CuPy's users write it: by cuSPARSE on a column-major copy of x. The data are shared, not copied."""
    import cupy
    import cupyx.scipy.sparse

    parts = [cupy.from_dlpack(t.detach()) for t in (csr.values(), csr.col_indices(), csr.crow_indices())]
    matrix, dense = cupyx.scipy.sparse.csr_matrix(tuple(parts), shape=tuple(csr.shape)), cupy.from_dlpack(x.detach())

    def run() -> object:
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            return matrix @ dense

    return run


class SymmetricMatmul(torch.autograd.Function):
    """A @ x with gradient A @ g, for a symmetric A: torch's CSR product has no gradient of its own that is as fast."""

    @staticmethod
    def forward(ctx, a: Tensor, x: Tensor) -> Tensor:
        ctx.a = a
        return a @ x

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor]:
        return None, ctx.a @ grad


def mean_of_layers(multiply: Callable[[Tensor], Tensor], x: Tensor, n_layers: int) -> Tensor:
    """LightGCN as published: the layers stacked, then their mean."""
    layers = [x]
    for _ in range(n_layers):
        layers.append(multiply(layers[-1]))
    return torch.stack(layers, dim=1).mean(dim=1)


def bpr(z: Tensor, n_users: int, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
    u, p, n = z[users], z[n_users + pos], z[n_users + neg[:, 0]]
    return F.softplus((u * n).sum(1) - (u * p).sum(1)).mean()


def softmax(z: Tensor, n_users: int, users: Tensor, pos: Tensor, temperature: float) -> Tensor:
    u, p = F.normalize(z[users], dim=1), F.normalize(z[n_users + pos], dim=1)
    return F.cross_entropy(u @ p.T / temperature, torch.arange(len(users), device=z.device))


def ridge(table: Tensor, n_users: int, users: Tensor, *items: Tensor) -> Tensor:
    """1/2 sum |e|^2 / B over the ego rows of the batch, repeated rows counted as often as they occur."""
    total = table[users].square().sum()
    for ids in items:
        total = total + table[n_users + ids.flatten()].square().sum()
    return total / (2 * len(users))


def python_sampler(graph: Graph, batch: int) -> Callable[[], list[list[int]]]:
    """LightGCN-PyTorch's sampling in Python: a random user, one of the user's items, an item that the user has not."""
    rows = np.split(graph.indices.cpu().numpy(), graph.indptr.cpu().numpy()[1:-1])
    rng = np.random.default_rng(0)

    def run() -> list[list[int]]:
        triples = []
        for user in rng.integers(0, graph.n_users, batch):
            seen = rows[user]
            if len(seen) == 0:
                continue
            positive = seen[rng.integers(0, len(seen))]
            while True:
                negative = rng.integers(0, graph.n_items)
                if negative in seen:
                    continue
                break
            triples.append([user, positive, negative])
        return triples

    return run


def numpy_sampler(graph: Graph, batch: int) -> Callable[[], tuple[np.ndarray, ...]]:
    """The same by whole arrays: edges at random, negatives redrawn while a binary search finds them among the edges."""
    users = np.repeat(np.arange(graph.n_users), graph.user_degree.cpu().numpy())
    items = graph.indices.cpu().numpy().astype(np.int64)
    keys = edge_keys(graph)
    rng = np.random.default_rng(0)

    def run() -> tuple[np.ndarray, ...]:
        edges = rng.integers(0, len(keys), batch)
        u, negative = users[edges], rng.integers(0, graph.n_items, batch)
        again = np.arange(batch)
        while len(again):
            wanted = u[again] * graph.n_items + negative[again]
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            again = again[keys[at] == wanted]
            negative[again] = rng.integers(0, graph.n_items, len(again))
        return u, items[edges], negative

    return run


def edge_keys(graph: Graph) -> np.ndarray:
    """user * n_items + item of every edge, sorted."""
    users = np.repeat(np.arange(graph.n_users), graph.user_degree.cpu().numpy())
    return users * graph.n_items + graph.indices.cpu().numpy().astype(np.int64)


def numpy_negatives(graph: Graph, users: Tensor, n: int, power: float | None = None) -> Callable[[], np.ndarray]:
    """n negatives a row by whole arrays, uniform or ~ degree^power: those that a binary search finds among the edges are redrawn."""
    keys, rows = edge_keys(graph), np.repeat(users.cpu().numpy(), n)
    rng = np.random.default_rng(0)
    law = None if power is None else (graph.item_degree.cpu().numpy().astype(float) ** power).cumsum()

    def items(count: int) -> np.ndarray:
        if law is None:
            return rng.integers(0, graph.n_items, count)
        return np.searchsorted(law, rng.random(count) * law[-1], side="right")

    def run() -> np.ndarray:
        negative, again = items(len(rows)), np.arange(len(rows))
        while len(again):
            wanted = rows[again] * graph.n_items + negative[again]
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            again = again[keys[at] == wanted]
            negative[again] = items(len(again))
        return negative.reshape(-1, n)

    return run


def torch_unseen_mask(graph: Graph, users: Tensor, items: Tensor) -> Tensor:
    """bool [B, M]: a dense row of seen items for every user, read at the items."""
    counts = graph.user_degree[users]
    row = torch.repeat_interleave(counts)
    edge = torch.arange(len(row), device=row.device) + (graph.indptr[users] - (counts.cumsum(0) - counts))[row]
    unseen = torch.ones(len(users), graph.n_items, dtype=torch.bool, device=row.device)
    unseen[row, graph.indices[edge].long()] = False
    return unseen[:, items]


def torch_shared(graph: Graph, users: Tensor, n: int) -> Callable[[], tuple[Tensor, Tensor]]:
    def run() -> tuple[Tensor, Tensor]:
        items = torch.randint(graph.n_items, (n,), device=users.device)
        return items, torch_unseen_mask(graph, users, items)

    return run


def _candidates(graph: Graph, users: Tensor, m: int) -> Callable[[], Tensor]:
    """m items a row, edges redrawn: what the samplers by score choose from."""
    keys = torch.from_numpy(edge_keys(graph)).to(users.device)

    def run() -> Tensor:
        items = torch.randint(graph.n_items, (len(users), m), device=users.device)
        while True:
            wanted = users[:, None] * graph.n_items + items
            seen = keys[torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)] == wanted
            if not bool(seen.any()):
                return items
            items[seen] = torch.randint(graph.n_items, (int(seen.sum()),), device=users.device)

    return run


def torch_dynamic(graph: Graph, user_emb: Tensor, item_emb: Tensor, users: Tensor, m: int) -> Callable[[], Tensor]:
    draw = _candidates(graph, users, m)

    def run() -> Tensor:
        items = draw()
        score = torch.einsum("bd,bmd->bm", user_emb[users], item_emb[items])
        return items.gather(1, score.argmax(1, keepdim=True))

    return run


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (2 - 2 * torch.einsum("bd,bmd->bm", F.normalize(a, dim=1), F.normalize(b, dim=2))).clamp(min=0).sqrt()


def torch_semi_hard(
    graph: Graph, user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, m: int, margin: float
) -> Callable[[], Tensor]:
    draw = _candidates(graph, users, m)

    def run() -> Tensor:
        items, u = draw(), user_emb[users]
        near, d = _distance(u, item_emb[pos][:, None]), _distance(u, item_emb[items])
        inside = (near < d) & (d < near + margin)
        first = items.gather(1, inside.long().argmax(1, keepdim=True))
        return torch.where(inside.any(1, keepdim=True), first, -1)

    return run


def torch_distance_weighted(
    graph: Graph, user_emb: Tensor, item_emb: Tensor, users: Tensor, m: int, lo: float = 0.5, hi: float = 1.4
) -> Callable[[], Tensor]:
    draw, dim = _candidates(graph, users, m), user_emb.shape[1]

    def run() -> Tensor:
        items = draw()
        d = _distance(user_emb[users], item_emb[items]).clamp(lo, hi)
        log_weight = (2 - dim) * d.log() - (dim - 3) / 2 * torch.log1p(-d.square() / 4)
        return items.gather(1, torch.softmax(log_weight, 1).multinomial(1))

    return run


def torch_topk(graph: Graph, user_emb: Tensor, item_emb: Tensor, users: Tensor, k: int, block: int = 1024) -> Tensor:
    """Full ranking as evaluation code does it: a block of scores, seen items at -inf, torch.topk."""
    found = []
    for rows in users.split(block):
        scores = user_emb[rows] @ item_emb.T
        counts = graph.user_degree[rows]
        row = torch.repeat_interleave(counts)
        first = graph.indptr[rows]
        start = counts.cumsum(0) - counts
        edge = torch.arange(int(counts.sum()), device=rows.device) + (first - start)[row]
        scores[row, graph.indices[edge].long()] = -math.inf
        found.append(scores.topk(k).indices)
    return torch.cat(found)


Walk = Callable[[Tensor, int], Tensor]  # (start nodes [n], length) -> traces [n, length + 1]


def homogeneous(graph: Graph) -> tuple[Tensor, Tensor]:
    """The graph over all nodes in CSR, int64, as torch-geometric's walks take it."""
    indptr = torch.cat([graph.indptr, graph.indptr_t[1:] + graph.n_edges])
    return indptr, torch.cat([graph.indices.long() + graph.n_users, graph.indices_t.long()])


def torch_cluster_walks(indptr: Tensor, indices: Tensor) -> Walk | None:
    """torch_cluster's walks as torch-geometric's Node2Vec calls them (p = q = 1); None where it is not installed."""
    try:
        import torch_cluster  # noqa: F401
    except ImportError:
        return None
    return lambda start, length: torch.ops.torch_cluster.random_walk(indptr, indices, start, length, 1.0, 1.0)[0]


def numpy_walks(indptr: Tensor, indices: Tensor) -> Walk:
    """All walkers a step at a time."""
    starts, columns = indptr.cpu().numpy(), indices.cpu().numpy()
    degree, rng = np.diff(starts), np.random.default_rng(0)

    def run(start: Tensor, length: int) -> Tensor:
        traces = np.empty((length + 1, len(start)), np.int64)
        traces[0] = start.cpu().numpy()
        for t in range(length):
            at = traces[t]
            traces[t + 1] = columns[starts[at] + (rng.random(len(at)) * degree[at]).astype(np.int64)]
        return torch.from_numpy(traces.T)

    return run


def count_neighbors(
    walk: Walk, seeds: Tensor, n_walks: int, length: int, top: int, n_nodes: int
) -> tuple[Tensor, Tensor]:
    """The nodes that a seed's walks visit most, from traces (without restarts, which is less work)."""
    traces = walk(seeds.repeat_interleave(n_walks), 2 * length)
    visited = traces[:, 2::2].reshape(len(seeds), -1).to(seeds.device)
    keys = (torch.arange(len(seeds), device=seeds.device)[:, None] * n_nodes + visited)[visited != seeds[:, None]]
    found, visits = keys.unique(return_counts=True)
    found, visits = found[by := visits.argsort(descending=True, stable=True)], visits[by]
    order = (found // n_nodes).argsort(stable=True)
    row, ids, visits = found[order] // n_nodes, found[order] % n_nodes, visits[order]
    per_row = torch.bincount(row, minlength=len(seeds))
    rank = torch.arange(len(row), device=row.device) - (per_row.cumsum(0) - per_row)[row]
    kept = rank < top
    out_ids = seeds.new_full((len(seeds), top), -1)
    weights = torch.zeros(len(seeds), top, device=seeds.device)
    out_ids[row[kept], rank[kept]] = ids[kept]
    weights[row[kept], rank[kept]] = visits[kept].float()
    return out_ids, weights / weights.sum(1, keepdim=True).clamp(min=1)


def walk_shares(graph: Graph, item: int, length: int, restart: float) -> np.ndarray:
    """The expected share of every item in the visits of an item's walks, its own among them, by SciPy in float64."""
    r = graph.to("cpu").to_scipy().astype(np.float64)
    users, items = (1 / np.maximum(degree.cpu().numpy(), 1) for degree in (graph.user_degree, graph.item_degree))
    seed = np.zeros(graph.n_items)
    seed[item] = 1
    at, visits = seed, np.zeros_like(seed)
    for _ in range(length):
        reached = r.T @ (users * (r @ (items * at)))
        visits += reached / length
        at = restart * seed + (1 - restart) * reached
    return visits
