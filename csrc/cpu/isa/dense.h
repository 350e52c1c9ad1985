// Rows and dense blocks: dot, axpy, products, exponentials.
#pragma once

#include "common/column_panels.h"
#include "cpu/isa/simd.h"

namespace {

template <class T>
acc_t<T> dot(const T* a, const T* b, int64_t n) {
  Vec<T> acc[2] = {};
  int64_t i = 0;
  for (; i + 2 * lanes<T> <= n; i += 2 * lanes<T>) {
    acc[0] += load_vec(a + i) * load_vec(b + i);
    acc[1] += load_vec(a + i + lanes<T>) * load_vec(b + i + lanes<T>);
  }
  acc[0] += acc[1];
  acc_t<T> sum = 0;
  for (int l = 0; l < lanes<T>; ++l) sum += acc[0][l];
  for (; i < n; ++i) sum += load_one(a[i]) * load_one(b[i]);
  return sum;
}

// Eight of them as doubles, and their sum: of each with the fourth after it, of these with the second, of both.
typedef double EightD __attribute__((vector_size(64)));
typedef float EightF __attribute__((vector_size(32)));
typedef uint32_t EightU __attribute__((vector_size(32)));
typedef uint16_t EightH __attribute__((vector_size(16)));
typedef int64_t EightI __attribute__((vector_size(64)));
FGR_INLINE EightD load_eight(const double* p) { return load_raw<EightD>(p); }
FGR_INLINE EightD load_eight(const float* p) { return __builtin_convertvector(load_raw<EightF>(p), EightD); }
FGR_INLINE EightD load_eight(const bf16* p) {
  const EightU bits = __builtin_convertvector(load_raw<EightH>(p), EightU) << 16;
  return __builtin_convertvector(load_raw<EightF>(&bits), EightD);
}
FGR_INLINE double sum_of(EightD v) {
  v += __builtin_shuffle(v, EightI{4, 5, 6, 7, 0, 1, 2, 3});
  v += __builtin_shuffle(v, EightI{2, 3, 0, 1, 6, 7, 4, 5});
  return v[0] + v[1];
}

// out[p] += factor * <a, b> over the columns of panel p, in double.
template <class T>
void panel_dots(const T* a, const T* b, double factor, int64_t dim, double* out) {
  constexpr int w = fgr::column_panel;
  for (int64_t c = 0; c < dim; c += w, ++out) {
    EightD products[2] = {};
    if (c + w <= dim) {
      products[0] = load_eight(a + c) * load_eight(b + c);
      products[1] = load_eight(a + c + w / 2) * load_eight(b + c + w / 2);
    } else {
      for (int l = 0; c + l < dim; ++l) {
        products[l / 8][l % 8] = static_cast<double>(load_one(a[c + l])) * static_cast<double>(load_one(b[c + l]));
      }
    }
    *out += factor * sum_of(products[0] + products[1]);
  }
}

// sums = sum over n terms of coef[i] * x[rows[i] * ld ...] of `width` columns, on top of what is there if `more`.
template <class T, int N>
FGR_INLINE void add_terms(const T* x, int64_t ld, const int32_t* rows, const acc_t<T>* coef, int64_t n, bool more,
                          acc_t<T>* sums) {
  Vec<T> acc[N] = {};
  if (more) {
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) acc[v] = load_vec(sums + v * lanes<T>);
  }
  for (int64_t i = 0; i < n; ++i) {
    const T* row = x + rows[i] * ld;
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) acc[v] += coef[i] * load_vec(row + v * lanes<T>);
  }
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) store_vec(sums + v * lanes<T>, acc[v]);
}

// Columns [c, dim), fewer than there are lanes, by the vector from column `from` on.
template <class T, class Load>
inline void add_tail(const T* x, int64_t ld, const int32_t* rows, const acc_t<T>* coef, int64_t n, bool more, int64_t c,
                     int64_t from, int64_t dim, acc_t<T>* sums, const Load& load) {
  acc_t<T> all[lanes<T>] = {};
  for (int64_t i = c; more && i < dim; ++i) all[i - from] = sums[i];
  Vec<T> acc = load_vec(all);
  for (int64_t i = 0; i < n; ++i) acc += coef[i] * load(x + rows[i] * ld + from);
  store_vec(all, acc);
  for (int64_t i = c; i < dim; ++i) sums[i] = all[i - from];
}

