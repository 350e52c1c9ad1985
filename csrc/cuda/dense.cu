#include "cuda/product.cuh"
#include "fgr/dense.h"

namespace fgr::cuda {
namespace {

constexpr int columns = 32, at_once = 8;  // of column_sums_kernel: a thread adds every eighth row of a column

template <class T>
__global__ void __launch_bounds__(columns* at_once)
    column_sums_kernel(const T* a, int64_t n, int64_t m, int64_t part, T* sums, int64_t sums_part) {
  FGR_SHARED(T, partial, [at_once][columns]);
  const int64_t across = (m + columns - 1) / columns, q = blockIdx.x / across;
  const int tx = threadIdx.x % columns, ty = threadIdx.x / columns;
  const int64_t i = blockIdx.x % across * columns + tx, last = (q + 1) * part < n ? (q + 1) * part : n;
  T sum = 0;
  for (int64_t r = q * part + ty; i < m && r < last; r += at_once) sum += a[r * m + i];
  partial[ty][tx] = sum;
  __syncthreads();
  if (ty > 0 || i >= m) return;
  for (int p = 1; p < at_once; ++p) sum += partial[p][tx];
  sums[q * sums_part + i] = sum;
}

// out[e] = sum over the parts, in order; the first `split` numbers of a part go to product, the others to sums.
template <class T>
__global__ void add_parts_kernel(const T* partial, int64_t parts, int64_t size, int64_t split, T* product, T* sums) {
  const int64_t e = global_thread();
  if (e >= size) return;
  T sum = partial[e];
  for (int64_t q = 1; q < parts; ++q) sum += partial[q * size + e];
  (e < split ? product[e] : sums[e - split]) = sum;
}

}  // namespace

int64_t dense_workspace_bytes(int64_t, int64_t, int64_t) { return 0; }

template <class T>
void dense(const T* x, const T* w, int64_t w_row, int64_t w_col, const T* b, int64_t n, int64_t inputs, int64_t outputs,
           T* y, void*, void* stream) {
  Product<T> p{x, inputs, w, w_col == 1 ? w_row : w_col, n, outputs, inputs, y, outputs, inputs};
  p.s = b;
  w_col == 1 ? launch_product<true, true>("dense", p, stream) : launch_product<true, false>("dense", p, stream);
}

template <class T>
void outer_sum(const T* a, const T* b, int64_t n, int64_t m, int64_t k, T* product, T* sums, void* workspace,
               void* stream) {
  const char* op = "outer_sum";
  const int64_t size = m * k + m, length = part_rows(n, m, k), parts = n > 0 ? parts_of(n, m, k) : 1;
  T* partial = parts > 1 ? static_cast<T*>(workspace) : product;
  T* partial_sums = parts > 1 ? partial + m * k : sums;
  const Product<T> p{a, m, b, k, m, k, n, partial, k, length, size};
  launch_product<false, false>(op, p, stream);
  launch(op, column_sums_kernel<T>, parts * blocks_for(m, columns), columns * at_once, 0, stream, a, n, m, length,
         partial_sums, size);
  if (parts > 1) {
    launch(op, add_parts_kernel<T>, blocks_for(size, 256), 256, 0, stream, static_cast<const T*>(partial), parts, size,
           m * k, product, sums);
  }
}

#define FGR_INSTANTIATE(T)                                                                                             \
  template void dense<T>(const T*, const T*, int64_t, int64_t, const T*, int64_t, int64_t, int64_t, T*, void*, void*); \
  template void outer_sum<T>(const T*, const T*, int64_t, int64_t, int64_t, T*, T*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
