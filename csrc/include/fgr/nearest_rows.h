// The rows of a sparse matrix that are most alike given ones: products of sparse rows, in double, and what a similarity
// makes of them.
#pragma once

#include "fgr/types.h"

namespace fgr::cpu {

// A sparse matrix by rows: row r has entries indptr[r] .. indptr[r + 1]; value null: all are 1.
struct SparseRows {
  const int64_t* indptr;
  const int32_t* indices;
  const double* value;
  int64_t n_rows;
};

// Of row a and row b with the product p = <a, b>; of_a, of_b are numbers of the rows.
enum class Likeness : int {
  product = 0,  // p * of_a
  cosine = 1,   // p / (of_a * of_b + shrinkage): the numbers are lengths
  jaccard = 2,  // p / (of_a + of_b - p + shrinkage): sizes
  // Sizes k in a universe of n, p what is in both (Albora et al. 2023, eq. 3), 0 where a k is 0 or n:
  //   (1 - (p (1 - p / k_b) + (k_a - p) (1 - (k_a - p) / (n - k_b))) / (k_a (1 - k_a / n))) * sign(p n / (k_a k_b) - 1)
  sapling = 3,         // n = shrinkage
  sapling_turned = 4,  // the same with a and b exchanged
};

struct Alike {
  Likeness law;
  const double* of_a;  // [a.n_rows]
  const double* of_b;  // [n_b]
  double shrinkage;
};

// For each row of a the k rows of b of the greatest likeness above 0, ties by tie_key(row) ascending:
//   ids, likeness [a.n_rows, k], ascending by id, padded with -1 and 0.
//   b_t: the transpose of b, whose columns are b's rows [n_b].
//   first >= 0: row r of a is row first + r of b, and is left out there.
//   total [a.n_rows] or null: the sum over b's rows that share a column with it, itself included, of
//     |likeness| less |likeness at p = 0|.
// A product adds up in the order of the columns. A result depends on nothing but the row. Throws std::bad_alloc.
void nearest_rows(const SparseRows& a, const SparseRows& b_t, int64_t n_b, const Alike& alike, int64_t first, int64_t k,
                  int32_t* ids, double* likeness, double* total, int threads);

}  // namespace fgr::cpu
