// Sparse linear methods (Ning & Karypis 2011, "SLIM: Sparse linear methods for top-N recommender systems"): every
// item's column regressed on all others', an elastic net with weights >= 0, by coordinate descent.
#pragma once

#include <utility>
#include <vector>

#include "fgr/types.h"

namespace fgr::cpu {

struct SlimOptions {
  double l1;           // >= 0
  double l2;           // > 0
  double tolerance;    // > 0
  int64_t neighbours;  // 0: all items may enter a column, else the so many of the greatest cosine, ties by tie_key
  int64_t most_sweeps;
};

// Column j minimises f(w) = 1/2 |x_j - R w|^2 + l1 sum_i w_i + l2/2 |w|^2 over w >= 0, w_j = 0, x_j = R's column j.
// It ends where the duality gap is at most tolerance * |x_j|^2. With c_i = <x_i, x_j - R w> the gap is
//   sum_i (max(c_i - l1, 0) - l2 w_i)^2 / (2 l2) + w_i max(l1 - c_i, 0),
// the difference of f and Fenchel's dual at x_j - R w. Items with <x_i, x_j> <= l1 have w_i = 0 and are never looked
// at: c_i <= <x_i, x_j>, as nothing is negative.
struct Slim {
  struct Column {
    std::vector<std::pair<int32_t, float>> entries;  // (item, w > 0), ascending
    double gap = 0;                                  // over |x_j|^2
    bool converged = true;
  };
  std::vector<Column> columns;

  int64_t n_entries() const;
  int64_t n_open() const;  // columns that most_sweeps did not bring to an end
  double worst_gap() const;
  // CSR of the transpose of W: indptr [n_items + 1], ids and values [n_entries].
  void copy(int64_t* indptr, int32_t* ids, float* values) const;
};

// In double; a column depends on nothing but the graph and the options. Memory: 8 bytes a node and thread, and the
// result. Throws std::bad_alloc.
Slim slim(const Bipartite& graph, const SlimOptions& options, int threads);

}  // namespace fgr::cpu
