// Products of strided matrices. A block makes a tile of the result in registers, from slices of both factors in shared
// memory; every element is one thread's sum in the order of k.
#pragma once

#include "cuda/device.cuh"

namespace fgr::cuda {

constexpr int product_threads = 128;
constexpr int product_depth = 8;  // of k, which is gone through slice by slice

// C [m, n] = S + X [m, k] Y [k, n], S = 0 where it is null. The sum is cut into parts of `part`: part q goes to
// c + q * c_part, and begins with s + q * c_part. C and S are row-major; of X and Y the template says which index moves
// along memory, k (`along`) or the other one. What does not is apart from its next by a pitch, which is 0 for one row
// that all rows of S share.
template <class A>
struct Product {
  const A* x;
  int64_t x_pitch;
  const A* y;
  int64_t y_pitch;
  int64_t m, n, k;
  A* c;
  int64_t c_pitch;
  int64_t part, c_part = 0;
  const A* s = nullptr;
  int64_t s_pitch = 0;
};

// What is moved at once where all that is read and written lies in whole ones, else element by element.
template <class A>
struct alignas(16) Packed {
  static constexpr int size = 16 / sizeof(A);
  A v[size];
};
// Written by one instruction, where an assignment to memory is cut up by the compiler.
template <class A>
__device__ __forceinline__ void store_pack(A* to, const Packed<A>& pack) {
  uint4 word;
  memcpy(&word, &pack, sizeof word);
  __stcg(reinterpret_cast<uint4*>(to), word);
}

template <bool x_along, bool y_along, class A>
bool in_packs(const Product<A>& p) {
  const auto aligned = [](const A* at) { return reinterpret_cast<uintptr_t>(at) % sizeof(Packed<A>) == 0; };
  const int64_t sizes = p.x_pitch | p.y_pitch | p.c_pitch | p.s_pitch | p.c_part | p.n | (x_along ? 0 : p.m) |
                        (x_along || y_along ? p.k | (p.part < p.k ? p.part : 0) : 0);
  return sizes % Packed<A>::size == 0 && aligned(p.x) && aligned(p.y) && aligned(p.c) && aligned(p.s);
}

// The 8 x 4 threads of a warp make 4 * rows rows of the tile, each thread rows x columns results in packs. A tile that
// is not tall has half the rows: where there are too few tall ones for a GPU. No sum depends on it.
template <class A, bool tall>
struct Tile {
  using Value = A;
  static constexpr int pack = Packed<A>::size;
  static constexpr int rows = (tall ? 32 : 16) / sizeof(A), columns = 8;
  static constexpr int m = product_threads / 8 * rows, n = 8 * columns;
};

// Blocks on a multiprocessor: 128 registers a thread, or 168.
template <bool packed, class A>
constexpr int product_blocks = packed && sizeof(A) == 4 ? 4 : 3;

// How slices of a factor, `across` rows of X or columns of Y deep in k, get into shared memory: there as [depth][across
// + a pack], the pack more keeping what a warp stores of a transposed slice in different banks.
template <class A, int across, bool along_depth, bool packed>
struct Slices {
  static constexpr int pack = Packed<A>::size, depth = product_depth, pitch = across + pack;
  static constexpr int packs = across * depth / pack / product_threads;            // of a thread
  static constexpr int a_step = along_depth ? product_threads * pack / depth : 0;  // from one to its next
  static constexpr int d_step = along_depth ? 0 : product_threads * pack / across;
  static_assert(packs > 0 && packs * product_threads * pack == across * depth, "every thread moves as much");

  int a, d;      // where this thread's first pack lies in a slice
  int a_left;    // up to the matrix's end across, from there
  int64_t step;  // in memory, along what `along_depth` does not name
  const A* from;
  Packed<A> held[packs];

  // The slices are rows [a0, a_end) and begin at depth `first`.
  __device__ __forceinline__ Slices(const A* p, int64_t pitch_of_p, int64_t a0, int64_t a_end, int64_t first) {
    step = pitch_of_p;
    const unsigned t = threadIdx.x;
    a = along_depth ? t % 16 + t / (16 * (depth / pack)) * 16 : t % (across / pack) * pack;
    d = along_depth ? t / 16 % (depth / pack) * pack : t / (across / pack);
    a_left = static_cast<int>(a_end - a0 < across ? a_end - a0 : across) - a;
    from = p + (along_depth ? (a0 + a) * step + first + d : (first + d) * step + a0 + a);
  }

