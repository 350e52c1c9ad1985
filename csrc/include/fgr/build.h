// Building a graph from edges. Ids are checked by edge_bounds; what sorts them takes them as they are.
#pragma once

#include "common/edge_bounds.h"
#include "fgr/types.h"

// On the CPU, by counting sort: linear time, no comparison sort; beside the output 8 bytes an edge (12 with weights)
// for the time of a call, beyond 2^26 edges for about an eighth of them or 2^26. The same result for any number of
// threads.
namespace fgr::cpu {

// out [1]: of edges (rows[e], cols[e], weight[e]) whose ids are to lie in [0, n_rows) and [0, n_cols). weight: null or
// [n_edges]. I = int32_t or int64_t.
template <class I>
void edge_bounds(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
                 float least, EdgeBounds* out, int threads);

// Sorts edges (rows[e], cols[e], weight[e]) stably by row.
//   indptr [n_rows + 1], indices [n_edges], out_weight [n_edges] (null with weight), all overwritten.
// I = int32_t or int64_t.
template <class I>
void bucket_edges(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t* indptr,
                  int32_t* indices, float* out_weight, int threads);

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

// On a device, by radix sort (csrc/cuda/build_graph.cu): the same graph as the CPU's, to the bit.
namespace fgr::cuda {

template <class I>
void edge_bounds(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
                 float least, EdgeBounds* out, void* stream);

// Bytes for sort_edges and what follows it, or for transpose.
int64_t sort_edges_workspace_bytes(int64_t n_edges, bool weighted);

// Sorts edges by row and column, merges equal ones and adds their weights in the order of the edges. What is left lies
// in the workspace, kept [1] says how much. Returns in which of the workspace's two halves.
template <class I>
int sort_edges(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
               int64_t* kept, void* workspace, void* stream);

// The CSR of the `kept` edges that sort_edges left in a half of its workspace.
//   indptr [n_rows + 1], indices [kept], weight [kept] or null as the edges' was, all overwritten.
void csr_of_sorted(int64_t n_edges, int64_t kept, int half, int64_t n_rows, int64_t n_cols, int64_t* indptr,
                   int32_t* indices, float* weight, void* workspace, void* stream);

// The transpose of a CSR; the rows of the result are sorted.
//   indptr_t [n_cols + 1], indices_t [n_edges], weight_t [n_edges] or null as in.weight, all overwritten.
void transpose(const Csr& in, int64_t n_edges, int64_t* indptr_t, int32_t* indices_t, float* weight_t, void* workspace,
               void* stream);

}  // namespace fgr::cuda
