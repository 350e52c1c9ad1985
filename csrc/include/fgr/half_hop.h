// One side's sums over its neighbours: y = diag(left) M diag(right) x + base, with M = R for the users and R^T for the
// items.
#pragma once

#include "fgr/types.h"

namespace fgr {

// x [nodes of the other side, dim], y [nodes of `side`, dim], row-major, contiguous; y is overwritten and may not
// overlap x. left [nodes of `side`], right [nodes of the other side], either may be null (= 1); base [nodes of `side`,
// dim] may be null (= 0), or y itself. Sums run in an order that the row's edges and dim decide (on the CPU edge by
// edge), in the accumulator type: the same bits for any number of threads. Rows without edges become 0. Any size may be
// 0. Workspace: the device's parts of split rows; the CPU needs none.
template <class T>
int64_t half_hop_workspace_bytes(const Bipartite& graph, int64_t dim) {
  return graph.schedule.n_split * dim * static_cast<int64_t>(sizeof(acc_t<T>));
}

namespace cpu {
// T = float, double, bf16.
template <class T>
void half_hop(const Bipartite& graph, Side side, const T* x, int64_t dim, const acc_t<T>* left, const acc_t<T>* right,
              const T* base, T* y, void* workspace, int threads);
}  // namespace cpu

namespace cuda {
// The same on a device; every pointer is device memory, stream is a cudaStream_t.
template <class T>
void half_hop(const Bipartite& graph, Side side, const T* x, int64_t dim, const acc_t<T>* left, const acc_t<T>* right,
              const T* base, T* y, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
