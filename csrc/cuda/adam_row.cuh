// A hop whose result goes to Adam from registers.
#pragma once

#include "cuda/adam.cuh"
#include "cuda/hop.cuh"
#include "fgr/train_step.h"

namespace fgr::cuda {

template <class A>
__global__ void rates_kernel(AdamOptions options, const double* lr, const int64_t* step, AdamRates<A>* rates) {
  *rates = adam_rates<A>(options, *lr, *step);
}

// A hop's sink that takes the result as the gradient of param.
template <class T>
struct AdamRow {
  static constexpr int ahead = 4, blocks = sizeof(T) == 4 ? 4 : sizeof(T) == 2 ? 3 : 2;
  StepModel<T> model;
  const AdamRates<acc_t<T>>* rates;

  template <int V>
  __device__ void operator()(int64_t, int64_t node, int64_t c, const acc_t<T> (&grad)[V]) const {
    using A = acc_t<T>;
    const int64_t at = node * model.dim + c;
    const AdamRates<A> now = *rates;
    A param[V], exp_avg[V], exp_avg_sq[V];
    read(model.emb + at, param);
    read<true>(model.exp_avg + at, exp_avg);
    read<true>(model.exp_avg_sq + at, exp_avg_sq);
#pragma unroll
    for (int j = 0; j < V; ++j) adam_update(param[j], grad[j], exp_avg[j], exp_avg_sq[j], now);
    write(model.emb + at, param);
    write<true>(model.exp_avg + at, exp_avg);
    write<true>(model.exp_avg_sq + at, exp_avg_sq);
    if (model.shadow == nullptr) return;
    const A scale = model.right != nullptr ? model.right[node] : A(1);
    T row[V];
#pragma unroll
    for (int j = 0; j < V; ++j) store(row[j], scale * param[j]);
    write(model.shadow + at, row);
  }
};

}  // namespace fgr::cuda
