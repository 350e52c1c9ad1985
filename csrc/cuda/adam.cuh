// Adam's update of one value, for the kernels that carry it: see fgr/adam_step.h.
#pragma once

#include "cuda/device.cuh"
#include "fgr/adam_step.h"

namespace fgr::cuda {

// The constants of one step, computed in double and rounded once.
template <class A>
struct AdamRates {
  A beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay, step_size, inv_sqrt_bias2;
};

template <class A>
__device__ __forceinline__ AdamRates<A> adam_rates(const AdamOptions& o, double lr, int64_t step) {
  const double t = static_cast<double>(step);
  return {static_cast<A>(o.beta1),
          static_cast<A>(1 - o.beta1),
          static_cast<A>(o.beta2),
          static_cast<A>(1 - o.beta2),
          static_cast<A>(o.eps),
          static_cast<A>(o.weight_decay),
          static_cast<A>(lr / (1 - pow(o.beta1, t))),
          static_cast<A>(1 / sqrt(1 - pow(o.beta2, t)))};
}

template <class A>
__device__ __forceinline__ void adam_update(A& param, A grad, A& exp_avg, A& exp_avg_sq, const AdamRates<A>& r) {
  const A g = fused(r.weight_decay, param, grad);
  exp_avg = fused(r.beta1, exp_avg, r.one_minus_beta1 * g);
  exp_avg_sq = fused(r.beta2, exp_avg_sq, r.one_minus_beta2 * g * g);
  param -= r.step_size * exp_avg / fused(static_cast<A>(sqrt(exp_avg_sq)), r.inv_sqrt_bias2, r.eps);
}

}  // namespace fgr::cuda
