#include "cuda/hop.cuh"
#include "cuda/panel_sums.cuh"
#include "fgr/propagate.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

template <class T>
__global__ void scale_kernel(const T* x, const acc_t<T>* alpha, T* y, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) store(y[i], *alpha * load(x[i]));
}

// What propagate_dots adds up.
template <class T>
struct RowsOfBoth {
  const T *g, *power;
  int64_t dim;

  __device__ double operator()(int64_t r, int64_t c) const {
    return static_cast<double>(load(g[r * dim + c])) * static_cast<double>(load(power[r * dim + c]));
  }
};

}  // namespace

template <class T>
void propagate(const Bipartite& graph, const T* x, int64_t dim, const acc_t<T>* alphas, int64_t n_alphas,
               const acc_t<T>* left, const acc_t<T>* right, T* y, void* workspace, void* stream) {
  const int64_t hops = n_alphas - 1;
  if (hops == 0) {
    const int64_t n = graph.n_nodes() * dim;
    launch("propagate", scale_kernel<T>, blocks_for(n, block_threads), block_threads, 0, stream, x, alphas, y, n);
    return;
  }
  const PropagateSpace<T> space(workspace, graph, dim, hops > 1 ? 1 : 0);
  Hop<T> h;
  h.graph = graph;
  h.left = left;
  h.base = h.x = x;
  h.col_scale = right;
  h.gain = alphas + hops;
  h.partial = space.partial;
  h.dim = dim;
  for (int64_t k = hops - 1; k >= 0; --k) {
    T* to = k % 2 == 0 ? y : space.layer[0];  // the last hop, k = 0, lands in y
    h.out = k > 0 ? right : nullptr;
    h.beta = alphas + k;
    hop("propagate", h, StoreRow<T>{to, dim}, aligned(to), stream);
    h.x = to;
    h.col_scale = h.gain = nullptr;
  }
}

template <class T>
void propagate_dots(const Bipartite& graph, const T* x, const T* g, int64_t dim, int64_t n_alphas, const acc_t<T>* left,
                    const acc_t<T>* right, double* panels, acc_t<T>* dots, void* workspace, void* stream) {
  const PropagateSpace<T> space(workspace, graph, dim, 2);
  Hop<T> h;
  h.graph = graph;
  h.left = left;
  h.col_scale = right;
  h.x = x;
  h.partial = space.partial;
  h.dim = dim;
  for (int64_t k = 0; k < n_alphas; ++k) {
    if (k > 0) {
      T* to = space.layer[k % 2];
      hop("propagate_dots", h, StoreRow<T>{to, dim}, true, stream);
      h.x = to;
    }
    panel_sums("propagate_dots", graph.n_nodes(), dim, RowsOfBoth<T>{g, h.x, dim}, space.dots,
               panels + k * column_panels(dim), 1.0, dots + k, false, stream);
  }
}

#define FGR_INSTANTIATE(T)                                                                                   \
  template void propagate<T>(const Bipartite&, const T*, int64_t, const acc_t<T>*, int64_t, const acc_t<T>*, \
                             const acc_t<T>*, T*, void*, void*);                                             \
  template void propagate_dots<T>(const Bipartite&, const T*, const T*, int64_t, int64_t, const acc_t<T>*,   \
                                  const acc_t<T>*, double*, acc_t<T>*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
