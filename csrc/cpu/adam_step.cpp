#include "fgr/adam_step.h"

#include <cmath>

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

AdamScalars adam_scalars(const AdamOptions& o, double lr, int64_t step) {
  const double t = static_cast<double>(step);
  return {
      o.beta1, o.beta2, o.eps, o.weight_decay, lr / (1 - std::pow(o.beta1, t)), 1 / std::sqrt(1 - std::pow(o.beta2, t)),
      o.beta1, o.beta2};
}

template <class T>
void adam_step(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step, const double* lr,
               const AdamOptions& o, int threads) {
  const AdamScalars s = adam_scalars(o, *lr, *step);
  parallel_for(n, adam_cost, threads, [&](int64_t begin, int64_t end) {
    dense_kernels<T>().adam(param + begin, grad + begin, exp_avg + begin, exp_avg_sq + begin, end - begin, s);
  });
}

template void adam_step<float>(float*, const float*, float*, float*, int64_t, const int64_t*, const double*,
                               const AdamOptions&, int);
template void adam_step<double>(double*, const double*, double*, double*, int64_t, const int64_t*, const double*,
                                const AdamOptions&, int);

}  // namespace fgr::cpu
