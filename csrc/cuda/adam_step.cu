#include "cuda/adam.cuh"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

template <class T>
__global__ void adam_kernel(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step,
                            const double* lr, AdamOptions o) {
  FGR_SHARED(AdamRates<T>, rates);
  if (threadIdx.x == 0) {  // double-precision powers once a block
    rates = adam_rates<T>(o, *lr, *step);
  }
  __syncthreads();
  const int64_t i = global_thread();
  if (i < n) adam_update(param[i], grad[i], exp_avg[i], exp_avg_sq[i], rates);
}

}  // namespace

template <class T>
void adam_step(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step, const double* lr,
               const AdamOptions& options, void* stream) {
  launch("adam_step", adam_kernel<T>, blocks_for(n, block_threads), block_threads, 0, stream, param, grad, exp_avg,
         exp_avg_sq, n, step, lr, options);
}

template void adam_step<float>(float*, const float*, float*, float*, int64_t, const int64_t*, const double*,
                               const AdamOptions&, void*);
template void adam_step<double>(double*, const double*, double*, double*, int64_t, const int64_t*, const double*,
                                const AdamOptions&, void*);

}  // namespace fgr::cuda
