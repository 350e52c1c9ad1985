// Weighted sums of rows that a list names, by a warp: what neighbor_pool and scatter_rows have in common.
#pragma once

#include <algorithm>

#include "cuda/pack.cuh"

namespace fgr::cuda {

// A term: a row of a table, or none (-1), and its weight.
template <class A>
struct Listed {
  int32_t row = -1;
  A weight = 0;
};

// acc[j] += the weight of each of the entries [begin, end), in their order, times column j of its row, of which
// `columns` is the first; nothing where the lane has no columns. entry(e) is asked of one lane for each e, so that
// `warp` entries are read at once, and the rows of `ahead` of them are under way together. By a whole warp.
template <class S, class A, int V, class Fn>
__device__ __forceinline__ void add_listed(const S* columns, int64_t dim, bool within, int64_t begin, int64_t end,
                                           const Fn& entry, A (&acc)[V]) {
  using P = Pack<S, V>;
  constexpr int ahead = 8;
  const char* const first = reinterpret_cast<const char*>(columns);
  const int32_t row_bytes = static_cast<int32_t>(dim * static_cast<int64_t>(sizeof(S)));
  for (int64_t e0 = begin; e0 < end; e0 += warp) {
    Listed<A> own;
    if (e0 + lane() < end) own = entry(e0 + lane());
    const int n = end - e0 < warp ? static_cast<int>(end - e0) : warp;
    for (int i = 0; i < n; i += ahead) {
      P rows[ahead];
      A weight[ahead];
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        const int32_t row = __shfl_sync(full_mask, own.row, i + j);
        weight[j] = __shfl_sync(full_mask, own.weight, i + j);
        rows[j] = load_row<P>(first, row, row_bytes, within && row >= 0);
      }
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
#pragma unroll
        for (int v = 0; v < V; ++v) acc[v] = fused(weight[j], static_cast<A>(load(rows[j].v[v])), acc[v]);
      }
    }
  }
}

// fn(V) with the fewest values of S a lane (V.value) such that a warp has a row of `dim`, or of 16 bytes; of one value
// where rows are not a multiple of so many, or `at`, all of whose rows are read so, is not aligned.
template <class S, class Fn>
void with_columns(int64_t dim, std::initializer_list<const void*> at, const Fn& fn) {
  constexpr int most = 16 / static_cast<int>(sizeof(S));
  const auto fits = [&](int v) {
    return dim % v == 0 && std::all_of(at.begin(), at.end(), [&](const void* p) {
             return reinterpret_cast<uintptr_t>(p) % (static_cast<size_t>(v) * sizeof(S)) == 0;
           });
  };
  if (dim <= warp || !fits(2)) return fn(std::integral_constant<int, 1>{});
  if constexpr (most > 2) {
    if (dim > 2 * warp && fits(4)) {
      if constexpr (most > 4) {
        if (dim > 4 * warp && fits(8)) return fn(std::integral_constant<int, 8>{});
      }
      return fn(std::integral_constant<int, 4>{});
    }
  }
  fn(std::integral_constant<int, 2>{});
}

inline void check_listed(const char* op, int64_t n_rows, int64_t row_bytes) {
  if (n_rows <= INT32_MAX && row_bytes <= INT32_MAX) return;
  throw std::invalid_argument(std::string(op) + ": " + std::to_string(n_rows) + " rows of " +
                              std::to_string(row_bytes) + " bytes: a GPU takes fewer than 2^31 of either");
}

}  // namespace fgr::cuda
