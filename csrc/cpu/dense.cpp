#include "fgr/dense.h"

#include <algorithm>

#include "cpu/panels.h"

namespace fgr::cpu {
namespace {

constexpr int64_t block_rows = 96;      // of x, or of a product of rows, that a thread takes at a time
constexpr int64_t block_panels = 8;     // of w that go with them
constexpr int64_t block_columns = 128;  // of a product of rows
constexpr int64_t depth = 256;          // of a sum, whose part of a panel stays in L1
constexpr int64_t rows_at_once = 128;   // of a and b, likewise
static_assert(block_columns % panel == 0, "a block is made of whole panels");

// C [m <= block_rows, w <= panel] (+)= A B, the rows of B one after another, `panel` wide.
template <class T>
void strip(int64_t m, int64_t w, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t ldb, T* c,
           int64_t ldc, bool accumulate) {
  if (w == panel) return dense_kernels<T>().gemm(m, panel, k, a, a_row, a_col, b, ldb, c, ldc, accumulate);
  T whole[block_rows * panel] = {};
  for (int64_t i = 0; accumulate && i < m; ++i) std::copy_n(c + i * ldc, w, whole + i * panel);
  dense_kernels<T>().gemm(m, panel, k, a, a_row, a_col, b, ldb, whole, panel, accumulate);
  for (int64_t i = 0; i < m; ++i) std::copy_n(whole + i * panel, w, c + i * ldc);
}

template <class T>
void pack_weights(const T* w, int64_t w_row, int64_t w_col, int64_t inputs, int64_t outputs, T* packed, int threads) {
  if (w_col == 1) {
    pack_panels<T>(outputs, inputs, [&](int64_t o) { return ScaledRow<T>{w + o * w_row, T(1)}; }, packed, threads);
    return;
  }
  parallel_for(panels(outputs), inputs * panel, threads, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t width = std::min(panel, outputs - p * panel);
      for (int64_t c = 0; c < inputs; ++c) {
        T* row = packed + (p * inputs + c) * panel;
        std::copy_n(w + c * w_col + p * panel, width, row);
        std::fill(row + width, row + panel, T(0));
      }
    }
  });
}

}  // namespace

int64_t dense_workspace_bytes(int64_t inputs, int64_t outputs, int64_t size) {
  return panels(outputs) * panel * inputs * size;
}

template <class T>
void dense(const T* x, const T* w, int64_t w_row, int64_t w_col, const T* b, int64_t n, int64_t inputs, int64_t outputs,
           T* y, void* workspace, int threads) {
  if (n == 0 || outputs == 0) return;
  T* packed = static_cast<T*>(workspace);
  pack_weights(w, w_row, w_col, inputs, outputs, packed, threads);
  const int64_t across = (panels(outputs) + block_panels - 1) / block_panels;
  const int64_t blocks = (n + block_rows - 1) / block_rows * across;
  const int64_t work = block_rows * (inputs + 1) * std::min(outputs, block_panels * panel);
  parallel_for(blocks, work, threads, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t / across * block_rows, rows = std::min(block_rows, n - first);
      const int64_t first_panel = t % across * block_panels;
      const int64_t last_panel = std::min(first_panel + block_panels, panels(outputs));
      const int64_t left = first_panel * panel, right = std::min(last_panel * panel, outputs);
      T* out = y + first * outputs;
      for (int64_t r = 0; r < rows && (b != nullptr || inputs == 0); ++r) {
        for (int64_t o = left; o < right; ++o) out[r * outputs + o] = b != nullptr ? b[o] : T(0);
      }
      for (int64_t i = 0; i < inputs; i += depth) {
        for (int64_t p = first_panel; p < last_panel; ++p) {
          strip(rows, std::min(panel, outputs - p * panel), std::min(depth, inputs - i), x + first * inputs + i, inputs,
                1, packed + (p * inputs + i) * panel, panel, out + p * panel, outputs, b != nullptr || i > 0);
        }
      }
    }
  });
}

template <class T>
void outer_sum(const T* a, const T* b, int64_t n, int64_t m, int64_t k, T* product, T* sums, void* workspace,
               int threads) {
  const int64_t size = m * k + m, length = part_rows(n, m, k), parts = parts_of(n, m, k);
  if (n == 0) {
    std::fill_n(product, m * k, T(0));
    std::fill_n(sums, m, T(0));
    return;
  }
  const int64_t down = (m + block_rows - 1) / block_rows;
  const int64_t across = std::max<int64_t>(1, (k + block_columns - 1) / block_columns);
  const int64_t work = length * std::min(m, block_rows) * std::min(k + 1, block_columns);
  parallel_for(parts * down * across, work, threads, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t part = t / (down * across), i0 = t / across % down * block_rows, j0 = t % across * block_columns;
      const int64_t height = std::min(block_rows, m - i0), width = std::min(block_columns, k - j0);
      const int64_t first = part * length, last = std::min(first + length, n);
      T* own = static_cast<T*>(workspace) + part * size;
      T* to = (parts > 1 ? own : product) + i0 * k + j0;
      T* sum = (parts > 1 ? own + m * k : sums) + i0;
      if (j0 == 0) std::fill_n(sum, height, T(0));
      for (int64_t r = first; r < last; r += rows_at_once) {
        const int64_t rows = std::min(rows_at_once, last - r);
        const T *from = a + r * m + i0, *with = b + r * k + j0;
        for (int64_t j = 0; j < width; j += panel) {
          const int64_t w = std::min(panel, width - j);
          const T* columns = with + j;
          int64_t ldb = k;
          T padded[rows_at_once * panel];
          if (w < panel) {
            for (int64_t i = 0; i < rows; ++i) {
              std::copy_n(columns + i * k, w, padded + i * panel);
              std::fill_n(padded + i * panel + w, panel - w, T(0));
            }
            columns = padded;
            ldb = panel;
          }
          strip(height, w, rows, from, 1, m, columns, ldb, to + j, k, r > first);
        }
        for (int64_t i = 0; j0 == 0 && i < rows; ++i) kernels<T>().axpy(sum, T(1), from + i * m, height);
      }
    }
  });
  if (parts == 1) return;
  parallel_for(size, parts, threads, [&](int64_t begin, int64_t end) {
    const T* partial = static_cast<const T*>(workspace);
    const auto add = [&](T* out, int64_t at, int64_t count) {
      if (count <= 0) return;
      std::copy_n(partial + at, count, out);
      for (int64_t part = 1; part < parts; ++part) kernels<T>().axpy(out, T(1), partial + part * size + at, count);
    };
    add(product + begin, begin, std::min(end, m * k) - begin);
    const int64_t from = std::max(begin, m * k);
    add(sums + (from - m * k), from, end - from);
  });
}

#define FGR_INSTANTIATE(T)                                                                                           \
  template void dense<T>(const T*, const T*, int64_t, int64_t, const T*, int64_t, int64_t, int64_t, T*, void*, int); \
  template void outer_sum<T>(const T*, const T*, int64_t, int64_t, int64_t, T*, T*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