  // Loads this thread's packs of the next slice, which has `left` of its depth.
  __device__ __forceinline__ void load(int left) {
#pragma unroll
    for (int q = 0; q < packs; ++q) {
      const A* at = from + (q * a_step + q * d_step) * step;
      held[q] = {};
      if (packed) {
        if (q * a_step < a_left && d + q * d_step < left) held[q] = *reinterpret_cast<const Packed<A>*>(at);
      } else {
#pragma unroll
        for (int e = 0; e < pack; ++e) {
          const int to_a = q * a_step + (along_depth ? 0 : e), to_d = d + q * d_step + (along_depth ? e : 0);
          if (to_a < a_left && to_d < left) held[q].v[e] = at[e];
        }
      }
    }
    from += along_depth ? depth : depth * step;
  }

  __device__ __forceinline__ void store(A* slice) const {
#pragma unroll
    for (int q = 0; q < packs; ++q) {
      A* to = slice + d * pitch + a + q * (a_step + d_step * pitch);
      if (along_depth) {
#pragma unroll
        for (int e = 0; e < pack; ++e) to[e * pitch] = held[q].v[e];
      } else {
        *reinterpret_cast<Packed<A>*>(to) = held[q];
      }
    }
  }
};

// A block's slices of both factors: those it multiplies and the next.
template <class T>
struct Buffers {
  using Packs = Packed<typename T::Value>;
  Packs x[2][product_depth * (T::m / T::pack + 1)];
  Packs y[2][product_depth * (T::n / T::pack + 1)];
};

// One block's tile T of a product: of part block / tiles.
template <bool x_along, bool y_along, bool packed, class T, class A>
__device__ __forceinline__ void product_tile(const Product<A>& p, unsigned block, Buffers<T>& slices) {
  using X = Slices<A, T::m, x_along, packed>;
  using Y = Slices<A, T::n, y_along, packed>;
  constexpr int pack = T::pack, row_packs = T::rows / pack, column_packs = T::columns / pack;
  const unsigned tiles_n = static_cast<unsigned>((p.n + T::n - 1) / T::n);  // a grid has less than 2^31 blocks
  const unsigned tiles = static_cast<unsigned>((p.m + T::m - 1) / T::m) * tiles_n;
  const unsigned q = block / tiles, at = block % tiles;
  const int64_t i0 = static_cast<int64_t>(at / tiles_n) * T::m, j0 = static_cast<int64_t>(at % tiles_n) * T::n;
  const int64_t first = q * p.part, last = first + p.part < p.k ? first + p.part : p.k;
  X x(p.x, p.x_pitch, i0, p.m, first);
  Y y(p.y, p.y_pitch, j0, p.n, first);

  // A thread's packs begin at i in a column of X's slice, 4 apart, and at j in a row of Y's, 8 apart. Lanes that differ
  // in one of the two lowest bits read the same: 32 lanes are served in two cycles.
  const unsigned i = threadIdx.x / warp * 4 * row_packs + threadIdx.x % 2 + threadIdx.x % warp / 16 * 2;
  const unsigned j = threadIdx.x / 2 % 8;
  const auto first_result = [&](auto* matrix, int64_t pitch) {
    return matrix + q * p.c_part + (i0 + i * pack) * pitch + j0 + j * pack;
  };
  A* c0 = first_result(p.c, p.c_pitch);  // and what there is of C from there
  const int rows_left = static_cast<int>((p.m - i0 < T::m ? p.m - i0 : T::m) - i * pack);
  const int columns_left = static_cast<int>((p.n - j0 < T::n ? p.n - j0 : T::n) - j * pack);
  A sum[T::rows][T::columns] = {};
  const auto load = [&](int64_t k) {
    const int left = static_cast<int>(last - k < product_depth ? last - k : product_depth);
    x.load(left);
    y.load(left);
  };

  // fn(a pack of sums, its place in a matrix of C's shape, the columns from there on), of those that lie in C
  const auto each_pack = [&](auto* from, int64_t pitch, const auto& fn) {
#pragma unroll
    for (int r = 0; r < T::rows; ++r) {
      const int at_r = r / pack * 4 * pack + r % pack;
#pragma unroll
      for (int v = 0; v < column_packs; ++v) {
        const int left = columns_left - v * 8 * pack;
        if (at_r < rows_left && left > 0) fn(sum[r] + v * pack, from + at_r * pitch + v * 8 * pack, left);
      }
    }
  };
  if (p.s != nullptr) {
    each_pack(first_result(p.s, p.s_pitch), p.s_pitch, [](A* to, const A* from, int left) {
      if (packed) {
        const Packed<A> start = *reinterpret_cast<const Packed<A>*>(from);
#pragma unroll
        for (int e = 0; e < pack; ++e) to[e] = start.v[e];
      } else {
#pragma unroll
        for (int e = 0; e < pack; ++e) to[e] = e < left ? from[e] : A(0);
      }
    });
  }
  load(first);
  x.store(slices.x[0][0].v);
  y.store(slices.y[0][0].v);
  __syncthreads();
  int now = 0;
  for (int64_t k = first; k < last; k += product_depth) {
    load(k + product_depth);  // nothing behind the last slice
#pragma unroll
    for (int d = 0; d < product_depth; ++d) {
      Packed<A> a[row_packs], b[column_packs];
#pragma unroll
      for (int v = 0; v < row_packs; ++v) a[v] = slices.x[now][d * (X::pitch / pack) + i + v * 4];
#pragma unroll
      for (int v = 0; v < column_packs; ++v) b[v] = slices.y[now][d * (Y::pitch / pack) + j + v * 8];
#pragma unroll
      for (int r = 0; r < T::rows; ++r) {
#pragma unroll
        for (int c = 0; c < T::columns; ++c) sum[r][c] += a[r / pack].v[r % pack] * b[c / pack].v[c % pack];
      }
    }
    now ^= 1;
    x.store(slices.x[now][0].v);
    y.store(slices.y[now][0].v);
    __syncthreads();
  }

  each_pack(c0, p.c_pitch, [](const A* from, A* to, int left) {
    if (packed) {
      Packed<A> result;
#pragma unroll
      for (int e = 0; e < pack; ++e) result.v[e] = from[e];
      store_pack(to, result);
    } else {
#pragma unroll
      for (int e = 0; e < pack; ++e) {
        if (e < left) to[e] = from[e];
      }
    }
  });
}

template <bool x_along, bool y_along, bool packed, class T, class A>
__global__ void __launch_bounds__(product_threads, product_blocks<packed, A>) product_kernel(Product<A> p) {
  FGR_SHARED(Buffers<T>, slices);
  product_tile<x_along, y_along, packed>(p, blockIdx.x, slices);
}

template <class T, class A>
int64_t blocks_of(const Product<A>& p) {
  const int64_t parts = p.k > p.part ? blocks_for(p.k, p.part) : 1;
  return parts * blocks_for(p.m, T::m) * blocks_for(p.n, T::n);
}

template <bool x_along, bool y_along, class A>
void launch_product(const char* op, const Product<A>& p, void* stream) {
#if defined(FGR_EMULATE)
  constexpr int64_t enough = 3;  // so that the tests' small products are of both kinds of tiles
#else
  constexpr int64_t enough = 256;
#endif
  const auto in_tiles = [&](auto tile) {
    using T = decltype(tile);
    const auto kernel = in_packs<x_along, y_along>(p) ? product_kernel<x_along, y_along, true, T, A>
                                                      : product_kernel<x_along, y_along, false, T, A>;
    launch(op, kernel, blocks_of<T>(p), product_threads, 0, stream, p);
  };
  blocks_of<Tile<A, true>>(p) >= enough ? in_tiles(Tile<A, true>{}) : in_tiles(Tile<A, false>{});
}

}  // namespace fgr::cuda