template <class T>
void weighted_rows(const T* x, int64_t ld, const int32_t* rows, const acc_t<T>* coef, int64_t n, int64_t dim, bool more,
                   acc_t<T>* sums) {
  constexpr int w = lanes<T>;
  int64_t c = 0;
  for (; c + 4 * w <= dim; c += 4 * w) add_terms<T, 4>(x + c, ld, rows, coef, n, more, sums + c);
  for (; c + w <= dim; c += w) add_terms<T, 1>(x + c, ld, rows, coef, n, more, sums + c);
  if (c == dim) return;
  if (dim >= w) {
    add_tail(x, ld, rows, coef, n, more, c, dim - w, dim, sums, Whole{});
  } else {
    add_tail(x, ld, rows, coef, n, more, 0, 0, dim, sums, First{dim});
  }
}

template <class T>
void axpy(acc_t<T>* y, acc_t<T> a, const T* x, int64_t n) {
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store_vec(y + i, load_vec(y + i) + a * load_vec(x + i));
  for (; i < n; ++i) y[i] += a * load_one(x[i]);
}

template <int bytes>
struct LaneOf {
  using I = int32_t;
};
template <>
struct LaneOf<8> {
  using I = int64_t;
};
template <int bytes>
using Lane = typename LaneOf<bytes>::I;

// Which lanes of two vectors, one behind the other, make the two that a round of the transpose leaves; in memory, since
// a compiler may put vectors together lane by lane where they are used.
template <class Lanes, int w>
struct Rounds {
  static constexpr int bytes = sizeof(Lanes) / w;
  struct Round {
    Lane<bytes> low[w], high[w];
  };
  Round of[4];  // as many as w has bits

  constexpr Rounds() : of{} {
    for (int r = 0, bit = 1; bit < w; ++r, bit *= 2) {
      for (int l = 0; l < w; ++l) {
        of[r].low[l] = l & bit ? w + l - bit : l;
        of[r].high[l] = l & bit ? w + l : l + bit;
      }
    }
  }
};

// The transpose of w vectors of w lanes, in place: round by round one bit of the number of the vector changes places
// with that of the lane.
template <class V, int w>
FGR_INLINE void transpose(V* rows) {
  using Lanes = decltype(rows[0] < rows[0]);
  static constexpr Rounds<Lanes, w> rounds;
#pragma GCC unroll 8
  for (int bit = 1; bit < w; bit *= 2) {
    const auto& round = rounds.of[__builtin_ctz(static_cast<unsigned>(bit))];
    const Lanes low = load_raw<Lanes>(round.low), high = load_raw<Lanes>(round.high);
#pragma GCC unroll 16
    for (int i = 0; i < w; ++i) {
      if (i & bit) continue;
      const V a = rows[i], b = rows[i + bit];
      rows[i] = __builtin_shuffle(a, b, low);
      rows[i + bit] = __builtin_shuffle(a, b, high);
    }
  }
}

// n: a multiple of the lanes.
template <class T>
void pack(const T* const* rows, const acc_t<T>* factors, int64_t n, int64_t dim, acc_t<T>* out) {
  constexpr int w = lanes<T>;
  for (int64_t j = 0; j < n; j += w) {
    int64_t c = 0;
    for (; c + w <= dim; c += w) {
      Vec<T> block[w];
#pragma GCC unroll 16
      for (int i = 0; i < w; ++i) {
        block[i] = rows[j + i] != nullptr ? factors[j + i] * load_vec(rows[j + i] + c) : (Vec<T>){};
      }
      transpose<Vec<T>, w>(block);
#pragma GCC unroll 16
      for (int i = 0; i < w; ++i) store_vec(out + (c + i) * n + j, block[i]);
    }
    for (; c < dim; ++c) {
      for (int i = 0; i < w; ++i) {
        out[c * n + j + i] = rows[j + i] != nullptr ? factors[j + i] * load_one(rows[j + i][c]) : acc_t<T>(0);
      }
    }
  }
}

