#include "fgr/ppr.h"

#include <cmath>
#include <cstring>

#include "cpu/hops.h"

namespace fgr::cpu {
namespace {

constexpr int64_t scratch_bytes =
    16 << 10;  // of rows that wait between their sums and what becomes of them: half an L1
// Whole vectors of every level: a column's sums then do not depend on how many columns there are.
constexpr int64_t width_of(int64_t n_sources) { return (n_sources + 15) / 16 * 16; }
static_assert(width_of(ppr_most_sources) * sizeof(double) <= scratch_bytes, "at least a row");

// sink(node, row [dim]) for the rows of one side of a hop. The hop has no base: a sum of two products, which a compiler
// may round in two ways, would make the bits depend on the number of columns.
template <class T, class Sink>
void half_hop(const Bipartite& graph, const Hop<T>& whole, Side side, int threads, const Sink& sink) {
  const int64_t block_rows = scratch_bytes / (whole.dim * static_cast<int64_t>(sizeof(T)));
  const Hop<T> half = half_of(graph, whole, side);
  const Csr& csr = csr_of(graph, side);
  const int64_t first = nodes_of(graph, side).begin;
  parallel_rows(csr.indptr, csr.n_rows, whole.dim, threads, [&](int64_t begin, int64_t end) {
    alignas(64) T scratch[scratch_bytes / sizeof(T)];
    for (int64_t from = begin; from < end; from += block_rows) {
      const int64_t to = std::min(end, from + block_rows);
      Hop<T> block = half;
      block.indptr += from;
      if (block.left != nullptr) block.left += from;
      block.y = scratch;
      kernels<T>().hop(block, 0, to - from);
      for (int64_t row = from; row < to; ++row) sink(first + row, scratch + (row - from) * whole.dim);
    }
  });
}

// space.sum = sum_j a_2j u_2j on the own side, a_0 halved. space.u holds u_k times (-1)^floor(k / 2): the recurrence's
// difference then is an addition to what stands there, of 2 D^-1 A u on the other side and of its negative on the own.
template <class T>
void sum_series(const Bipartite& graph, const PprBatch<T>& batch, const PprSpace<T>& space, int64_t width,
                int threads) {
  const NodeRange own = nodes_of(graph, batch.side);
  const auto clear = [&](T* rows, int64_t n_rows) {
    parallel_for(n_rows, width, threads, [&](int64_t begin, int64_t end) {
      memset(rows + begin * width, 0, static_cast<size_t>((end - begin) * width) * sizeof(T));
    });
  };
  clear(space.u, graph.n_nodes());
  clear(space.sum, own.size());
  const PprSeries series(batch.restart);
  for (int64_t s = 0; s < batch.n_sources; ++s) {
    if (space.source[s] == 0) continue;
    space.u[batch.nodes[s] * width + s] = 1;
    space.sum[(batch.nodes[s] - own.begin) * width + s] = static_cast<T>(series.first / 2);
  }
  Hop<T> hop;
  hop.x = space.u;
  hop.left = batch.inv_degree;
  hop.dim = width;
  const auto add = [width](T* to, T factor, const T* row) { kernels<T>().axpy(to, factor, row, width); };
  double coefficient = series.first;
  for (int64_t j = 0; j < batch.terms; ++j) {
    hop.gain = j == 0 ? 1 : 2;
    half_hop(graph, hop, other_side(batch.side), threads,
             [&](int64_t node, const T* row) { add(space.u + node * width, 1, row); });
    hop.gain = 2;
    coefficient *= -series.ratio;
    half_hop(graph, hop, batch.side, threads, [&](int64_t node, const T* row) {
      T* u = space.u + node * width;
      add(u, -1, row);
      add(space.sum + (node - own.begin) * width, static_cast<T>(coefficient), u);
    });
  }
}

// bound[s] (+)= sum of weight(node) |x[node, s]| over [nodes.begin, nodes.end), in an order that nodes alone decide.
template <class Weight>
void add_norms(const double* x, NodeRange nodes, int64_t width, int64_t n_sources, double* row_sums, bool add,
               const Weight& weight, double* bound, int threads) {
  const int64_t blocks = (nodes.size() + ppr_sum_rows - 1) / ppr_sum_rows;
  parallel_for(blocks, ppr_sum_rows * width, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      double* sums = row_sums + b * width;
      std::fill(sums, sums + width, 0.0);
      const int64_t from = nodes.begin + b * ppr_sum_rows, to = std::min(nodes.end, from + ppr_sum_rows);
      for (int64_t node = from; node < to; ++node) {
        const double w = weight(node);
        for (int64_t s = 0; s < width; ++s) sums[s] += w * std::fabs(x[node * width + s]);
      }
    }
  });
  for (int64_t s = 0; s < n_sources; ++s) {
    if (!add) bound[s] = 0;
    for (int64_t b = 0; b < blocks; ++b) bound[s] += row_sums[b * width + s];
  }
}

