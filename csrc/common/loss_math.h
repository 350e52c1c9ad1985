// Scalar pieces of the losses, shared by both backends.
#pragma once

#include <cmath>

#include "fgr/types.h"

namespace fgr {

// The pairwise losses differ only in these two functions (see pair_loss.h).
enum class PairLoss : int { bpr = 0, binary = 1 };

// log(1 + exp(x)) without overflow, and its derivative.
template <class A>
FGR_HOST_DEVICE A softplus(A x) {
  return (x > A(0) ? x : A(0)) + log1p(exp(x > A(0) ? -x : x));
}
template <class A>
FGR_HOST_DEVICE A sigmoid(A x) {
  const A e = exp(x > A(0) ? -x : x);
  return x > A(0) ? A(1) / (A(1) + e) : e / (A(1) + e);
}

}  // namespace fgr
