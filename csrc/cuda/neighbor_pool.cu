#include "cuda/listed_rows.cuh"
#include "fgr/neighbor_pool.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

// A warp a list. Only of those that are not skipped is a weight looked at.
template <class T, int V>
__global__ void __launch_bounds__(block_threads)
    pool_kernel(const T* x, int64_t n_rows, int64_t dim, const int64_t* ids, const acc_t<T>* weights, int64_t n,
                int64_t width, T* out) {
  using A = acc_t<T>;
  const int64_t i = global_warp();
  if (i >= n) return;
  const auto entry = [&](int64_t t) {
    Listed<A> term;
    term.row = static_cast<int32_t>(checked_id(ids[t], -1, n_rows, "ids"));
    if (term.row >= 0) term.weight = weights[t];
    return term;
  };
  for (int64_t c0 = 0; c0 < dim; c0 += warp * V) {
    const int64_t c = c0 + lane() * V;
    A acc[V] = {};
    add_listed<T>(x + c, dim, c < dim, i * width, (i + 1) * width, entry, acc);
    if (c >= dim) continue;
    T row[V];
#pragma unroll
    for (int v = 0; v < V; ++v) store(row[v], acc[v]);
    write(out + i * dim + c, row);
  }
}

}  // namespace

template <class T>
void neighbor_pool(const T* x, int64_t n_rows, int64_t dim, const int64_t* ids, const acc_t<T>* weights, int64_t n,
                   int64_t width, T* out, void* stream) {
  check_listed("neighbor_pool", n_rows, dim * static_cast<int64_t>(sizeof(T)));
  if (dim == 0) return;
  with_columns<T>(dim, {x, out}, [&](auto columns) {
    launch("neighbor_pool", pool_kernel<T, columns.value>, blocks_for(n, block_threads / warp), block_threads, 0,
           stream, x, n_rows, dim, ids, weights, n, width, out);
  });
}

#define FGR_INSTANTIATE(T)                                                                                          \
  template void neighbor_pool<T>(const T*, int64_t, int64_t, const int64_t*, const acc_t<T>*, int64_t, int64_t, T*, \
                                 void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
