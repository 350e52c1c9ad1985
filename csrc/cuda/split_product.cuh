// Products of floats on tensor cores, which multiply halves: a float is the sum of two, x = high + low, where high is x
// rounded to 11 bits and low is what is left, rounded to 11 bits too. A product is then low high + high low + high
// high, three of halves, each exact in float. What is lost: of x at most 2^-22 |x|, or 2^-25 where low is too small for
// halves (so factors are scaled to lie about 2^15), and low low, at most 2^-22 |x y|. So a product of two rows is off
// by at most 3 2^-22 sum |x| |y|, beside what sums in float lose.
//
// A tensor core does not round its sums but cuts them off, to zero. It makes those of 16 terms alone; they are added to
// the others' by the rounding addition of floats.
#pragma once

#include <algorithm>

#include "cuda/mma.cuh"

namespace fgr::cuda {

// Eight neighbours of a row, in the place of eight floats.
struct Halves {
  static constexpr int size = 8;
  uint4 high, low;
};

// Two neighbours, split.
__device__ __forceinline__ void split(float x, float y, uint32_t& high, uint32_t& low) {
  high = to_halves(x, y);
  low = to_halves(x - low_half(high), y - high_half(high));
}
// Number `at` of a row, or of rows whose pitch is a multiple of these eight; the sum is exact.
__device__ __forceinline__ float joined(const Halves* rows, int64_t at) {
  const auto* halves = reinterpret_cast<const uint16_t*>(rows + at / Halves::size) + at % Halves::size;
  return low_half(halves[0]) + low_half(halves[Halves::size]);
}

// C [m, n] = S + X [m, k] Y [k, n], S = 0 where it is null. The sum is cut into parts of `part`, a multiple of
// split_depth: part q goes to c + q * c_part, and begins with s + q * c_part. C and S are row-major, with the same
// pitch; of X and Y the template says which index moves along memory, k (`along`) or the other one. Pitches are
// multiples of split_depth, and up to one a row holds zeros behind its end: C's too.
constexpr int split_depth = 16;  // of k, which is gone through slice by slice
__host__ __device__ constexpr int64_t whole_slices(int64_t n) {
  return (n + split_depth - 1) / split_depth * split_depth;
}
struct SplitProduct {
  const Halves* x;
  int64_t x_pitch;  // in numbers, as all sizes
  const Halves* y;
  int64_t y_pitch;
  int64_t m, n, k;
  float* c;
  int64_t c_pitch;
  int64_t part, c_part = 0;
  const float* s = nullptr;
};

// A block makes m x n results, each of its four warps warp_m x 64 of them.
template <int columns>
struct SplitTile {
  static constexpr int m = 128, n = columns, warp_m = columns / 2, threads = 128;
  static constexpr int blocks = columns == 64 ? 3 : 2;  // on a multiprocessor: 168 registers a thread, or 255
  static constexpr int stages = columns == 64 ? 4 : 3;  // slices in shared memory: those of two or three are under way
};

// Slices of both factors, in packs of 16 bytes: a row's first high halves, then their low ones, and so on. 48 KB.
template <class T>
struct SplitBuffers {
  static constexpr int in_column = 2 * split_depth / Halves::size;
  uint4 x[T::stages][T::m * in_column];
  uint4 y[T::stages][T::n * in_column];
};

// A number that the compiler neither makes again where it is used nor takes apart.
__device__ __forceinline__ void keep([[maybe_unused]] int& x) {
#if !defined(FGR_EMULATE)
  asm volatile("" : "+r"(x));
#endif
}

// How slices of a factor get into shared memory: `across` rows of 16 (along), or 16 rows of `across` numbers. Packs of
// a row are permuted by its number, so that those of eight rows, which ldmatrix reads at once, lie in different banks.
template <int across, bool along, int threads>
struct SplitSlices {
  static constexpr int in_row = 2 * (along ? split_depth : across) / Halves::size;
  static constexpr int step = threads / in_row;  // rows from a thread's pack to its next
  static constexpr int packs = across * split_depth * 2 / Halves::size / threads;
  static_assert(step * in_row == threads && packs * threads == across * split_depth * 2 / Halves::size);

