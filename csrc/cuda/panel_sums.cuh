// Sums of products by panels of columns (common/column_panels.h), on a device.
#pragma once

#include "common/column_panels.h"
#include "cuda/device.cuh"

namespace fgr::cuda {

constexpr int panel_threads = 256;

// partial[p, b]: the rows of block b, over the columns of panel p; product(row, column) gives a double.
template <class Product>
__global__ void panel_blocks_kernel(Product product, int64_t n, int64_t dim, int64_t blocks, double* partial) {
  FGR_SHARED(double, sums, [panel_threads]);
  const int64_t panel = blockIdx.x / blocks, block = blockIdx.x % blocks;
  const int64_t c = panel * column_panel + threadIdx.x % column_panel, first = block * panel_block_rows;
  const int64_t last = first + panel_block_rows < n ? first + panel_block_rows : n;
  double sum = 0;
  if (c < dim) {
    for (int64_t r = first + threadIdx.x / column_panel; r < last; r += panel_threads / column_panel) {
      sum += product(r, c);
    }
  }
  sums[threadIdx.x] = sum;
  for (int half = panel_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partial[panel * blocks + block] = sums[0];
}

// out[0] = factor * (panels[0] + panels[1] + ...), added to what it holds if `add`.
template <class A>
__device__ __forceinline__ void add_panels(const double* panels, int64_t n, double factor, A* out, bool add) {
  double total = 0;
  for (int64_t p = 0; p < n; ++p) total += panels[p];
  *out = (add ? *out : A(0)) + static_cast<A>(factor * total);
}
template <class A>
__global__ void add_panels_kernel(const double* panels, int64_t n, double factor, A* out, bool add) {
  add_panels(panels, n, factor, out, add);
}

// panels[p] = partial[p, 0] + ... + partial[p, blocks - 1], in a fixed order, a warp a panel; and out, unless it is
// null, what add_panels says.
template <class A>
__global__ void panels_kernel(const double* partial, int64_t blocks, int64_t n, double* panels, double factor, A* out,
                              bool add) {
  for (int64_t p = threadIdx.x / warp; p < n; p += blockDim.x / warp) {
    double sum = 0;
    for (int64_t b = lane(); b < blocks; b += warp) sum += partial[p * blocks + b];
    sum = warp_sum(sum);
    if (lane() == 0) panels[p] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0 && out != nullptr) add_panels(panels, n, factor, out, add);
}

// partial [column_panels(dim), panel_blocks(n)], panels [column_panels(dim)].
template <class A, class Product>
void panel_sums(const char* op, int64_t n, int64_t dim, const Product& product, double* partial, double* panels,
                double factor, A* out, bool add, void* stream) {
  const int64_t blocks = panel_blocks(n), n_panels = column_panels(dim);
  launch(op, panel_blocks_kernel<Product>, blocks * n_panels, panel_threads, 0, stream, product, n, dim, blocks,
         partial);
  launch(op, panels_kernel<A>, 1, panel_threads, 0, stream, partial, blocks, n_panels, panels, factor, out, add);
}

}  // namespace fgr::cuda
