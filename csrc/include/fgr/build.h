// Building a graph from edges, on the CPU, by counting sort: linear time, no comparison sort; beside the output 8 bytes
// an edge (12 with weights) for the time of a call. The same result for any number of threads.
#pragma once

#include "fgr/types.h"

namespace fgr::cpu {

// Sorts edges (rows[e], cols[e], weight[e]) stably by row.
//   indptr [n_rows + 1], indices [n_edges], out_weight [n_edges] (null with weight), all overwritten.
// I = int32_t or int64_t. Throws std::out_of_range, naming the position, for an id outside [0, n_rows) or [0, n_cols).
template <class I>
void bucket_edges(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
                  int64_t* indptr, int32_t* indices, float* out_weight, int threads);

// The transpose of a CSR; the rows of the result are sorted (stable in the rows of the
// input).
//   indptr_t [n_cols + 1], indices_t [n_edges], weight_t [n_edges] or null, all overwritten.
void transpose(const Csr& in, int64_t* indptr_t, int32_t* indices_t, float* weight_t, int threads);

// Merges equal neighbours within each row in place, adding their weights; returns the number of edges left, which then
// lie in indices[0, that number).
int64_t merge_duplicates(int64_t* indptr, int32_t* indices, float* weight, int64_t n_rows);

// Throws std::invalid_argument unless indptr is monotone from 0 and the columns lie in [0, n_cols).
void check_csr(const int64_t* indptr, const int32_t* indices, int64_t n_rows, int64_t n_cols, int64_t n_edges);

// Walker's alias table of every row of a weighted CSR (common/walk.h says what a cell is): alias [n_edges],
// overwritten. An edge's probability is off by at most 2^-32, and the rounding of a row's sum in double. Linear time;
// the same bits for any number of threads.
void alias_table(const Csr& in, uint64_t* alias, int threads);

}  // namespace fgr::cpu
