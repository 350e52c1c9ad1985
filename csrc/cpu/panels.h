// The rows of a matrix as products take them: side by side in panels, [ceil(n / panel)][dim][panel], two vectors of the
// widest level, so that what an inner loop reads is contiguous.
#pragma once

#include <cmath>

#include "common/bf16.h"
#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

constexpr int64_t panel = 32;
constexpr int64_t panels(int64_t n) { return (n + panel - 1) / panel; }

// 1 / max(|x|, 1e-12)
template <class T>
acc_t<T> inverse_norm(const T* x, int64_t dim) {
  using A = acc_t<T>;
  return A(1) / std::max(std::sqrt(kernels<T>().dot(x, x, dim)), A(1e-12));
}

// A row to be packed: factor * x.
template <class T>
struct ScaledRow {
  const T* x;
  acc_t<T> factor;
};

// The rows of a panel, as kernels take them: null beyond n.
template <class T>
struct PanelRows {
  const T* rows[panel];
  acc_t<T> factors[panel];

  template <class Row>
  PanelRows(int64_t p, int64_t n, const Row& row) {
    for (int64_t i = 0; i < panel; ++i) {
      const int64_t j = p * panel + i;
      const ScaledRow<T> from = j < n ? row(j) : ScaledRow<T>{nullptr, 0};
      rows[i] = from.x;
      factors[i] = from.factor;
    }
  }
};

// out = the n rows that row(j) -> ScaledRow gives, in panels; places beyond n hold zeros.
template <class T, class Row>
void pack_panels(int64_t n, int64_t dim, const Row& row, acc_t<T>* out, int threads) {
  parallel_for(panels(n), panel * dim, threads, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const PanelRows<T> from(p, n, row);
      kernels<T>().pack(from.rows, from.factors, panel, dim, out + p * dim * panel);
    }
  });
}

}  // namespace fgr::cpu
