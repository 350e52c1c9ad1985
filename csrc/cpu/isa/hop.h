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

// N vectors of a row are N independent registers, for bf16 in pairs as load_pair gives them. The last unit, a pair or a
// vector, may lie over columns of those before it, so that a row of any length ends with it.
template <class T, int N>
constexpr int last_unit = sizeof(T) == 2 && N % 2 == 0 ? 2 : 1;

template <int n>
struct Size {
  static constexpr int value = n;
};

// fn(Size<n>) of an n in [1, most] that is known when it runs.
template <int most, class Fn>
FGR_INLINE void with_size(int64_t n, const Fn& fn) {
  if constexpr (most == 1) {
    fn(Size<1>{});
  } else if (n == most) {
    fn(Size<most>{});
  } else {
    with_size<most - 1>(n, fn);
  }
}

template <class T, int U, class P, class Load>
FGR_INLINE void load_unit(const P* p, Vec<T>* unit, const Load& load) {
  if constexpr (U == 2) {
    load_pair<T>(p, unit);
  } else {
    unit[0] = load(p);
  }
}

template <class T, int U>
FGR_INLINE void store_unit(T* p, const Vec<T>* unit) {
  if constexpr (U == 2) {
    store_pair<T>(p, unit);
  } else {
    store_vec(p, unit[0]);
  }
}

// each(U, v, column) for the units of the vectors from column c on: their vectors, the first one, where it is.
template <class T, int N, class Each>
FGR_INLINE void for_units(int64_t c, int64_t last, const Each& each) {
  constexpr int step = sizeof(T) == 2 ? 2 : 1, before = N - last_unit<T, N>;
#pragma GCC unroll 16
  for (int v = 0; v < before; v += step) each(Size<step>{}, v, c + v * lanes<T>);
  each(Size<last_unit<T, N>>{}, before, last);
}

// acc += factor * the columns of N vectors of the row of edge e.
template <class T, class B, int N, Factor F, class Load>
FGR_INLINE void add_row(const Hop<T, B>& h, const int32_t* col, const float* weight, int64_t e, int64_t c, int64_t last,
                        Vec<T>* acc, const Load& load) {
  using A = acc_t<T>;
  const int64_t row = col[e];
  const T* x = h.x + row * h.dim;
  A s = 1;
  if constexpr (F == Factor::scale) s = h.col_scale[row];
  if constexpr (F == Factor::weight) s = static_cast<A>(weight[e]) * (h.col_scale != nullptr ? h.col_scale[row] : A(1));
  for_units<T, N>(c, last, [&](auto u, int v, int64_t column) __attribute__((always_inline)) {
    Vec<T> unit[u.value];
    load_unit<T, u.value>(x + column, unit, load);
#pragma GCC unroll 2
    for (int i = 0; i < u.value; ++i) {
      if constexpr (F == Factor::none) {
        acc[v + i] += unit[i];
      } else {
        acc[v + i] += s * unit[i];
      }
    }
  });
}

