// Multi-scale diffusion: y = sum_k alphas[k] B^k x with B = diag(left) A diag(right), A = [[0, R], [R^T, 0]]
// (LightGCN, He et al. 2020, eqs. 4 and 8, with left = right = d^-1/2 and alphas = 1 / (K + 1)).
#pragma once

#include "common/arena.h"
#include "common/column_panels.h"
#include "fgr/types.h"

namespace fgr {

// x, y [n_nodes, dim], row-major, contiguous, users first; y is overwritten and may not overlap x or the workspace.
// alphas [n_alphas], n_alphas = K + 1 >= 1; left, right [n_nodes], either may be null (= 1).
// Sums run in an order that the row's edges and dim decide (on the CPU edge by edge), in the accumulator type: the same
// bits for any number of threads. With more than
// one hop the layers in between are stored as T. Rows without edges keep alphas[0] * x. n_nodes, n_edges or dim may be
// 0. Column indices must be in range: checked when the Graph was built, not here.
//
// propagate_dots: dots[k] = <g, B^k x> for k < n_alphas, the gradient of propagate's alphas for an upstream gradient g.
// x, g [n_nodes, dim]; dots [n_alphas] and panels [n_alphas, column_panels(dim)], overwritten: of each panel of
// columns, whose sum in order is the dot.

// The workspace: layers in between (propagate: one from two hops on; propagate_dots: two), the device's parts of split
// rows, and for propagate_dots a double per block of rows and panel of columns.
template <class T>
struct PropagateSpace {
  T* layer[2] = {};
  acc_t<T>* partial;
  double* dots;
  int64_t bytes;

  PropagateSpace(void* workspace, const Bipartite& graph, int64_t dim, int layers) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    for (int i = 0; i < layers; ++i) layer[i] = arena.take<T>(graph.n_nodes() * dim);
    partial = arena.take<acc_t<T>>(graph.schedule.n_split * dim);
    dots = arena.take<double>(layers == 2 ? panel_blocks(graph.n_nodes()) * column_panels(dim) : 0);
    bytes = arena.used;
  }
};
template <class T>
int64_t propagate_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t n_alphas) {
  return PropagateSpace<T>(nullptr, graph, dim, n_alphas > 2 ? 1 : 0).bytes;
}
template <class T>
int64_t propagate_dots_workspace_bytes(const Bipartite& graph, int64_t dim) {
  return PropagateSpace<T>(nullptr, graph, dim, 2).bytes;
}

namespace cpu {
// T = float, double, bf16.
template <class T>
void propagate(const Bipartite& graph, const T* x, int64_t dim, const acc_t<T>* alphas, int64_t n_alphas,
               const acc_t<T>* left, const acc_t<T>* right, T* y, void* workspace, int threads);
template <class T>
void propagate_dots(const Bipartite& graph, const T* x, const T* g, int64_t dim, int64_t n_alphas, const acc_t<T>* left,
                    const acc_t<T>* right, double* panels, acc_t<T>* dots, void* workspace, int threads);
}  // namespace cpu

namespace cuda {
// The same on a device; every pointer is device memory (alphas too), stream is a cudaStream_t.
template <class T>
void propagate(const Bipartite& graph, const T* x, int64_t dim, const acc_t<T>* alphas, int64_t n_alphas,
               const acc_t<T>* left, const acc_t<T>* right, T* y, void* workspace, void* stream);
template <class T>
void propagate_dots(const Bipartite& graph, const T* x, const T* g, int64_t dim, int64_t n_alphas, const acc_t<T>* left,
                    const acc_t<T>* right, double* panels, acc_t<T>* dots, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
