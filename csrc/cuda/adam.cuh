// Adam's update of one value, for the kernels that carry it: see fgr/adam_step.h.
#pragma once

#include "cuda/device.cuh"
#include "fgr/adam_step.h"

namespace fgr::cuda {

// What changes from step to step.
struct AdamRates {
  double step_size, inv_sqrt_bias2;
};

__device__ __forceinline__ AdamRates adam_rates(const AdamOptions& o, double lr, int64_t step) {
  const double t = static_cast<double>(step);
  return {lr / (1 - pow(o.beta1, t)), 1 / sqrt(1 - pow(o.beta2, t))};
}

template <class A>
__device__ __forceinline__ void adam_update(A& param, A grad, A& exp_avg, A& exp_avg_sq, const AdamRates& rates,
                                            const AdamOptions& o) {
  const A g = grad + static_cast<A>(o.weight_decay) * param;
  exp_avg = static_cast<A>(o.beta1) * exp_avg + static_cast<A>(1 - o.beta1) * g;
  exp_avg_sq = static_cast<A>(o.beta2) * exp_avg_sq + static_cast<A>(1 - o.beta2) * g * g;
  param -= static_cast<A>(rates.step_size) * exp_avg /
           (sqrt(exp_avg_sq) * static_cast<A>(rates.inv_sqrt_bias2) + static_cast<A>(o.eps));
}

}  // namespace fgr::cuda