  static __device__ __forceinline__ int place(int row, int pack) {
    return row * in_row + (along ? pack ^ (row & 2) ^ (row >> 2 & 1) : pack ^ (row & 7));
  }
  // From there on, the place of a pack that is `of_16` times 16 rows or columns of the matrix further, and of its low
  // halves: where the first is one of high halves, and of a column that is a multiple of 32, or 8 more.
  static __device__ __forceinline__ int from_place(int first, int of_16, int low) {
    return along ? (first ^ low) + 16 * of_16 * in_row : (first ^ (4 * (of_16 % 2) + low)) + of_16 / 2 * 8;
  }

  int first_place;  // of this thread's first pack
  int left;         // rows from there on, up to the end of the matrix or of the part
  int64_t step_bytes, slice_bytes;
  const char* from;

  // The slices are rows or columns [a0, a_end) and k [first, last).
  __device__ __forceinline__ SplitSlices(const Halves* p, int64_t pitch, int64_t a0, int64_t a_end, int64_t first,
                                         int64_t last) {
    const int row = static_cast<int>(threadIdx.x) / in_row, pack = static_cast<int>(threadIdx.x) % in_row;
    first_place = place(row, pack);
    const int64_t row_bytes = pitch * static_cast<int64_t>(sizeof(float));
    const int64_t r0 = along ? a0 : first, c0 = along ? first : a0, end = along ? a_end : last;
    const bool in_columns = along || a0 + pack / 2 * Halves::size < a_end;
    left = in_columns ? static_cast<int>(end - r0) - row : 0;
    step_bytes = step * row_bytes;
    slice_bytes = along ? split_depth * static_cast<int64_t>(sizeof(float)) : split_depth * row_bytes;
    from = reinterpret_cast<const char*>(p) + (r0 + row) * row_bytes + c0 * static_cast<int64_t>(sizeof(float)) +
           pack * static_cast<int64_t>(sizeof(uint4));
  }

  // Begins to copy the next slice; what the matrix does not have is zero.
  __device__ __forceinline__ void copy(uint4* slice) {
    static_assert(along ? step % 8 == 0 : step == 4 || step == 8, "what is permuted alike");
    keep(left);
#pragma unroll
    for (int q = 0; q < packs; ++q) {
      const int to = (first_place ^ (along ? 0 : q * step & 7)) + q * threads;
      copy_later(slice + to, from + q * step_bytes, q * step < left);
    }
    from += slice_bytes;
    if (!along) left -= split_depth;
  }
};

// What a warp reads of X's slices, 16 rows from i0 + 16 i on, where these are split in memory.
struct NoOptions {};
template <class T, class X, bool along>
struct SplitRows {
  int first_place;  // of this lane's pack of high halves in a slice, which it names to ldmatrix
  __device__ __forceinline__ SplitRows(const NoOptions&, int64_t, int i0, int64_t) {
    const int l = lane();
    first_place = along ? X::place(i0 + l % 16, l / 16 * 2) : X::place(l % 8 + l / 16 * 8, i0 / 4 + l / 8 % 2 * 2);
    keep(first_place);
  }
  __device__ __forceinline__ void begin() {}  // the next slice
  __device__ __forceinline__ void load(const uint4* slice, int i, uint32_t (&high)[4], uint32_t (&low)[4]) const {
    load_matrices<!along>(slice + X::from_place(first_place, i, 0), high);
    load_matrices<!along>(slice + X::from_place(first_place, i, 1), low);
  }
};
// And where these are floats, which have the places of halves: 16 rows from i0 + 16 i on, as multiply_add has them.
template <class X, bool along>
struct FloatRows {
  int first_place, in_pack;  // of this lane's first number in a slice

