#include "cuda/hop.cuh"
#include "fgr/ppr.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;
constexpr int tile = 32;
// Columns: fewer where sources are few, which then take less memory and less time.
constexpr int64_t most_width = 64;
constexpr int64_t width_of(int64_t n_sources) {
  return n_sources <= 16 ? 16 : n_sources <= 32 ? 32 : (n_sources + most_width - 1) / most_width * most_width;
}
// Rows of the workspace are whole lines, so that every access of a hop is of 16 bytes. Its lanes are those of the most
// columns whatever the width, so that edges are shared out in one way and a column's sums do not depend on others.
template <class T, class Sink>
void wide_hop(const Hop<T>& h, const Sink& sink, void* stream) {
  constexpr int values = 16 / sizeof(T);
  launch_hop<values>("ppr", h, hop_width(most_width, values), sink, stream);
}

// u = 2 value - u, or value in the first step; sum += coefficient u, where there is a sum.
template <class T>
struct StepRow {
  static constexpr int ahead = 4, blocks = 4;
  T* u;
  T* sum;  // of the nodes from first_node on, or null
  T coefficient;
  bool first;
  int64_t first_node, dim;
  template <int V>
  __device__ void operator()(int64_t, int64_t node, int64_t c, const T (&value)[V]) const {
    T* at = u + node * dim + c;
    T row[V];
    if (!first) read(at, row);
#pragma unroll
    for (int j = 0; j < V; ++j) row[j] = first ? value[j] : 2 * value[j] - row[j];
    write(at, row);
    if (sum == nullptr) return;
    T* total_at = sum + (node - first_node) * dim + c;
    T total[V];
    read(total_at, total);
#pragma unroll
    for (int j = 0; j < V; ++j) total[j] += coefficient * row[j];
    write(total_at, total);
  }
};

// p = gamma value, rounded to T.
template <class T>
struct ScoreRow {
  static constexpr int ahead = 4, blocks = 4;
  double* p;
  double gamma;
  int64_t dim;
  template <int V>
  __device__ void operator()(int64_t, int64_t node, int64_t c, const double (&value)[V]) const {
    double row[V];
#pragma unroll
    for (int j = 0; j < V; ++j) row[j] = static_cast<double>(static_cast<T>(gamma * value[j]));
    write(p + node * dim + c, row);
  }
};

// p = gamma value - p.
struct ResidualRow {
  static constexpr int ahead = 4, blocks = 4;
  double* p;
  double gamma;
  int64_t dim;
  template <int V>
  __device__ void operator()(int64_t, int64_t node, int64_t c, const double (&value)[V]) const {
    double row[V];
    read(p + node * dim + c, row);
#pragma unroll
    for (int j = 0; j < V; ++j) row[j] = gamma * value[j] - row[j];
    write(p + node * dim + c, row);
  }
};

// A thread a column: u and sum, which are zero, get their sources.
template <class T>
__global__ void start_kernel(PprBatch<T> batch, NodeRange own, double first, int64_t width, PprSpace<T> space) {
  const int64_t s = global_thread();
  if (s >= width) return;
  space.source[s] = 0;
  if (s >= batch.n_sources) return;
  const int64_t node = checked_id(batch.nodes[s], own.begin, own.end, "nodes");
  space.source[s] = batch.inv_degree_exact[node];
  if (space.source[s] == 0) return;
  space.u[node * width + s] = 1;
  space.sum[(node - own.begin) * width + s] = static_cast<T>(first / 2);
}

// The scores of the own side, from the sums.
template <class T>
__global__ void own_kernel(PprBatch<T> batch, NodeRange own, int64_t width, PprSpace<T> space) {
  const int64_t i = global_thread();
  if (i >= own.size() * width) return;
  const int64_t node = own.begin + i / width, s = i % width;
  const double inv_degree = batch.inv_degree_exact[node];
  T score = 0;
  if (inv_degree > 0) score = static_cast<T>(space.sum[i] * space.source[s] * (1 / inv_degree));
  if (score < T(0)) score = 0;
  if (s < batch.n_sources && space.source[s] == 0 && node == batch.nodes[s]) score = 1;
  space.scores[node * width + s] = score;
}

// scores[s, i] = x[first_node + i, s], a tile a block.
template <class T>
__global__ void __launch_bounds__(block_threads)
    transpose_kernel(const double* x, int64_t width, int64_t n_sources, NodeRange nodes, T* scores) {
  FGR_SHARED(T, cell, [tile][tile + 1]);
  const int64_t across = (width + tile - 1) / tile, row0 = blockIdx.x / across * tile,
                col0 = blockIdx.x % across * tile;
  const int64_t fast = threadIdx.x % tile, first = threadIdx.x / tile, step = blockDim.x / tile;
  for (int64_t slow = first; slow < tile && row0 + slow < nodes.size() && col0 + fast < width; slow += step) {
    cell[slow][fast] = static_cast<T>(x[(nodes.begin + row0 + slow) * width + col0 + fast]);
  }
  __syncthreads();
  for (int64_t slow = first; slow < tile && col0 + slow < n_sources; slow += step) {
    if (row0 + fast < nodes.size()) scores[(col0 + slow) * nodes.size() + row0 + fast] = cell[fast][slow];
  }
}

// p becomes the residual where the walk starts: the one term that the hop lacks.
template <class T>
__global__ void restart_kernel(PprBatch<T> batch, int64_t width, PprSpace<T> space) {
  const int64_t s = global_thread();
  if (s >= batch.n_sources) return;
  double& p = space.scores[batch.nodes[s] * width + s];
  p = space.source[s] == 0 ? 0 : p + batch.restart;
}

