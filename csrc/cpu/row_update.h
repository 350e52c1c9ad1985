// The update of a row that a batch touched (fgr/train_step.h), by the optimizers that leave all others as they are.
#pragma once

#include <algorithm>
#include <cmath>

#include "common/powers.h"
#include "cpu/isa/levels.h"
#include "cpu/panel_sums.h"
#include "fgr/train_step.h"

namespace fgr::cpu {

constexpr int64_t rows_ahead = 8;  // of what lies anywhere in memory: so many rows are fetched before they are read

// Inline by force: GCC takes a call of what only fetches for one without an effect, and leaves it out.
template <class A>
__attribute__((always_inline)) inline void fetch_row(const A* row, int64_t n) {
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(A));
  for (int64_t c = 0; c < n; c += line) __builtin_prefetch(row + c);
}

template <class A>
class RowUpdate {
 public:
  template <class T>
  RowUpdate(const StepModel<T>& model, const StepOptions& options, int64_t whole_dim, double lr, int64_t step)
      : optimizer_(options.optimizer),
        dim_(model.dim),
        emb_(model.emb),
        state_(model.exp_avg),
        last_step_(model.last_step),
        lr_(lr),
        eps_(options.adam.eps),
        whole_dim_(static_cast<double>(whole_dim)),
        step_(step),
        carried1_(options.adam.beta1),
        carried2_(options.adam.beta2),
        scalars_(adam_scalars(options.adam, lr, step)) {}

  __attribute__((always_inline)) void fetch(int64_t node) const {
    fetch_row(emb_ + node * dim_, dim_);
    if (optimizer_ == StepOptimizer::lazy_adam) {
      fetch_row(state_ + node * 2 * dim_, 2 * dim_);
      __builtin_prefetch(last_step_ + node);
    } else if (optimizer_ == StepOptimizer::adagrad) {
      __builtin_prefetch(state_ + node);
    }
  }

  // squares: of the whole row's gradient, by panels; adagrad only.
  void operator()(int64_t node, const A* grad, const double* squares) const {
    A* const e = emb_ + node * dim_;
    if (optimizer_ == StepOptimizer::lazy_adam) {
      A* const m = state_ + node * 2 * dim_;
      AdamScalars now = scalars_;
      const int64_t gap = std::max<int64_t>(step_ - last_step_[node], 0);
      now.carry1 = carried1_(gap);
      now.carry2 = carried2_(gap);
      last_step_[node] = step_;
      dense_kernels<A>().adam(e, grad, m, m + dim_, dim_, now);
      return;
    }
    double rate = lr_;
    if (optimizer_ == StepOptimizer::adagrad) {
      const double sum = sum_in_order(squares, column_panels(static_cast<int64_t>(whole_dim_)));
      state_[node] += static_cast<A>(sum / whole_dim_);
      rate /= std::sqrt(static_cast<double>(state_[node])) + eps_;
    }
    kernels<A>().axpy(e, static_cast<A>(-rate), grad, dim_);
  }

 private:
  StepOptimizer optimizer_;
  int64_t dim_;
  A *emb_, *state_;
  int64_t* last_step_;
  double lr_, eps_, whole_dim_;
  int64_t step_;
  Powers carried1_, carried2_;
  AdamScalars scalars_;
};

}  // namespace fgr::cpu
