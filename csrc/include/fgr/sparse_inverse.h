// A sparse factor of the inverse of A = R^T R + reg I, and scores by it. On the CPU.
//
// With A = L L^T, A^-1 = L^-T L^-1: row i of L^-1 is the regression of column i of R on those before it. Here it is
// that on the `most` best of them alone, which is the F of this sparsity that minimises |I - F L|_F up to the scale of
// its rows, and scales them so that (F A F^T)_ii = 1 (Kolotilina & Yeremin 1993, "Factorized sparse approximate inverse
// preconditionings I"). F^T F is positive definite whatever is left out, and no row of F depends on another.
#pragma once

#include "fgr/types.h"

namespace fgr::cpu {

// The part of A below the diagonal: indices of row i ascending, below i; diagonal [n_rows].
struct LowerRows {
  const int64_t* indptr;
  const int32_t* indices;
  const float* values;
  const double* diagonal;
  int64_t n_rows;
};

// How many entries the rows of gram_rows have: sizes [n_items].
//   users: R, items: its transpose.
void gram_sizes(const Csr& users, const Csr& items, int64_t most, int64_t* sizes, int threads);

// R^T R below the diagonal. Rows with more than indptr says keep those with the largest |A_ij| / sqrt(A_jj), the lower
// j where they are equal.
//   indptr [n_items + 1]: from gram_sizes; indices, values [indptr[n_items]]: overwritten. Sums in double, in the order
//   of the users.
void gram_rows(const Csr& users, const Csr& items, const double* diagonal, const int64_t* indptr, int32_t* indices,
               float* values, int threads);

// F [n_rows, n_rows], lower triangular. Row i has the min(most, entries of row i) best j of row i of A, as above, and
// i. A pivot below `least`, which no minor of A has but those of an A with entries left out may have, counts as
// `least`.
//   indptr [n_rows + 1]: where the rows begin, of the sizes above; indices, values: overwritten. In double; time
//   O(n_rows most^3 / 6), memory 8 n_rows bytes, and 8 most^2 + 4 n_rows a thread.
void inverse_factor(const LowerRows& a, double least, int64_t most, const int64_t* indptr, int32_t* indices,
                    float* values, int threads);

// scores[b, :] = after * (F^T F (before * r_b)) + own * r_b,   r_b: row b of `rows`.
//   factor: F [any, n_items], weighted, factor_t: its transpose; before, after, own [n_items]; scores [rows.n_rows,
//   n_items]: overwritten. Memory: 9 bytes a row of F and thread.
void factor_scores(const Csr& rows, const Csr& factor, const Csr& factor_t, const float* before, const float* after,
                   const float* own, float* scores, int threads);

}  // namespace fgr::cpu