// A block for ppr_sum_rows rows, a thread a column: row_sums = sum of weight |x|, with weight 1 for the residual, else
// what rounding may have added to it.
template <class T>
__global__ void norm_kernel(Bipartite graph, NodeRange nodes, NodeRange other, bool residual, int64_t width,
                            PprSpace<T> space) {
  const int64_t from = nodes.begin + static_cast<int64_t>(blockIdx.x) * ppr_sum_rows;
  const int64_t to = from + ppr_sum_rows < nodes.end ? from + ppr_sum_rows : nodes.end;
  for (int64_t s = threadIdx.x; s < width; s += blockDim.x) {
    double total = 0;
    for (int64_t node = from; node < to; ++node) {
      double weight = 1;
      if (!residual) {
        const Edges edges = edges_of(graph, node);
        weight = ppr_rounding(edges.end - edges.begin);
        if (node >= other.begin && node < other.end) weight += unit_roundoff<T>;
      }
      total += weight * fabs(space.scores[node * width + s]);
    }
    space.row_sums[blockIdx.x * width + s] = total;
  }
}

// bound[s] = factor (bound[s] + sum of row_sums[:, s]), without the first bound[s] unless `add`.
__global__ void bound_kernel(const double* row_sums, int64_t blocks, int64_t width, int64_t n_sources, bool add,
                             double factor, double* bound) {
  const int64_t s = global_thread();
  if (s >= n_sources) return;
  double total = add ? bound[s] : 0;
  for (int64_t b = 0; b < blocks; ++b) total += row_sums[b * width + s];
  bound[s] = factor * total;
}

}  // namespace

template <class T>
int64_t ppr_workspace_bytes(const Bipartite& graph, int64_t n_sources) {
  return PprSpace<T>(nullptr, graph, width_of(n_sources)).bytes;
}

template <class T>
void ppr(const Bipartite& graph, const PprBatch<T>& batch, int64_t first_node, int64_t last_node, T* scores,
         double* bound, void* workspace, void* stream) {
  const NodeRange own = nodes_of(graph, batch.side), other = nodes_of(graph, other_side(batch.side));
  const int64_t width = width_of(batch.n_sources);
  const PprSpace<T> space(workspace, graph, width);
  const auto per_column = [&](auto kernel, auto... args) {
    launch("ppr", kernel, blocks_for(width, block_threads), block_threads, 0, stream, args...);
  };
  const auto clear = [&](T* rows, int64_t n_rows) {
    const size_t n_bytes = static_cast<size_t>(n_rows * width) * sizeof(T);
    check(cudaMemsetAsync(rows, 0, n_bytes, static_cast<cudaStream_t>(stream)), "ppr");
  };
  clear(space.u, graph.n_nodes());
  clear(space.sum, own.size());
  const PprSeries series(batch.restart);
  per_column(start_kernel<T>, batch, own, series.first, width, space);

  Hop<T> h;
  h.graph = graph;
  h.left = batch.inv_degree;
  h.x = space.u;
  h.partial = reinterpret_cast<T*>(space.partial);
  h.dim = width;
  const auto step = [&](NodeRange rows, T* sum, double coefficient, bool first) {
    h.first_node = rows.begin;
    h.last_node = rows.end;
    wide_hop(h, StepRow<T>{space.u, sum, static_cast<T>(coefficient), first, rows.begin, width}, stream);
  };
  double coefficient = series.first;
  for (int64_t j = 0; j < batch.terms; ++j) {
    step(other, nullptr, 0, j == 0);
    step(own, space.sum, coefficient *= series.ratio, false);
  }
  launch("ppr", own_kernel<T>, blocks_for(own.size() * width, block_threads), block_threads, 0, stream, batch, own,
         width, space);

  Hop<double> exact;
  exact.graph = graph;
  exact.col_scale = batch.inv_degree_exact;
  exact.x = space.scores;
  exact.partial = space.partial;
  exact.dim = width;
  exact.first_node = other.begin;
  exact.last_node = other.end;
  const double gamma = 1 - batch.restart;
  if (bound != nullptr || (first_node < other.end && last_node > other.begin)) {
    wide_hop(exact, ScoreRow<T>{space.scores, gamma, width}, stream);
  }
  const NodeRange wanted{first_node, last_node};
  launch("ppr", transpose_kernel<T>, blocks_for(wanted.size(), tile) * blocks_for(width, tile), block_threads, 0,
         stream, static_cast<const double*>(space.scores), width, batch.n_sources, wanted, scores);
  if (bound == nullptr) return;

  const auto add_norms = [&](NodeRange nodes, bool residual, double factor) {
    const int64_t blocks = blocks_for(nodes.size(), ppr_sum_rows);
    launch("ppr", norm_kernel<T>, blocks, 64, 0, stream, graph, nodes, other, residual, width, space);
    per_column(bound_kernel, static_cast<const double*>(space.row_sums), blocks, width, batch.n_sources, residual,
               factor, bound);
  };
  add_norms({0, graph.n_nodes()}, false, 1);
  exact.first_node = own.begin;
  exact.last_node = own.end;
  wide_hop(exact, ResidualRow{space.scores, gamma, width}, stream);
  per_column(restart_kernel<T>, batch, width, space);
  add_norms(own, true, ppr_sum_margin / batch.restart);
}

#define FGR_INSTANTIATE(T)                                            \
  template int64_t ppr_workspace_bytes<T>(const Bipartite&, int64_t); \
  template void ppr<T>(const Bipartite&, const PprBatch<T>&, int64_t, int64_t, T*, double*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
