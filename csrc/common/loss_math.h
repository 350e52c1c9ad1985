// Scalar pieces of the losses, shared by both backends.
#pragma once

#include <cmath>

#include "fgr/types.h"

namespace fgr {

// The pairwise losses (see pair_loss.h): a negative adds pair_loss_at(kind, x), x its score, for bpr and max_margin
// less the positive's, for max_margin plus the margin.
enum class PairLoss : int { bpr = 0, binary = 1, max_margin = 2 };

// log(1 + exp(x)) without overflow, and its derivative.
template <class A>
FGR_HOST_DEVICE A softplus(A x) {
  return (x > A(0) ? x : A(0)) + log1p(exp(x > A(0) ? -x : x));
}
template <class A>
FGR_HOST_DEVICE A sigmoid(A x) {
  const A e = exp(x > A(0) ? -x : x);
  return (x > A(0) ? A(1) : e) / (A(1) + e);
}

template <class A>
FGR_HOST_DEVICE A pair_loss_at(PairLoss kind, A x) {
  return kind == PairLoss::max_margin ? (x <= A(0) ? A(0) : x) : softplus(x);  // NaN stays NaN
}
// Its derivative; of the hinge at 0: 0.
template <class A>
FGR_HOST_DEVICE A pair_slope_at(PairLoss kind, A x) {
  return kind == PairLoss::max_margin ? (x > A(0) ? A(1) : x <= A(0) ? A(0) : x) : sigmoid(x);
}

}  // namespace fgr