  __device__ __forceinline__ explicit FloatRows(int i0) {
    const int g = lane() / 4, t = lane() % 4;
    first_place = along ? X::place(i0 + g, t / 2) : X::place(2 * t, i0 / 4 + g / 4);
    in_pack = along ? t % 2 * 2 : g % 4;
    keep(first_place);
  }
  __device__ __forceinline__ void load(const uint4* slice, int i, float (&x)[4][2]) const {
#pragma unroll
    for (int v = 0; v < 4; ++v) {  // 8 rows further, 8 of k further
      const int rows8 = v % 2, k8 = v / 2;
      if (along) {
        const uint4* pack = slice + (first_place ^ (2 * k8)) + (16 * i + 8 * rows8) * X::in_row;
        const uint2 word = *reinterpret_cast<const uint2*>(reinterpret_cast<const float*>(pack) + in_pack);
        memcpy(x[v], &word, sizeof word);
      } else {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const uint4* pack =
              slice + (first_place ^ (4 * (i % 2) + 2 * rows8 + e)) + i / 2 * 8 + (e + 8 * k8) * X::in_row;
          memcpy(&x[v][e], reinterpret_cast<const float*>(pack) + in_pack, sizeof(float));
        }
      }
    }
  }
};
// Likewise of Y's, 64 columns from j0 on.
template <class Y, bool along>
__device__ __forceinline__ int lane_of_columns(int j0) {
  const int l = lane();
  return along ? Y::place(j0 + l % 8 + l / 16 * 8, l / 8 % 2 * 2) : Y::place(l % 16, j0 / 4 + l / 16 * 2);
}

// The warp's results of one slice: 16 * height rows of X, 64 columns of Y.
template <class Y, bool y_along, class Rows, int height>
__device__ __forceinline__ void multiply_slice(const Rows& rows, const uint4* x, const uint4* y, int y_lane,
                                               float (&sum)[height][8][4]) {
  uint32_t a_high[height][4], a_low[height][4];
#pragma unroll
  for (int i = 0; i < height; ++i) rows.load(x, i, a_high[i], a_low[i]);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    uint32_t b_high[4], b_low[4];
    load_matrices<!y_along>(y + Y::from_place(y_lane, j, 0), b_high);
    load_matrices<!y_along>(y + Y::from_place(y_lane, j, 1), b_low);
#pragma unroll
    for (int i = 0; i < height; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float terms[4] = {};
        multiply_add(terms, a_low[i], b_high[2 * e], b_high[2 * e + 1]);
        multiply_add(terms, a_high[i], b_low[2 * e], b_low[2 * e + 1]);
        multiply_add(terms, a_high[i], b_high[2 * e], b_high[2 * e + 1]);
#pragma unroll
        for (int v = 0; v < 4; ++v) sum[i][2 * j + e][v] += terms[v];
      }
    }
  }
}

// What a block makes.
template <class T>
struct SplitPlace {
  int64_t m0, n0;       // where its tile begins in the matrix
  int64_t first, last;  // of k, and the part's number
  unsigned q;

  __device__ __forceinline__ SplitPlace(const SplitProduct& p, unsigned block) {
    const unsigned tiles_n = static_cast<unsigned>((p.n + T::n - 1) / T::n);  // a grid has less than 2^31 blocks
    const unsigned tiles = static_cast<unsigned>((p.m + T::m - 1) / T::m) * tiles_n;
    const unsigned at = block % tiles;
    q = block / tiles;
    m0 = static_cast<int64_t>(at / tiles_n) * T::m;
    n0 = static_cast<int64_t>(at % tiles_n) * T::n;
    first = q * p.part;
    last = first + p.part < p.k ? first + p.part : p.k;
  }
  // Where a warp's results begin in the tile.
  static __device__ __forceinline__ int row_of_warp() {
    return static_cast<int>(threadIdx.x) / warp % (T::m / T::warp_m) * T::warp_m;
  }
  static __device__ __forceinline__ int column_of_warp() {
    return static_cast<int>(threadIdx.x) / warp / (T::m / T::warp_m) * 64;
  }
};
template <class T>
using SplitSums = float[T::warp_m / 16][8][4];  // of a lane, as multiply_add has them

