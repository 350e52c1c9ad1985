// Personalized PageRank by forward push (Andersen, Chung & Lang 2006, "Local graph partitioning using PageRank
// vectors", with the walk of ppr.h in place of the lazy one): sparse vectors, for graphs whose dense ones do not fit.
#pragma once

#include <utility>
#include <vector>

#include "fgr/types.h"

namespace fgr::cpu {

// From p = 0, r = e_s, a node v with r(v) > epsilon d(v) is pushed, the one that has waited longest first:
//   p(v) += c r(v),   r(w) += (1 - c) r(v) weight(v, w) / d(v) for its neighbours w,   r(v) = 0.
// pi_s = p + sum_v r(v) pi_v holds throughout, and d(v) pi_v(w) = d(w) pi_w(v), so that at the end
//   0 <= pi_s(v) - p(v) <= epsilon d(v).
// The pushed nodes' degrees, counted once a push, add up to at most 1 / (c epsilon). Memory: 4 bytes a node and thread,
// and what the touched nodes take.
// A source without edges: p = e_s. In double; a source's result depends on nothing but the source.
struct PprPush {
  std::vector<std::vector<std::pair<int64_t, double>>> rows;  // a source: (node, p), ascending by node, p > 0

  int64_t n_entries() const {
    int64_t n = 0;
    for (const auto& row : rows) n += static_cast<int64_t>(row.size());
    return n;
  }
  // CSR: indptr [n_sources + 1], ids and scores [n_entries].
  void copy(int64_t* indptr, int64_t* ids, double* scores) const;
};

// nodes [n_sources]; inv_degree [n_nodes], 0 without edges; restart in (0, 1), epsilon > 0. Throws std::out_of_range
// for a node out of range, std::bad_alloc.
PprPush ppr_push(const Bipartite& graph, const double* inv_degree, const int64_t* nodes, int64_t n_sources,
                 double restart, double epsilon, int threads);

}  // namespace fgr::cpu