// out[q * ld + i] = <queries[q], factors[i] * rows[i]> of as many rows as there are lanes: transposed in registers, so
// that each lane adds up a row's products in their order, as gemm does.
template <class A, int Q>
inline void row_dots_block(const A* const* rows, const A* factors, int64_t dim, const A* queries, A* out, int64_t ld) {
  constexpr int w = lanes<A>;
  Vec<A> acc[Q] = {};
  const auto add = [&](Vec<A> column, int64_t c) {
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) acc[q] += queries[q * dim + c] * column;
  };
  int64_t c = 0;
  for (; c + w <= dim; c += w) {
    Vec<A> block[w];
#pragma GCC unroll 16
    for (int i = 0; i < w; ++i) block[i] = rows[i] != nullptr ? factors[i] * load_vec(rows[i] + c) : (Vec<A>){};
    transpose<Vec<A>, w>(block);
#pragma GCC unroll 16
    for (int i = 0; i < w; ++i) add(block[i], c + i);
  }
  for (; c < dim; ++c) {
    A column[w];
    for (int i = 0; i < w; ++i) column[i] = rows[i] != nullptr ? factors[i] * rows[i][c] : A(0);
    add(load_vec(column), c);
  }
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q) store_vec(out + q * ld, acc[q]);
}

template <class A>
void row_dots(const A* const* rows, const A* factors, int64_t n, int64_t dim, const A* queries, int64_t n_queries,
              A* out, int64_t ld) {
  for (int64_t i = 0; i < n; i += lanes<A>) {
    const auto block = [&](auto kernel) { kernel(rows + i, factors + i, dim, queries, out + i, ld); };
    if (n_queries == 1) block(row_dots_block<A, 1>);
    if (n_queries == 2) block(row_dots_block<A, 2>);
    if (n_queries == 3) block(row_dots_block<A, 3>);
    if (n_queries == 4) block(row_dots_block<A, 4>);
  }
}

// MR x (NV vectors) of C in registers; the sum over k in order.
template <class A, int MR, int NV>
inline void gemm_tile(int64_t k, const A* a, int64_t a_row, int64_t a_col, const A* b, int64_t ldb, A* c, int64_t ldc,
                      bool accumulate) {
  constexpr int w = lanes<A>;
  Vec<A> acc[MR][NV] = {};
  for (int64_t p = 0; p < k; ++p) {
    Vec<A> bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) bv[j] = load_vec(b + p * ldb + j * w);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const A s = a[i * a_row + p * a_col];
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] += s * bv[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      A* out = c + i * ldc + j * w;
      store_vec(out, accumulate ? load_vec(out) + acc[i][j] : acc[i][j]);
    }
  }
}

template <class A>
inline void gemm_edge(int64_t m, int64_t n, int64_t k, const A* a, int64_t a_row, int64_t a_col, const A* b,
                      int64_t ldb, A* c, int64_t ldc, bool accumulate) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      A sum = 0;
      for (int64_t p = 0; p < k; ++p) sum += a[i * a_row + p * a_col] * b[p * ldb + j];
      c[i * ldc + j] = accumulate ? c[i * ldc + j] + sum : sum;
    }
  }
}

