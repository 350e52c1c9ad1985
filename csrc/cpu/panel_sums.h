// Sums of products by panels of columns (common/column_panels.h).
#pragma once

#include "common/column_panels.h"
#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

// What a row adds: factor * <a, b>; nothing where a is null.
template <class T>
struct RowProduct {
  const T *a, *b;
  double factor;
};

// sums[p] = the n rows that row(i) -> RowProduct gives, over the columns of panel p. partial [panel_blocks(n), panels].
template <class T, class Row>
void panel_sums(int64_t n, int64_t dim, const Row& row, double* partial, double* sums, int threads) {
  const int64_t panels = column_panels(dim), blocks = panel_blocks(n);
  parallel_for(blocks, panel_block_rows * dim, threads, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      double* out = partial + block * panels;
      std::fill(out, out + panels, 0.0);
      for (int64_t i = block * panel_block_rows; i < std::min(n, (block + 1) * panel_block_rows); ++i) {
        const RowProduct<T> product = row(i);
        if (product.a != nullptr) kernels<T>().panel_dots(product.a, product.b, product.factor, dim, out);
      }
    }
  });
  std::fill(sums, sums + panels, 0.0);
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t p = 0; p < panels; ++p) sums[p] += partial[block * panels + p];
  }
}

inline double sum_in_order(const double* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

}  // namespace fgr::cpu
