#include "cuda/device.cuh"
#include "fgr/adam_step.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

template <class T>
__global__ void adam_kernel(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step,
                            const double* lr, AdamOptions o) {
  __shared__ double shared_scalars[2];
  if (threadIdx.x == 0) {  // double-precision powers once a block
    const double t = static_cast<double>(*step);
    shared_scalars[0] = *lr / (1 - pow(o.beta1, t));
    shared_scalars[1] = 1 / sqrt(1 - pow(o.beta2, t));
  }
  __syncthreads();
  const int64_t i = global_thread();
  if (i >= n) return;
  const T step_size = static_cast<T>(shared_scalars[0]), inv_sqrt_bias2 = static_cast<T>(shared_scalars[1]);
  const T g = grad[i] + static_cast<T>(o.weight_decay) * param[i];
  const T m = static_cast<T>(o.beta1) * exp_avg[i] + static_cast<T>(1 - o.beta1) * g;
  const T v = static_cast<T>(o.beta2) * exp_avg_sq[i] + static_cast<T>(1 - o.beta2) * g * g;
  exp_avg[i] = m;
  exp_avg_sq[i] = v;
  param[i] -= step_size * m / (sqrt(v) * inv_sqrt_bias2 + static_cast<T>(o.eps));
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
