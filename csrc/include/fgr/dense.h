// A dense layer, and the sums over rows that its gradients are made of. Both are closed under differentiation: with G
// the gradient of y, dx = dense(G, w^T), dw and db are outer_sum(G, x); with P and s those of outer_sum's results, da =
// dense(b, P, s) and db = dense(a, P^T).
#pragma once

#include "fgr/types.h"

namespace fgr {

// dense: y [n, outputs] = x [n, inputs] w^T + b, y[r, o] = b[o] + sum_i w[o, i] x[r, i].
//   x, y row-major, contiguous; element (o, i) of w at w[o * w_row + i * w_col], one of the strides being 1;
//   b [outputs] or null (= 0). y may not overlap what is read.
// outer_sum: product [m, k] = sum_r a[r, :]^T b[r, :], sums [m] = sum_r a[r, :], over the rows of a [n, m] and b [n,
// k].
//   All row-major, contiguous.
// T = float, double. Any size may be 0: then sums are empty, and y is b.
//
// A row of y depends on its row of x, w and b alone, not on the other rows or their number. outer_sum adds the rows
// within parts of part_rows(n, m, k) rows in a fixed order (the CPU one after another), then the parts in order. So
// both give the same bits for any number of threads. Workspace: w as the product takes it, and the parts.

constexpr int64_t part_rows(int64_t n, int64_t m, int64_t k) {
  constexpr int64_t least = 256, most_parts = 64, most_numbers = 1 << 20;  // of all parts' results
  const int64_t size = m * k + m;
  const int64_t fitting = size > 0 ? most_numbers / size : most_parts;
  const int64_t parts = fitting < 1 ? 1 : fitting < most_parts ? fitting : most_parts;
  const int64_t rows = (n + parts - 1) / parts;
  return rows < least ? least : rows;
}
constexpr int64_t parts_of(int64_t n, int64_t m, int64_t k) {
  const int64_t rows = part_rows(n, m, k);
  return (n + rows - 1) / rows;
}
// 0 where there is one part, which needs no place of its own.
constexpr int64_t outer_sum_workspace_bytes(int64_t n, int64_t m, int64_t k, int64_t size) {
  const int64_t parts = parts_of(n, m, k);
  return parts > 1 ? parts * (m * k + m) * size : 0;
}

namespace cpu {
int64_t dense_workspace_bytes(int64_t inputs, int64_t outputs, int64_t size);
template <class T>
void dense(const T* x, const T* w, int64_t w_row, int64_t w_col, const T* b, int64_t n, int64_t inputs, int64_t outputs,
           T* y, void* workspace, int threads);
template <class T>
void outer_sum(const T* a, const T* b, int64_t n, int64_t m, int64_t k, T* product, T* sums, void* workspace,
               int threads);
}  // namespace cpu

namespace cuda {
int64_t dense_workspace_bytes(int64_t inputs, int64_t outputs, int64_t size);
template <class T>
void dense(const T* x, const T* w, int64_t w_row, int64_t w_col, const T* b, int64_t n, int64_t inputs, int64_t outputs,
           T* y, void* workspace, void* stream);
template <class T>
void outer_sum(const T* a, const T* b, int64_t n, int64_t m, int64_t k, T* product, T* sums, void* workspace,
               void* stream);
}  // namespace cuda

}  // namespace fgr
