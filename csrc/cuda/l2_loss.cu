#include "cuda/device.cuh"
#include "fgr/l2_loss.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 128;

template <class T>
__global__ void rows_kernel(const T* emb, int64_t n_rows, int64_t dim, const int64_t* ids, int64_t n, double* row) {
  const int64_t i = global_warp();
  if (i >= n) return;
  const int64_t id = checked_id(ids[i], -1, n_rows, "ids");
  const acc_t<T> sum = id < 0 ? acc_t<T>(0) : warp_dot(emb + id * dim, emb + id * dim, dim);
  if (lane() == 0) row[i] = static_cast<double>(sum);
}

}  // namespace

template <class T>
void l2_loss(const T* emb, int64_t n_rows, int64_t dim, const int64_t* ids, int64_t n, acc_t<T>* loss, void* workspace,
             void* stream) {
  double* row = static_cast<double*>(workspace);
  launch("l2_loss", rows_kernel<T>, blocks_for(n, block_threads / warp), block_threads, 0, stream, emb, n_rows, dim,
         ids, n, row);
  launch("l2_loss", ordered_sum<acc_t<T>>, 1, 256, 0, stream, row, n, 0.5, loss, false);
}

#define FGR_INSTANTIATE(T) \
  template void l2_loss<T>(const T*, int64_t, int64_t, const int64_t*, int64_t, acc_t<T>*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