// The rows col[0 .. n), one after the other. `readable` columns may be looked at, to fetch ahead.
template <class T, class B, int N, Factor F, class Load>
FGR_INLINE void add_rows(const Hop<T, B>& h, const int32_t* col, const float* weight, int64_t n, int64_t readable,
                         int64_t c, int64_t last, Vec<T>* acc, const Load& load) {
  const int64_t most = readable - prefetch_edges, fetching = n < most ? n : most;
  int64_t e = 0;
  for (; e < fetching; ++e) {
    const char* ahead = reinterpret_cast<const char*>(h.x + col[e + prefetch_edges] * h.dim + c);
#pragma GCC unroll 16
    for (int line = 0; line < N * lanes<T> * static_cast<int>(sizeof(T)); line += 64) __builtin_prefetch(ahead + line);
    add_row<T, B, N, F>(h, col, weight, e, c, last, acc, load);
  }
  for (; e < n; ++e) add_row<T, B, N, F>(h, col, weight, e, c, last, acc, load);
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
template <class T, class B, int N, Factor F, class Load = Whole>
FGR_INLINE void gather(const Hop<T, B>& h, int64_t row, int64_t limit, int64_t c, int64_t last, Vec<T>* acc,
                       const Load& load) {
  if (h.indptr == nullptr) return;
  const int64_t begin = h.indptr[row], end = h.indptr[row + 1];
  if (h.col_slot == nullptr) {
    const float* weight = h.weight != nullptr ? h.weight + begin : nullptr;
    add_rows<T, B, N, F>(h, h.indices + begin, weight, end - begin, limit - begin, c, last, acc, load);
    return;
  }
  int32_t col[edge_block];
  float weight[edge_block];
  for (int64_t e = begin; e < end; e += edge_block) {
    const int64_t n = collect(h, e, e + edge_block < end ? e + edge_block : end, col, weight);
    add_rows<T, B, N, F>(h, col, h.weight != nullptr ? weight : nullptr, n, n, c, last, acc, load);
  }
}

template <class T, class B>
inline const B* base_row(const Hop<T, B>& h, int64_t row) {
  if (h.base == nullptr || h.beta == 0) return nullptr;
  const int64_t at = h.base_slot != nullptr ? h.base_slot[row] : row;
  return at >= 0 ? h.base + at * h.dim : nullptr;
}

template <class T>
inline void store_shadow(T* shadow, acc_t<T> scale, const acc_t<T>* param, int64_t n) {
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store_vec(shadow + i, scale * load_vec(param + i));
  for (; i < n; ++i) store_one(shadow + i, scale * param[i]);
}

// The columns from c on of row r by N vectors, of which the last unit is at column `last`: stored in y, or handed to
// Adam.
template <class T, class B, int N, Factor F, class Adam>
inline void hop_columns(const Hop<T, B>& h, int64_t r, int64_t limit, int64_t c, int64_t last, const Adam& adam_hop) {
  using A = acc_t<T>;
  constexpr int w = lanes<T>, before = N - last_unit<T, N>;
  const int64_t row = h.rows != nullptr ? h.rows[r] : r;
  Vec<T> acc[N] = {};
  gather<T, B, N, F>(h, row, limit, c, last, acc, Whole{});
  const A left = h.left != nullptr ? h.gain * h.left[row] : h.gain;
  const A out = h.out != nullptr ? h.out[row] : A(1);
  const B* base = base_row(h, row);
  const int64_t over = c + before * w - last;  // columns of the last unit that others have
  A grad[(N + 1) * w];                         // the first ones are for those
  for_units<T, N>(c, last, [&](auto u, int v, int64_t column) __attribute__((always_inline)) {
    constexpr int U = u.value;
    Vec<T> z[U], b[U];
#pragma GCC unroll 2
    for (int i = 0; i < U; ++i) z[i] = rounded(left * acc[v + i]);
    if (base != nullptr) {
      load_unit<T, U>(base + column, b, Whole{});
#pragma GCC unroll 2
      for (int i = 0; i < U; ++i) z[i] += h.beta * b[i];
    }
#pragma GCC unroll 2
    for (int i = 0; i < U; ++i) z[i] *= out;
    if constexpr (is_adam<Adam>) {
      if constexpr (U == 2) order_pair<T>(z);
#pragma GCC unroll 2
      for (int i = 0; i < U; ++i) store_vec(grad + w + (column - c) + i * w, z[i]);
    } else {
      T* y = h.y + r * h.dim + column;
      if (v < before || over == 0) {
        store_unit<T, U>(y, z);
      } else {
        T all[U * w];
        store_unit<T, U>(all, z);
        for (int64_t i = over; i < U * w; ++i) y[i] = all[i];
      }
    }
  });
  if constexpr (is_adam<Adam>) {
    const int64_t at = row * h.dim + c, n = N * w - over;
    const A scale = adam_hop.shadow_scale != nullptr ? adam_hop.shadow_scale[row] : A(1);
    adam<A>(adam_hop.param + at, grad + w, adam_hop.exp_avg + at, adam_hop.exp_avg_sq + at, n, adam_hop.scalars);
    if (adam_hop.shadow != nullptr) store_shadow(adam_hop.shadow + at, scale, adam_hop.param + at, n);
  }
}

// Columns [c, dim), fewer than there are lanes, of row r: by the vector from column `from` on, of which others are in
// the columns before c, too.
template <class T, class B, Factor F, class Load, class Adam>
inline void hop_tail(const Hop<T, B>& h, int64_t r, int64_t limit, int64_t c, int64_t from, const Load& load,
                     const Adam& adam_hop) {
  using A = acc_t<T>;
  const int64_t row = h.rows != nullptr ? h.rows[r] : r, n = h.dim - c;
  Vec<T> acc[1] = {};
  gather<T, B, 1, F>(h, row, limit, from, from, acc, load);
  Vec<T> z = rounded((h.left != nullptr ? h.gain * h.left[row] : h.gain) * acc[0]);
  if (const B* base = base_row(h, row)) z += h.beta * load(base + from);
  if (h.out != nullptr) z *= h.out[row];
  A all[lanes<T>];
  store_vec(all, z);
  const A* own = all + (c - from);
  if constexpr (is_adam<Adam>) {
    const int64_t at = row * h.dim + c;
    adam<A>(adam_hop.param + at, own, adam_hop.exp_avg + at, adam_hop.exp_avg_sq + at, n, adam_hop.scalars);
    const A scale = adam_hop.shadow_scale != nullptr ? adam_hop.shadow_scale[row] : A(1);
    if (adam_hop.shadow != nullptr) store_shadow(adam_hop.shadow + at, scale, adam_hop.param + at, n);
  } else {
    for (int64_t i = 0; i < n; ++i) store_one(h.y + r * h.dim + c + i, own[i]);
  }
}

// All columns of row r, in as few passes over its edges as the registers allow.
template <class T, class B, Factor F, class Adam>
FGR_INLINE void hop_row(const Hop<T, B>& h, int64_t r, int64_t limit, const Adam& adam_hop) {
  constexpr int most = vector_registers / 2;  // the other half stays free
  constexpr int w = lanes<T>;
  int64_t c = 0;
  for (; c + most * w <= h.dim; c += most * w) {
    hop_columns<T, B, most, F>(h, r, limit, c, c + (most - last_unit<T, most>)*w, adam_hop);
  }
  if constexpr (most == 16) {
    if (c + 8 * w <= h.dim) {
      hop_columns<T, B, 8, F>(h, r, limit, c, c + (8 - last_unit<T, 8>)*w, adam_hop);
      c += 8 * w;
    }
  }
  if (sizeof(T) == 2 && h.dim < 2 * w && c + w <= h.dim) {  // no place for a pair
    hop_columns<T, B, 1, F>(h, r, limit, c, c, adam_hop);
    c += w;
  }
  const auto rest = [&](auto n) __attribute__((always_inline)) {
    hop_columns<T, B, n.value, F>(h, r, limit, c, h.dim - last_unit<T, n.value> * w, adam_hop);
  };
  const int64_t vectors = (h.dim - c + w - 1) / w;
  if (vectors == 0) return;
  if (vectors > 1 || c + w == h.dim) {
    with_size<8>(vectors, rest);
  } else if (h.dim > w) {
    hop_tail<T, B, F>(h, r, limit, c, h.dim - w, Whole{}, adam_hop);
  } else {
    hop_tail<T, B, F>(h, r, limit, c, c, First{h.dim}, adam_hop);
  }
}

template <class T, class B, Factor F, class Adam>
inline void hop_rows(const Hop<T, B>& h, int64_t begin, int64_t end, const Adam& adam_hop) {
  // Rows that stand side by side share one stretch of edges, so that fetching ahead may look beyond a row's end.
  const int64_t chunk_end = h.indptr != nullptr && h.rows == nullptr ? h.indptr[end] : 0;
  for (int64_t r = begin; r < end; ++r) {
    const int64_t limit = h.rows == nullptr ? chunk_end : h.indptr != nullptr ? h.indptr[h.rows[r] + 1] : 0;
    hop_row<T, B, F>(h, r, limit, adam_hop);
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
