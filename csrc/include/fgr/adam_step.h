// One step of Adam (Kingma & Ba 2015, algorithm 1) over n parameters, in one pass and in place:
//   g = grad + weight_decay * param;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
//   param -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).
#pragma once

#include "fgr/types.h"

namespace fgr {

struct AdamOptions {
  double beta1, beta2, eps, weight_decay;
};

// param, grad, exp_avg, exp_avg_sq [n]; step [1]: t >= 1, the number of this step; lr [1].
// T = float, double. The bias corrections are computed in double.
namespace cpu {
template <class T>
void adam_step(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step, const double* lr,
               const AdamOptions& options, int threads);
}
namespace cuda {
template <class T>
void adam_step(T* param, const T* grad, T* exp_avg, T* exp_avg_sq, int64_t n, const int64_t* step, const double* lr,
               const AdamOptions& options, void* stream);
}

}  // namespace fgr
