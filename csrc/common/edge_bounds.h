// What is asked of edges before a graph is made of them: maxima, which are the same in any order.
#pragma once

#include <cfloat>

#include "fgr/types.h"

namespace fgr {

// Each -1 where there is none.
struct EdgeBounds {
  int64_t row = -1, col = -1;              // the largest ids
  int64_t from_bad = -1, from_unfit = -1;  // how many edges follow the first that has an id out of range, and the first
                                           // whose weight is less than `least`, infinite or not a number

  // weight null: 1.
  template <class I>
  FGR_HOST_DEVICE void take(const I* rows, const I* cols, const float* weight, int64_t e, int64_t n_edges,
                            int64_t n_rows, int64_t n_cols, float least) {
    const int64_t r = static_cast<int64_t>(rows[e]), c = static_cast<int64_t>(cols[e]);
    const bool inside = r >= 0 && r < n_rows && c >= 0 && c < n_cols;
    const bool fit = weight == nullptr || (weight[e] >= least && weight[e] <= FLT_MAX);
    join({r, c, inside ? -1 : n_edges - 1 - e, fit ? -1 : n_edges - 1 - e});
  }
  FGR_HOST_DEVICE void join(const EdgeBounds& other) {
    row = larger(row, other.row);
    col = larger(col, other.col);
    from_bad = larger(from_bad, other.from_bad);
    from_unfit = larger(from_unfit, other.from_unfit);
  }

 private:
  FGR_HOST_DEVICE static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
};

}  // namespace fgr
