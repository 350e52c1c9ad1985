// The update of the rows that a batch touched, by the optimizers that leave all others as they are; a warp a row.
#pragma once

#include "common/column_panels.h"
#include "cuda/adam_row.cuh"
#include "fgr/train_step.h"

namespace fgr::cuda {

// squares [rows, panels]: of the rows of grad [rows, dim], by panels; a thread a panel.
template <class A>
__global__ void squares_kernel(const A* grad, const int32_t* n_rows, int64_t dim, double* squares) {
  const int64_t panels = column_panels(dim), i = global_thread();
  if (i >= *n_rows * panels) return;
  const int64_t first = i % panels * column_panel, last = first + column_panel < dim ? first + column_panel : dim;
  const A* row = grad + i / panels * dim;
  double sum = 0;
  for (int64_t c = first; c < last; ++c) sum += static_cast<double>(row[c]) * static_cast<double>(row[c]);
  squares[i] = sum;
}

// What the optimizers read beside the model: compact rows, their nodes and gradients, and of adagrad their squares in
// all columns.
template <class A>
struct TouchedRows {
  const int32_t *rows, *n_rows;
  const A* grad;
  const double* squares;
  int64_t whole_dim;
};

template <class T>
__global__ void update_rows_kernel(TouchedRows<acc_t<T>> touched, StepModel<T> model, StepOptions options,
                                   const AdamRates<acc_t<T>>* rates, const double* lr, const int64_t* step) {
  using A = acc_t<T>;
  const int64_t r = global_warp(), dim = model.dim;
  if (r >= *touched.n_rows) return;
  const int64_t node = touched.rows[r];
  const A* grad = touched.grad + r * dim;
  A* e = model.emb + node * dim;
  if (options.optimizer == StepOptimizer::lazy_adam) {
    const int64_t missed = *step - model.last_step[node];
    const double gap = missed > 0 ? static_cast<double>(missed) : 0.0;
    AdamRates<A> now = *rates;
    now.beta1 = static_cast<A>(pow(options.adam.beta1, gap));
    now.beta2 = static_cast<A>(pow(options.adam.beta2, gap));
    A *m = model.exp_avg + node * 2 * dim, *v = m + dim;
    for (int64_t c = lane(); c < dim; c += warp) adam_update(e[c], grad[c], m[c], v[c], now);
    __syncwarp(full_mask);
    if (lane() == 0) model.last_step[node] = *step;
    return;
  }
  double rate = *lr;
  if (options.optimizer == StepOptimizer::adagrad) {
    const int64_t panels = column_panels(touched.whole_dim);
    double sum = 0;
    for (int64_t p = 0; p < panels; ++p) sum += touched.squares[r * panels + p];
    const A all = model.exp_avg[node] + static_cast<A>(sum / static_cast<double>(touched.whole_dim));
    __syncwarp(full_mask);
    if (lane() == 0) model.exp_avg[node] = all;
    rate /= sqrt(static_cast<double>(all)) + options.adam.eps;
  }
  for (int64_t c = lane(); c < dim; c += warp) e[c] = fused(static_cast<A>(-rate), grad[c], e[c]);
}

}  // namespace fgr::cuda