// fn(two neighbours of a lane's sums, their place in a matrix of C's shape), of those that lie in C.
template <class T, class M, class Fn>
__device__ __forceinline__ void each_pair(const SplitProduct& p, const SplitPlace<T>& at, SplitSums<T>& sum, M* matrix,
                                          const Fn& fn) {
  const int64_t row = at.m0 + at.row_of_warp() + lane() / 4, column = at.n0 + at.column_of_warp() + lane() % 4 * 2;
  const int64_t columns = whole_slices(p.n);
  M* corner = matrix + at.q * p.c_part + row * p.c_pitch + column;
  const int rows_left = static_cast<int>(p.m - row < T::m ? p.m - row : T::m);
  const int columns_left = static_cast<int>(columns - column < T::n ? columns - column : T::n);
#pragma unroll
  for (int r = 0; r < T::warp_m / 8; ++r) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      if (8 * r < rows_left && 8 * j < columns_left) fn(sum[r / 2][j] + r % 2 * 2, corner + 8 * r * p.c_pitch + 8 * j);
    }
  }
}
template <class T>
__device__ __forceinline__ void store_sums(const SplitProduct& p, const SplitPlace<T>& at, SplitSums<T>& sum) {
  each_pair<T>(p, at, sum, p.c, [](const float* from, float* to) {
    uint2 word;
    memcpy(&word, from, sizeof word);
    __stcg(reinterpret_cast<uint2*>(to), word);
  });
}

// One block's tile T of a product: of part block / tiles. Rows: how X is read, SplitRows or the like.
template <bool x_along, bool y_along, template <class, class, bool> class Rows, class T, class Options>
__device__ __forceinline__ void split_product_tile(const SplitProduct& p, const SplitPlace<T>& at,
                                                   const Options& options, SplitBuffers<T>& slices, SplitSums<T>& sum) {
  using X = SplitSlices<T::m, x_along, T::threads>;
  using Y = SplitSlices<T::n, y_along, T::threads>;
  const int n_slices = static_cast<int>((at.last - at.first + split_depth - 1) / split_depth);
  X x(p.x, p.x_pitch, at.m0, p.m, at.first, at.last);
  Y y(p.y, p.y_pitch, at.n0, p.n, at.first, at.last);
  const auto copy = [&](int slice, int to) {
    if (slice < n_slices) {
      x.copy(slices.x[to]);
      y.copy(slices.y[to]);
    }
    end_copies();
  };
#pragma unroll
  for (int slice = 0; slice < T::stages - 1; ++slice) copy(slice, slice);

  if (p.s != nullptr) {
    each_pair<T>(p, at, sum, p.s, [](float* to, const float* from) {
      const uint2 word = *reinterpret_cast<const uint2*>(from);
      memcpy(to, &word, sizeof word);
    });
  }
  const int i0 = at.row_of_warp(), j0 = at.column_of_warp();
  Rows<T, X, x_along> rows(options, at.m0 + i0, i0, at.first);
  int y_lane = lane_of_columns<Y, y_along>(j0);
  keep(y_lane);
  const bool wanted = at.m0 + i0 < p.m && at.n0 + j0 < p.n;
  int now = 0;
  for (int slice = 0; slice < n_slices; ++slice) {
    wait_for_copies<T::stages - 2>();
    __syncthreads();  // the slice is there for all, and nobody reads the one before, whose place is taken
    copy(slice + T::stages - 1, now > 0 ? now - 1 : T::stages - 1);
    if (wanted) {
      rows.begin();
      multiply_slice<Y, y_along>(rows, slices.x[now], slices.y[now], y_lane, sum);
    }
    now = now + 1 < T::stages ? now + 1 : 0;
  }
}

template <class T>
int64_t split_tiles(int64_t m, int64_t n) {
  return blocks_for(m, T::m) * blocks_for(n, T::n);
}
template <class T>
int64_t blocks_of(const SplitProduct& p) {
  return (p.k > p.part ? blocks_for(p.k, p.part) : 1) * split_tiles<T>(p.m, p.n);
}

// A product of m x n is summed over k in parts of this length: as many parts as make 128 tiles (with those of the other
// side's gradient two blocks a multiprocessor of an H100), of at least 64 terms. It follows from the sizes alone.
inline int64_t split_part_length(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t enough = 128, least = 64;
  const int64_t tiles = n <= SplitTile<64>::n ? split_tiles<SplitTile<64>>(m, n) : split_tiles<SplitTile<128>>(m, n);
  const int64_t parts = std::max<int64_t>(enough / std::max<int64_t>(tiles, 1), 1);
  return std::max(whole_slices(blocks_for(k, parts)), least);
}

}  // namespace fgr::cuda
