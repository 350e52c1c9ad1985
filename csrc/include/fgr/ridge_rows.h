// Ridge regressions of many rows on the vectors that their entries name: half a step of implicit ALS (Hu, Koren &
// Volinsky 2008), or a pass of its block coordinate descent (Rendle et al. 2021, "iALS++").
#pragma once

#include "fgr/types.h"

namespace fgr::cpu {

// x_r = argmin sum_{i in row r} w_ri (t_ri - <x, v_i>)^2 + sum_c (base_c + ridge_r) x_c^2
struct RidgeRows {
  Csr rows;             // weight: w >= 0, null: 1
  const float* target;  // [n_edges] t, null: 1
  const float* v;       // [n_cols, dim]
  int64_t dim;          // a multiple of 16: columns beyond those that there are hold 0, in v, and in x if block < dim
  const float* base;    // [dim]
  const float* ridge;   // [n_rows]; base_c + ridge_r > 0
  // Columns that are solved for at once, a multiple of 16. Below dim, rows of more entries than that are solved for
  // the first `block` columns with all others as they are, then for the next, once through; shorter ones as a whole.
  int64_t block;
};

// x [n_rows, dim]; where block < dim it is where a pass starts. In float32; a row of x depends on that row's entries
// alone, and a row without entries is 0. By Cholesky's factor of the matrix of the columns or, where a row has fewer
// entries than columns, of that of the entries. Returns -1, or the first row for whose matrix rounding leaves no
// factor, or whose x is beyond float32; x is then undefined. Memory: some dim^2 + degree floats a thread. Throws
// std::bad_alloc.
int64_t ridge_rows(const RidgeRows& job, float* x, int threads);

}  // namespace fgr::cpu
