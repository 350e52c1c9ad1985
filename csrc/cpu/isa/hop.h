// One hop: levels.h says what it computes.
#pragma once

#include "cpu/isa/adam.h"
#include "cpu/isa/simd.h"

namespace {

using fgr::cpu::AdamHop;
using fgr::cpu::Hop;

struct NoAdam {};
template <class Adam>
constexpr bool is_adam = true;
template <>
constexpr bool is_adam<NoAdam> = false;

constexpr int64_t prefetch_edges = 32;  // rows ahead of the one being added
constexpr int64_t edge_block = 256;     // edges whose compact columns are collected at a time

// What a neighbour's row is multiplied with: nothing, the column's scale, or the edge's weight and that.
enum class Factor { none, scale, weight };

// acc += factor * columns [c, c + N * lanes) of the row of edge e: N independent registers, in pairs as load_pair gives
// them.
template <class T, class B, int N, Factor F>
FGR_INLINE void add_row(const Hop<T, B>& h, const int32_t* col, const float* weight, int64_t e, int64_t c,
                        Vec<T>* acc) {
  using A = acc_t<T>;
  const int64_t row = col[e];
  const T* x = h.x + row * h.dim + c;
  A s = 1;
  if constexpr (F == Factor::scale) s = h.col_scale[row];
  if constexpr (F == Factor::weight) s = static_cast<A>(weight[e]) * (h.col_scale != nullptr ? h.col_scale[row] : A(1));
  const auto add = [s](Vec<T>& sum, Vec<T> term) {
    if constexpr (F == Factor::none) {
      sum += term;
    } else {
      sum += s * term;
    }
  };
  if constexpr (N == 1) {
    add(acc[0], load_vec(x));
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < N; v += 2) {
      Vec<T> pair[2];
      load_pair<T>(x + v * lanes<T>, pair);
      add(acc[v], pair[0]);
      add(acc[v + 1], pair[1]);
    }
  }
}

// The rows col[0 .. n), one after the other. `readable` columns may be looked at, to fetch ahead.
template <class T, class B, int N, Factor F>
FGR_INLINE void add_rows(const Hop<T, B>& h, const int32_t* col, const float* weight, int64_t n, int64_t readable,
                         int64_t c, Vec<T>* acc) {
  const int64_t last = readable - prefetch_edges, fetching = n < last ? n : last;
  int64_t e = 0;
  for (; e < fetching; ++e) {
    const char* ahead = reinterpret_cast<const char*>(h.x + col[e + prefetch_edges] * h.dim + c);
#pragma GCC unroll 16
    for (int line = 0; line < N * lanes<T> * static_cast<int>(sizeof(T)); line += 64) __builtin_prefetch(ahead + line);
    add_row<T, B, N, F>(h, col, weight, e, c, acc);
  }
  for (; e < n; ++e) add_row<T, B, N, F>(h, col, weight, e, c, acc);
}

// The edges [begin, end) whose column has a slot: slots and weights into out and out_weight; returns how many.
template <class T, class B>
inline int64_t collect(const Hop<T, B>& h, int64_t begin, int64_t end, int32_t* out, float* out_weight) {
  int64_t n = 0;
  for (int64_t e = begin; e < end; ++e) {
    const int32_t slot = h.col_slot[h.indices[e]];
    out[n] = slot;
    if (h.weight != nullptr) out_weight[n] = h.weight[e];
    n += slot >= 0;
  }
  return n;
}

// The sum of a row's neighbours. `limit`: edges up to there may be looked at.
template <class T, class B, int N, Factor F>
FGR_INLINE void gather(const Hop<T, B>& h, int64_t row, int64_t limit, int64_t c, Vec<T>* acc) {
  if (h.indptr == nullptr) return;
  const int64_t begin = h.indptr[row], end = h.indptr[row + 1];
  if (h.col_slot == nullptr) {
    const float* weight = h.weight != nullptr ? h.weight + begin : nullptr;
    add_rows<T, B, N, F>(h, h.indices + begin, weight, end - begin, limit - begin, c, acc);
    return;
  }
  int32_t col[edge_block];
  float weight[edge_block];
  for (int64_t e = begin; e < end; e += edge_block) {
    const int64_t n = collect(h, e, e + edge_block < end ? e + edge_block : end, col, weight);
    add_rows<T, B, N, F>(h, col, h.weight != nullptr ? weight : nullptr, n, n, c, acc);
  }
}

template <class T, class B>
inline const B* base_row(const Hop<T, B>& h, int64_t row) {
  if (h.base == nullptr || h.beta == 0) return nullptr;
  const int64_t at = h.base_slot != nullptr ? h.base_slot[row] : row;
  return at >= 0 ? h.base + at * h.dim : nullptr;
}

