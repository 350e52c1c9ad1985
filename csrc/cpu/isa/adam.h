// Adam over one stretch of parameters.
#pragma once

#include "cpu/isa/levels.h"

namespace {

using fgr::cpu::AdamScalars;

template <class A>
void adam(A* __restrict param, const A* __restrict grad, A* __restrict exp_avg, A* __restrict exp_avg_sq, int64_t n,
          const AdamScalars& s) {
  const A b1 = static_cast<A>(s.carry1), b2 = static_cast<A>(s.carry2), eps = static_cast<A>(s.eps);
  const A c1 = static_cast<A>(1 - s.beta1), c2 = static_cast<A>(1 - s.beta2), decay = static_cast<A>(s.weight_decay);
  const A step_size = static_cast<A>(s.step_size), inv_sqrt_bias2 = static_cast<A>(s.inv_sqrt_bias2);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const A g = grad[i] + decay * param[i];
    const A m = b1 * exp_avg[i] + c1 * g;
    const A v = b2 * exp_avg_sq[i] + c2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    A root;
    if constexpr (sizeof(A) == 4) {
      root = __builtin_sqrtf(v);
    } else {
      root = __builtin_sqrt(v);
    }
    param[i] -= step_size * m / (root * inv_sqrt_bias2 + eps);
  }
}

}  // namespace
