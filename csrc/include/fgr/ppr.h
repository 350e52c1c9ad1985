// Personalized PageRank of several sources at once (Jeh & Widom 2003, "Scaling personalized web search"):
//   pi_s = c sum_k (1 - c)^k (A D^-1)^k e_s, with c = restart and D the sums of edge weights;
//   pi_s = e_s for a source without edges, where the walk stands still.
#pragma once

#include <cmath>

#include "common/arena.h"
#include "fgr/types.h"

namespace fgr {

// With S = D^-1/2 A D^-1/2, whose spectrum lies in [-1, 1], and gamma = 1 - c:
//   pi_s = D^1/2 f(S) D^-1/2 e_s,   f(x) = c / (1 - gamma x) = a_0 / 2 + sum_k a_k T_k(x),
//   a_k = 2 c / sqrt(1 - gamma^2) r^k,   r = (1 - sqrt(1 - gamma^2)) / gamma.
// The graph is bipartite: T_k(S) e_s lives on the source's own side for even k and on the other one for odd k. So a
// step u_k = 2 D^-1 A u_{k-1} - u_{k-2}, u_0 = e_s, is one half-hop that overwrites u_{k-2}, and only even terms are
// summed:
//   pi[i] = d_i / d_s sum_j a_2j u_2j[i] (a_0 halved) on the own side,   pi = gamma A D^-1 pi on the other.
// The last equation, and what remains of it on the own side for the bound, are computed in double from the rounded pi.
//
//   nodes [n_sources], at most ppr_most_sources, all on `side`; inv_degree, inv_degree_exact [n_nodes]: 1 / d, 0 for a
//   node without edges. restart in (0, 1); terms = J >= 1: a polynomial of degree 2 J. scores [n_sources, last_node -
//   first_node], the nodes in [first_node, last_node); none is below 0. bound [n_sources] or null: |pi_s - scores|_1
//   over all nodes is not above it, rounding included: |c e_s + gamma A D^-1 p - p|_1 / c for p = the scores, plus what
//   rounding may have added to the norm itself.
// Row s depends on nodes[s] alone, not on the others of the batch; the same bits for any number of threads. The CPU
// throws std::out_of_range for a source that is not on the side before anything is written; CUDA fails an assertion.
constexpr int64_t ppr_most_sources = 1024;
template <class T>
struct PprBatch {
  const int64_t* nodes;
  int64_t n_sources;
  Side side;
  const T* inv_degree;
  const double* inv_degree_exact;
  double restart;
  int64_t terms;
};

// Nodes [begin, end) of one side.
struct NodeRange {
  int64_t begin, end;
  FGR_HOST_DEVICE int64_t size() const { return end - begin; }
};
FGR_HOST_DEVICE NodeRange nodes_of(const Bipartite& graph, Side side) {
  return side == Side::users ? NodeRange{0, graph.users.n_rows} : NodeRange{graph.users.n_rows, graph.n_nodes()};
}

// a_0, and the ratio r^2 of one even coefficient to the one before.
struct PprSeries {
  double first, ratio;
  explicit PprSeries(double restart) {
    const double root = std::sqrt(restart * (2 - restart)), r = (1 - restart) / (1 + root);
    first = 2 * restart / root;
    ratio = r * r;
  }
};

// A bound on the rounding of a row's residual, relative to its score: of n_edges products and their sum, in double.
FGR_HOST_DEVICE double ppr_rounding(int64_t n_edges) { return 0x1p-51 * static_cast<double>(n_edges + 8); }
// Of a score to T.
template <class T>
constexpr double unit_roundoff = sizeof(T) == 4 ? 0x1p-24 : 0x1p-53;
// The bound's sums, each of them of positive numbers in double, are off by less than this factor.
constexpr double ppr_sum_margin = 1 + 0x1p-24;
constexpr int64_t ppr_sum_rows = 256;  // rows that are added up on their own, before their sums are

// The workspace for `width` columns, a source each; those beyond n_sources are zero.
template <class T>
struct PprSpace {
  T* u;              // [n_nodes, width] u_k on one side, u_{k-1} on the other
  T* sum;            // [nodes of the larger side, width] of a_2j u_2j
  double* scores;    // [n_nodes, width] the scores, rounded to T, then the residual on the own side
  double* source;    // [width] 1 / degree of the source, 0 without edges
  double* row_sums;  // [blocks of ppr_sum_rows nodes, width]
  double* partial;   // a hop's on a device
  int64_t bytes;

  PprSpace(void* workspace, const Bipartite& graph, int64_t width) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    const int64_t n_users = graph.users.n_rows, n_items = graph.items.n_rows;
    u = arena.take<T>(graph.n_nodes() * width);
    sum = arena.take<T>((n_users > n_items ? n_users : n_items) * width);
    scores = arena.take<double>(graph.n_nodes() * width);
    source = arena.take<double>(width);
    row_sums = arena.take<double>((graph.n_nodes() / ppr_sum_rows + 1) * width);
    partial = arena.take<double>(graph.schedule.n_split * width);
    bytes = arena.used;
  }
};

namespace cpu {
template <class T>  // float, double
int64_t ppr_workspace_bytes(const Bipartite& graph, int64_t n_sources);
template <class T>
void ppr(const Bipartite& graph, const PprBatch<T>& batch, int64_t first_node, int64_t last_node, T* scores,
         double* bound, void* workspace, int threads);
}  // namespace cpu
namespace cuda {
template <class T>
int64_t ppr_workspace_bytes(const Bipartite& graph, int64_t n_sources);
template <class T>
void ppr(const Bipartite& graph, const PprBatch<T>& batch, int64_t first_node, int64_t last_node, T* scores,
         double* bound, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
