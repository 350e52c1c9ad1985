#include "cuda/adam.cuh"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256, per_thread = 4;

template <class T>
__global__ void adam_kernel(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step,
                            const double* lr, AdamOptions o) {
  FGR_SHARED(AdamRates<T>, rates);
  if (threadIdx.x == 0) {  // double-precision powers once a block
    rates = adam_rates<T>(o, *lr, *step);
  }
  __syncthreads();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * block_threads * per_thread + threadIdx.x;
#pragma unroll
  for (int e = 0; e < per_thread; ++e) {
    const int64_t i = first + e * block_threads;
    if (i < n) adam_update(param[i], grad[i], exp_avg[i], exp_avg_sq[i], rates);
  }
}

}  // namespace

template <class T>
void adam_step(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step, const double* lr,
               const AdamOptions& options, void* stream) {
  launch("adam_step", adam_kernel<T>, blocks_for(n, block_threads * per_thread), block_threads, 0, stream, param, grad,
         exp_avg, exp_avg_sq, n, step, lr, options);
}

template void adam_step<float>(float*, const float*, float*, float*, int64_t, const int64_t*, const double*,
                               const AdamOptions&, void*);
template void adam_step<double>(double*, const double*, double*, double*, int64_t, const int64_t*, const double*,
                                const AdamOptions&, void*);

}  // namespace fgr::cuda
