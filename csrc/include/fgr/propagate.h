// Multi-scale diffusion: y = sum_k alphas[k] B^k x with B = diag(left) A diag(right), A = [[0, R], [R^T, 0]]
// (LightGCN, He et al. 2020, eqs. 4 and 8, with left = right = d^-1/2 and alphas = 1 / (K + 1)).
#pragma once

#include "fgr/types.h"

namespace fgr {

// x, y [n_nodes, dim], row-major, contiguous, users first; y is overwritten and may not overlap x or the workspace.
// alphas [n_alphas], n_alphas = K + 1 >= 1; left, right [n_nodes], either may be null (= 1).
// Sums run in edge order within a row, in the accumulator type: the same bits for any number of threads. With more than
// one hop the layers in between are stored as T. Rows without edges keep alphas[0] * x. n_nodes, n_edges or dim may be
// 0. Column indices must be in range: checked when the Graph was built, not here.
//
// Bytes of workspace: one [n_nodes, dim] buffer of T from two hops on, else none.
inline int64_t propagate_workspace_bytes(int64_t n_nodes, int64_t dim, int64_t n_alphas, int64_t element_size) {
  return n_alphas > 2 ? n_nodes * dim * element_size : 0;
}

// dots[k] = <g, B^k x> for k < n_alphas: the gradient of propagate's alphas for an upstream gradient g.
// x, g [n_nodes, dim]; dots [n_alphas], overwritten. Summed in double in a fixed order.
// Bytes of workspace: two [n_nodes, dim] buffers of T and one double per block of dots_block_rows rows, in this order.
constexpr int64_t dots_block_rows = 256;
inline int64_t propagate_dots_workspace_bytes(int64_t n_nodes, int64_t dim, int64_t element_size) {
  const int64_t layer = (n_nodes * dim * element_size + 15) / 16 * 16;
  return 2 * layer + (n_nodes + dots_block_rows - 1) / dots_block_rows * static_cast<int64_t>(sizeof(double));
}

namespace cpu {
// T = float, double, bf16.
template <class T>
void propagate(const Bipartite& graph, const T* x, int64_t dim, const acc_t<T>* alphas, int64_t n_alphas,
               const acc_t<T>* left, const acc_t<T>* right, T* y, void* workspace, int threads);
template <class T>
void propagate_dots(const Bipartite& graph, const T* x, const T* g, int64_t dim, int64_t n_alphas, const acc_t<T>* left,
                    const acc_t<T>* right, acc_t<T>* dots, void* workspace, int threads);
}  // namespace cpu

namespace cuda {
// The same on a device; every pointer is device memory (alphas too), stream is a cudaStream_t.
template <class T>
void propagate(const Bipartite& graph, const T* x, int64_t dim, const acc_t<T>* alphas, int64_t n_alphas,
               const acc_t<T>* left, const acc_t<T>* right, T* y, void* workspace, void* stream);
template <class T>
void propagate_dots(const Bipartite& graph, const T* x, const T* g, int64_t dim, int64_t n_alphas, const acc_t<T>* left,
                    const acc_t<T>* right, acc_t<T>* dots, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
