// Products of strided matrices, every element one thread's sum in order.
#pragma once

#include "cuda/device.cuh"

namespace fgr::cuda {

constexpr int product_tile = 32;  // a block of 32 x 8 threads makes a 32 x 32 tile of a product

// A strided matrix: element (i, j) at p[i * row + j * col].
template <class A>
struct Strided {
  const A* p;
  int64_t row, col;
};

// What a product is added to: its own place, or a row that all rows share, or nothing.
enum class Onto { nothing, itself, row };

// C [m, n] (+)= X [m, k] Y [k, n], C row-major. The sum is cut into parts of `part`: part q is added to C + q * c_part.
template <class A>
__global__ void __launch_bounds__(product_tile * 8)
    product_kernel(Strided<A> x, Strided<A> y, int64_t m, int64_t n, int64_t k, A* c, int64_t ldc, Onto onto,
                   const A* row, int64_t part, int64_t c_part) {
  constexpr int tile = product_tile;
  FGR_SHARED(A, xs, [tile][tile + 1]);
  FGR_SHARED(A, ys, [tile][tile + 1]);
  const int64_t tiles_n = (n + tile - 1) / tile, tiles = (m + tile - 1) / tile * tiles_n;
  const int64_t q = blockIdx.x / tiles, at = blockIdx.x % tiles;
  const int64_t i0 = at / tiles_n * tile, j0 = at % tiles_n * tile;
  const int64_t first = q * part, last = first + part < k ? first + part : k;
  const int tx = threadIdx.x % tile, ty = threadIdx.x / tile;
  A acc[tile / 8] = {};
  for (int64_t k0 = first; k0 < last; k0 += tile) {
#pragma unroll
    for (int r = 0; r < tile / 8; ++r) {
      const int a = ty + 8 * r;
      // whichever index is contiguous in memory runs along the threads of a warp
      const int xi = x.col == 1 ? a : tx, xk = x.col == 1 ? tx : a;
      const int yk = y.col == 1 ? a : tx, yj = y.col == 1 ? tx : a;
      xs[xi][xk] = i0 + xi < m && k0 + xk < last ? x.p[(i0 + xi) * x.row + (k0 + xk) * x.col] : A(0);
      ys[yk][yj] = k0 + yk < last && j0 + yj < n ? y.p[(k0 + yk) * y.row + (j0 + yj) * y.col] : A(0);
    }
    __syncthreads();
#pragma unroll 8
    for (int p = 0; p < tile; ++p) {
#pragma unroll
      for (int r = 0; r < tile / 8; ++r) acc[r] += xs[ty + 8 * r][p] * ys[p][tx];
    }
    __syncthreads();
  }
  c += q * c_part;
#pragma unroll
  for (int r = 0; r < tile / 8; ++r) {
    const int64_t i = i0 + ty + 8 * r, j = j0 + tx;
    if (i >= m || j >= n) continue;
    const A start = onto == Onto::itself ? c[i * ldc + j] : onto == Onto::row ? row[j] : A(0);
    c[i * ldc + j] = start + acc[r];
  }
}

// In one part.
template <class A>
void product(const char* op, Strided<A> x, Strided<A> y, int64_t m, int64_t n, int64_t k, A* c, int64_t ldc, Onto onto,
             const A* row, void* stream) {
  launch(op, product_kernel<A>, blocks_for(m, product_tile) * blocks_for(n, product_tile), product_tile * 8, 0, stream,
         x, y, m, n, k, c, ldc, onto, row, k, int64_t{0});
}

}  // namespace fgr::cuda