// scores[s, i] = x[first + i, s]
template <class T>
void write_scores(const double* x, int64_t width, int64_t n_sources, NodeRange nodes, T* scores, int threads) {
  constexpr int64_t block = 64;  // rows whose columns stay in L1 while they are read one by one
  parallel_for((nodes.size() + block - 1) / block, block * n_sources, threads, [&](int64_t begin, int64_t end) {
    for (int64_t from = begin * block; from < std::min(nodes.size(), end * block); from += block) {
      const int64_t to = std::min(nodes.size(), from + block);
      for (int64_t s = 0; s < n_sources; ++s) {
        for (int64_t i = from; i < to; ++i) {
          scores[s * nodes.size() + i] = static_cast<T>(x[(nodes.begin + i) * width + s]);
        }
      }
    }
  });
}

}  // namespace

template <class T>
int64_t ppr_workspace_bytes(const Bipartite& graph, int64_t n_sources) {
  return PprSpace<T>(nullptr, graph, width_of(n_sources)).bytes;
}

template <class T>
void ppr(const Bipartite& graph, const PprBatch<T>& batch, int64_t first_node, int64_t last_node, T* scores,
         double* bound, void* workspace, int threads) {
  const NodeRange own = nodes_of(graph, batch.side), other = nodes_of(graph, other_side(batch.side));
  check_ids("nodes", batch.nodes, batch.n_sources, own.begin, own.end);
  if (batch.n_sources == 0) return;
  if (batch.n_sources > ppr_most_sources) {
    throw std::invalid_argument("ppr: at most " + std::to_string(ppr_most_sources) + " sources a call, got " +
                                std::to_string(batch.n_sources) + "; pass them in blocks");
  }
  const int64_t width = width_of(batch.n_sources);
  const PprSpace<T> space(workspace, graph, width);
  const double* inv_degree = batch.inv_degree_exact;
  for (int64_t s = 0; s < width; ++s) space.source[s] = s < batch.n_sources ? inv_degree[batch.nodes[s]] : 0;
  sum_series(graph, batch, space, width, threads);

  double* p = space.scores;
  parallel_for(own.size(), width, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t node = own.begin + i;
      const double degree = inv_degree[node] > 0 ? 1 / inv_degree[node] : 0;
      for (int64_t s = 0; s < width; ++s) {
        const T score = static_cast<T>(space.sum[i * width + s] * space.source[s] * degree);
        p[node * width + s] = std::max(score, T(0));
      }
    }
  });
  const auto for_isolated = [&](double value) {
    for (int64_t s = 0; s < batch.n_sources; ++s) {
      if (space.source[s] == 0) p[batch.nodes[s] * width + s] = value;
    }
  };
  for_isolated(1);

  Hop<double> hop;
  hop.x = p;
  hop.col_scale = inv_degree;
  hop.gain = 1 - batch.restart;
  hop.dim = width;
  if (bound != nullptr || (first_node < other.end && last_node > other.begin)) {
    half_hop(graph, hop, other_side(batch.side), threads, [&](int64_t node, const double* row) {
      for (int64_t s = 0; s < width; ++s) p[node * width + s] = static_cast<double>(static_cast<T>(row[s]));
    });
  }
  write_scores(p, width, batch.n_sources, {first_node, last_node}, scores, threads);
  if (bound == nullptr) return;

  const auto rounding = [&](int64_t node) {
    const Csr& csr = node < graph.users.n_rows ? graph.users : graph.items;
    const int64_t row = node < graph.users.n_rows ? node : node - graph.users.n_rows;
    const bool stored_rounded = node >= other.begin && node < other.end;
    return ppr_rounding(csr.indptr[row + 1] - csr.indptr[row]) + (stored_rounded ? unit_roundoff<T> : 0);
  };
  add_norms(p, {0, graph.n_nodes()}, width, batch.n_sources, space.row_sums, false, rounding, bound, threads);
  half_hop(graph, hop, batch.side, threads,
           [&](int64_t node, const double* row) { kernels<double>().axpy(p + node * width, -1, row, width); });
  for (int64_t s = 0; s < batch.n_sources; ++s) p[batch.nodes[s] * width + s] -= batch.restart;  // minus the residual
  for_isolated(0);  // it stands still: no residual
  add_norms(p, own, width, batch.n_sources, space.row_sums, true, [](int64_t) { return 1.0; }, bound, threads);
  for (int64_t s = 0; s < batch.n_sources; ++s) bound[s] *= ppr_sum_margin / batch.restart;
}

#define FGR_INSTANTIATE(T)                                            \
  template int64_t ppr_workspace_bytes<T>(const Bipartite&, int64_t); \
  template void ppr<T>(const Bipartite&, const PprBatch<T>&, int64_t, int64_t, T*, double*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