// Columns [c, c + N * lanes) of row r: stored in y, or handed to Adam.
template <class T, class B, int N, Factor F, class Adam>
inline void hop_columns(const Hop<T, B>& h, int64_t r, int64_t limit, int64_t c, const Adam& adam_hop) {
  using A = acc_t<T>;
  constexpr int width = N * lanes<T>;
  const int64_t row = h.rows != nullptr ? h.rows[r] : r;
  Vec<T> acc[N] = {};
  gather<T, B, N, F>(h, row, limit, c, acc);
  const A left = h.left != nullptr ? h.gain * h.left[row] : h.gain;
  const A out = h.out != nullptr ? h.out[row] : A(1);
  const B* base = base_row(h, row);
  A grad[width];
  if constexpr (N == 1) {
    Vec<T> z = rounded(left * acc[0]);
    if (base != nullptr) z += h.beta * load_vec(base + c);
    if constexpr (is_adam<Adam>) {
      store_vec(grad, out * z);
    } else {
      store_vec(h.y + r * h.dim + c, out * z);
    }
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < N; v += 2) {
      Vec<T> z[2] = {rounded(left * acc[v]), rounded(left * acc[v + 1])};
      if (base != nullptr) {
        Vec<T> b[2];
        load_pair<T>(base + c + v * lanes<T>, b);
        z[0] += h.beta * b[0];
        z[1] += h.beta * b[1];
      }
      z[0] *= out;
      z[1] *= out;
      if constexpr (is_adam<Adam>) {
        order_pair<T>(z);
        store_vec(grad + v * lanes<T>, z[0]);
        store_vec(grad + (v + 1) * lanes<T>, z[1]);
      } else {
        store_pair<T>(h.y + r * h.dim + c + v * lanes<T>, z);
      }
    }
  }
  if constexpr (is_adam<Adam>) {
    const int64_t at = row * h.dim + c;
    adam<A>(adam_hop.param + at, grad, adam_hop.exp_avg + at, adam_hop.exp_avg_sq + at, width, adam_hop.scalars);
    if (adam_hop.shadow != nullptr) {
      const A scale = adam_hop.shadow_scale != nullptr ? adam_hop.shadow_scale[row] : A(1);
#pragma GCC unroll 16
      for (int v = 0; v < N; ++v) {
        store_vec(adam_hop.shadow + at + v * lanes<T>, scale * load_vec(adam_hop.param + at + v * lanes<T>));
      }
    }
  }
}

// One column: the tail of an odd dim.
template <class T, class B, class Adam>
inline void hop_column(const Hop<T, B>& h, int64_t r, int64_t c, const Adam& adam_hop) {
  using A = acc_t<T>;
  const int64_t row = h.rows != nullptr ? h.rows[r] : r;
  A acc = 0;
  for (int64_t e = h.indptr != nullptr ? h.indptr[row] : 0; h.indptr != nullptr && e < h.indptr[row + 1]; ++e) {
    const int64_t col = h.col_slot != nullptr ? h.col_slot[h.indices[e]] : h.indices[e];
    if (col < 0) continue;
    A s = h.col_scale != nullptr ? h.col_scale[col] : A(1);
    if (h.weight != nullptr) s *= static_cast<A>(h.weight[e]);
    acc += s * load_one(h.x[col * h.dim + c]);
  }
  A z = rounded((h.left != nullptr ? h.gain * h.left[row] : h.gain) * acc);
  if (const B* base = base_row(h, row)) z += h.beta * load_one(base[c]);
  if (h.out != nullptr) z *= h.out[row];
  if constexpr (is_adam<Adam>) {
    const int64_t at = row * h.dim + c;
    adam<A>(adam_hop.param + at, &z, adam_hop.exp_avg + at, adam_hop.exp_avg_sq + at, 1, adam_hop.scalars);
    if (adam_hop.shadow != nullptr) {
      store_one(adam_hop.shadow + at,
                (adam_hop.shadow_scale != nullptr ? adam_hop.shadow_scale[row] : A(1)) * adam_hop.param[at]);
    }
  } else {
    store_one(h.y + r * h.dim + c, z);
  }
}

template <class T, class B, Factor F, class Adam>
inline void hop_rows(const Hop<T, B>& h, int64_t begin, int64_t end, const Adam& adam_hop) {
  constexpr int most = vector_registers / 2;  // the other half stays free
  constexpr int w = lanes<T>;
  // Rows that stand side by side share one stretch of edges, so that fetching ahead may look beyond a row's end.
  const int64_t chunk_end = h.indptr != nullptr && h.rows == nullptr ? h.indptr[end] : 0;
  for (int64_t r = begin; r < end; ++r) {
    const int64_t limit = h.rows == nullptr ? chunk_end : h.indptr != nullptr ? h.indptr[h.rows[r] + 1] : 0;
    int64_t c = 0;
    for (; c + most * w <= h.dim; c += most * w) hop_columns<T, B, most, F>(h, r, limit, c, adam_hop);
    if constexpr (most == 16) {
      if (c + 8 * w <= h.dim) hop_columns<T, B, 8, F>(h, r, limit, c, adam_hop), c += 8 * w;
    }
    if (c + 4 * w <= h.dim) hop_columns<T, B, 4, F>(h, r, limit, c, adam_hop), c += 4 * w;
    if (c + 2 * w <= h.dim) hop_columns<T, B, 2, F>(h, r, limit, c, adam_hop), c += 2 * w;
    if (c + 1 * w <= h.dim) hop_columns<T, B, 1, F>(h, r, limit, c, adam_hop), c += 1 * w;
    for (; c < h.dim; ++c) hop_column<T, B>(h, r, c, adam_hop);
  }
}

template <class T, class B, class Adam>
inline void hop_with(const Hop<T, B>& h, int64_t begin, int64_t end, const Adam& adam_hop) {
  if (h.weight != nullptr) {
    hop_rows<T, B, Factor::weight>(h, begin, end, adam_hop);
  } else if (h.col_scale != nullptr) {
    hop_rows<T, B, Factor::scale>(h, begin, end, adam_hop);
  } else {
    hop_rows<T, B, Factor::none>(h, begin, end, adam_hop);
  }
}

template <class T, class B>
void hop(const Hop<T, B>& h, int64_t begin, int64_t end) {
  hop_with(h, begin, end, NoAdam{});
}

template <class T>
void adam_hop(const AdamHop<T>& h, int64_t begin, int64_t end) {
  hop_with(h.hop, begin, end, h);
}

}  // namespace