template <class A>
void gemm(int64_t m, int64_t n, int64_t k, const A* a, int64_t a_row, int64_t a_col, const A* b, int64_t ldb, A* c,
          int64_t ldc, bool accumulate) {
  constexpr int mr = vector_registers == 32 ? 8 : 6;  // 6 x 2 sums + 2 of B + 1 broadcast = 15 of 16
  constexpr int64_t nr = 2 * lanes<A>;
  int64_t j = 0;
  for (; j + nr <= n; j += nr) {
    int64_t i = 0;
    for (; i + mr <= m; i += mr) {
      gemm_tile<A, mr, 2>(k, a + i * a_row, a_row, a_col, b + j, ldb, c + i * ldc + j, ldc, accumulate);
    }
    for (; i + 2 <= m; i += 2) {
      gemm_tile<A, 2, 2>(k, a + i * a_row, a_row, a_col, b + j, ldb, c + i * ldc + j, ldc, accumulate);
    }
    for (; i < m; ++i) {
      gemm_tile<A, 1, 2>(k, a + i * a_row, a_row, a_col, b + j, ldb, c + i * ldc + j, ldc, accumulate);
    }
  }
  if (j < n) gemm_edge(m, n - j, k, a, a_row, a_col, b + j, ldb, c + j, ldc, accumulate);
}

template <class A>
int64_t not_below(const A* x, int64_t n, A bound, int32_t* out) {
  constexpr int w = lanes<A>, word = 64;
  const Vec<A> bounds = (Vec<A>){} + bound;
  int64_t found = 0, i = 0;
  for (; i + word <= n; i += word) {
    uint64_t bits = 0;
#pragma GCC unroll 32
    for (int v = 0; v < word; v += w) bits |= not_less(load_vec(x + i + v), bounds) << v;
    for (; bits != 0; bits &= bits - 1) out[found++] = static_cast<int32_t>(i + __builtin_ctzll(bits));
  }
  for (; i < n; ++i) {
    out[found] = static_cast<int32_t>(i);
    found += !(x[i] < bound);
  }
  return found;
}

// exp for x <= 0, float: 2^n * p(r), |relative error| < 2e-7 (Cephes' expf polynomial); flushes to 0 below -87.
template <class V>
inline V exp_nonpositive(V x) {
  const V low = (V){} - 87.0f;
  const VecI under = x < low;
  V t = x * 1.44269504088896341f;
  t = t - 0.5f;  // x <= 0: truncation of t - 1/2 rounds to nearest
  const VecI n = __builtin_convertvector(t, VecI);
  const V nf = __builtin_convertvector(n, V);
  V r = x - nf * 0.693359375f;
  r = r + nf * 2.12194440e-4f;
  V p = (V){} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const VecI bits = (n + 127) << 23;
  const V scaled = p * load_raw<V>(&bits);
  const VecI kept = load_raw<VecI>(&scaled) & ~under;
  return load_raw<V>(&kept);
}

inline float exp_row(float* x, int64_t n, float scale, float* max) {
  constexpr int w = lanes<float>;
  float top = -__builtin_inff();
  VecF tops = (VecF){} + top;
  int64_t i = 0;
  for (; i + w <= n; i += w) {
    const VecF v = load_vec(x + i);
    tops = v > tops ? v : tops;
  }
  for (int l = 0; l < w; ++l) top = tops[l] > top ? tops[l] : top;
  for (; i < n; ++i) top = x[i] > top ? x[i] : top;
  *max = top;
  VecF acc = {};
  i = 0;
  for (; i + w <= n; i += w) {
    const VecF e = exp_nonpositive((load_vec(x + i) - top) * scale);
    store_vec(x + i, e);
    acc += e;
  }
  float sum = 0;
  for (int l = 0; l < w; ++l) sum += acc[l];
  if (i < n) {
    VecF tail = (VecF){} + top;
    __builtin_memcpy(&tail, x + i, static_cast<unsigned long>(n - i) * sizeof(float));
    tail = exp_nonpositive((tail - top) * scale);
    for (int64_t l = 0; i < n; ++i, ++l) sum += (x[i] = tail[l]);
  }
  return sum;
}

inline double exp_row(double* x, int64_t n, double scale, double* max) {
  double top = -__builtin_inf(), sum = 0;
  for (int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  *max = top;
  for (int64_t i = 0; i < n; ++i) sum += (x[i] = __builtin_exp((x[i] - top) * scale));
  return sum;
}

}  // namespace
