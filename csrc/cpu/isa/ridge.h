// Small ridge systems: levels.h says which.
//
// Matrices lie in panels of ridge_panel columns, row after row, so that a tile reads both of its factors from lines
// that follow each other. With D > 0 there are two ways, and both are P^T P, a Cholesky factor and two triangular
// solves:
//   at least as many rows as columns: (D + U^T U) x = U^T s, with the rows u_j = sqrt(w_j) v_j of U, s_j = sqrt(w_j)
//   t_j fewer: x = D^-1 U^T y, (I + U D^-1 U^T) y = s, which is the same x (Woodbury), of a smaller matrix
#pragma once

#include "cpu/isa/dense.h"

namespace {

using fgr::cpu::ridge_depth;
using fgr::cpu::ridge_panel;
using fgr::cpu::ridge_unit;
using fgr::cpu::ridge_wide;
using fgr::cpu::RidgeSystem;

constexpr int ridge_lanes = lanes<float>;
// Of a tile, which has two vectors: as many sums as registers hold.
constexpr int tile_height = ridge_lanes == 16 ? 8 : 4;
static_assert(ridge_lanes % tile_height == 0, "tiles end where a block on the diagonal does");

// A matrix in panels; element (r, c) with c / ridge_lanes * ridge_lanes = c0 stands in the vector at(r, c0).
struct Panels {
  float* data;
  int64_t rows;
  FGR_INLINE float* at(int64_t r, int64_t c) const {
    return data + (c / ridge_panel * rows + r) * ridge_panel + c % ridge_panel;
  }
};

// Tile (i, j) of C (+)= P^T P over the first k rows of P.
template <int NV>
FGR_INLINE void square_tile(int64_t k, const Panels& p, int64_t i, int64_t j, const Panels& c, bool add) {
  VecF acc[tile_height][NV] = {};
  const float *a = p.at(0, i), *b = p.at(0, j);
  for (int64_t r = 0; r < k; ++r, a += ridge_panel, b += ridge_panel) {
    VecF bv[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) bv[v] = load_vec(b + v * ridge_lanes);
#pragma GCC unroll 8
    for (int t = 0; t < tile_height; ++t) {
      const float s = a[t];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) acc[t][v] += s * bv[v];
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < tile_height; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      float* out = c.at(i + t, j) + v * ridge_lanes;
      store_vec(out, add ? load_vec(out) + acc[t][v] : acc[t][v]);
    }
  }
}

// The upper triangle, in vectors, of C (+)= P^T P [size, size]; columns of P from `used` on are 0.
void square(int64_t size, int64_t used, int64_t k, const Panels& p, const Panels& c, bool add) {
  constexpr int w = ridge_lanes;
  for (int64_t j = 0; j < size; j += 2 * w) {
    const bool two = j + w < size;
    for (int64_t i = 0; i < j + w; i += tile_height) {
      const int64_t depth = i < used ? k : 0;
      if (two) {
        square_tile<2>(depth, p, i, j, c, add);
      } else {
        square_tile<1>(depth, p, i, j, c, add);
      }
    }
    for (int64_t i = j + w; two && i < j + 2 * w; i += tile_height) {
      square_tile<1>(i < used ? k : 0, p, i, j + w, c, add);
    }
  }
}

// R of the block on the diagonal: a row is divided by its pivot and taken from those below, and in the end by the root
// of it, which nothing waits for. Below the diagonal stands what is left of rounding.
FGR_INLINE bool factor_block(VecF* row, float* out, float* inverse) {
  float pivots[ridge_lanes];
  bool positive = true;
#pragma GCC unroll 16
  for (int i = 0; i < ridge_lanes; ++i) {
    float* own = out + i * ridge_panel;
    store_vec(own, row[i]);
    pivots[i] = row[i][i];
    positive &= pivots[i] > 0 && pivots[i] <= __FLT_MAX__;
    const VecF share = row[i] * (1 / pivots[i]);
#pragma GCC unroll 16
    for (int r = i + 1; r < ridge_lanes; ++r) row[r] -= own[r] * share;
  }
  for (int i = 0; i < ridge_lanes; ++i) inverse[i] = 1 / __builtin_sqrtf(pivots[i]);
#pragma GCC unroll 16
  for (int i = 0; i < ridge_lanes; ++i) store_vec(out + i * ridge_panel, inverse[i] * row[i]);
  return positive;
}

// C = R^T R in place, R upper triangular; inverse [size]: 1 / R_ii. A block of rows at a time: what the rows above take
// from it and its own triangle meet in registers.
bool factor(int64_t size, const Panels& c, float* inverse) {
  constexpr int w = ridge_lanes;
  for (int64_t i = 0; i < size; i += w) {
    const float* own = c.at(i, i);
    for (int64_t j = i; j < size; j += w) {
      float* out = c.at(i, j);
      VecF row[w];
#pragma GCC unroll 16
      for (int t = 0; t < w; ++t) row[t] = load_vec(out + t * ridge_panel);
      const float *a = c.at(0, i), *b = c.at(0, j);
      for (int64_t r = 0; r < i; ++r, a += ridge_panel, b += ridge_panel) {
        const VecF bv = load_vec(b);
#pragma GCC unroll 16
        for (int t = 0; t < w; ++t) row[t] -= a[t] * bv;
      }
      if (j == i) {
        if (!factor_block(row, out, inverse + i)) return false;
        continue;
      }
#pragma GCC unroll 16
      for (int t = 0; t < w; ++t) {
        row[t] *= inverse[i + t];
        store_vec(out + t * ridge_panel, row[t]);
#pragma GCC unroll 16
        for (int r = t + 1; r < w; ++r) row[r] -= own[t * ridge_panel + r] * row[t];
      }
    }
  }
  return true;
}

// x = R^-1 R^-T x.
void solve_factored(int64_t size, const Panels& c, const float* inverse, float* x) {
  constexpr int w = ridge_lanes;
  for (int64_t i = 0; i < size; i += w) {
    const float* own = c.at(i, i);
    VecF v = load_vec(x + i);
#pragma GCC unroll 16
    for (int t = 0; t < w; ++t) {
      x[i + t] = v[t] * inverse[i + t];
      v -= x[i + t] * load_vec(own + t * ridge_panel);
    }
    for (int64_t j = i + w; j < size; j += w) {
      const float* row = c.at(i, j);
      VecF even = load_vec(x + j), odd = {};
#pragma GCC unroll 8
      for (int t = 0; t < w; t += 2) {
        even -= x[i + t] * load_vec(row + t * ridge_panel);
        odd -= x[i + t + 1] * load_vec(row + (t + 1) * ridge_panel);
      }
      store_vec(x + j, even + odd);
    }
  }
  for (int64_t i = size - w; i >= 0; i -= w) {
    VecF part[w] = {}, column[w];
    for (int64_t j = i + w; j < size; j += w) {
      const float* row = c.at(i, j);
      const VecF known = load_vec(x + j);
#pragma GCC unroll 16
      for (int t = 0; t < w; ++t) part[t] += load_vec(row + t * ridge_panel) * known;
    }
    transpose<VecF, w>(part);
    const float* own = c.at(i, i);
#pragma GCC unroll 16
    for (int t = 0; t < w; ++t) column[t] = load_vec(own + t * ridge_panel);
    transpose<VecF, w>(column);
    VecF v = load_vec(x + i);
#pragma GCC unroll 16
    for (int t = 0; t < w; ++t) v -= part[t];
#pragma GCC unroll 16
    for (int t = w - 1; t >= 0; --t) {
      x[i + t] = v[t] * inverse[i + t];
      v -= x[i + t] * column[t];
    }
  }
}

// out[c] = sum_j factor[j] rows[j][c], N vectors of them from c on.
template <int N>
FGR_INLINE void add_up(const float* const* rows, const float* factor, int64_t n, int64_t c, float* out) {
  VecF acc[N] = {};
  for (int64_t j = 0; j < n; ++j) {
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) acc[v] += factor[j] * load_vec(rows[j] + c + v * ridge_lanes);
  }
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) store_vec(out + c + v * ridge_lanes, acc[v]);
}
void combine(const float* const* rows, const float* factor, int64_t n, int64_t m, float* out) {
  int64_t c = 0;
  for (; c + 8 * ridge_lanes <= m; c += 8 * ridge_lanes) add_up<8>(rows, factor, n, c, out);
  for (; c < m; c += ridge_lanes) add_up<1>(rows, factor, n, c, out);
}

// Rows [first, first + n) of U into P, N vectors from column c on, and right += U^T s of them.
template <int N>
FGR_INLINE void pack_some(const RidgeSystem& s, int64_t first, int64_t n, int64_t c, const Panels& p, float* right) {
  VecF acc[N];
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) acc[v] = load_vec(right + c + v * ridge_lanes);
  for (int64_t j = 0; j < n; ++j) {
    const float* from = s.rows[first + j] + c;
    const float root = s.root == nullptr ? 1.0f : s.root[first + j], wanted = root * s.target[first + j];
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) {
      VecF own = load_vec(from + v * ridge_lanes);
      if (s.root != nullptr) own *= root;
      acc[v] += wanted * own;
      store_vec(p.at(j, c + v * ridge_lanes), own);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) store_vec(right + c + v * ridge_lanes, acc[v]);
}
void pack_rows(const RidgeSystem& s, int64_t first, int64_t n, const Panels& p, float* right) {
  constexpr int w = ridge_lanes;
  int64_t c = 0;
  for (; c + 8 * w <= s.m; c += 8 * w) pack_some<8>(s, first, n, c, p, right);
  for (; c + 2 * w <= s.m; c += 2 * w) pack_some<2>(s, first, n, c, p, right);
  if (c < s.m) pack_some<1>(s, first, n, c, p, right);
}

// (U D^-1/2)^T into P, with columns of 0 up to `size`.
void pack_columns(const RidgeSystem& s, const float* scale, int64_t size, const Panels& p) {
  constexpr int w = ridge_lanes;
  for (int64_t j = 0; j < size; j += w) {
    for (int64_t c = 0; c < s.m; c += w) {
      const VecF of_columns = load_vec(scale + c);
      VecF block[w];
#pragma GCC unroll 16
      for (int t = 0; t < w; ++t) {
        block[t] = (VecF){};
        if (j + t < s.n) block[t] = of_columns * load_vec(s.rows[j + t] + c);
        if (j + t < s.n && s.root != nullptr) block[t] *= s.root[j + t];
      }
      transpose<VecF, w>(block);
#pragma GCC unroll 16
      for (int t = 0; t < w; ++t) store_vec(p.at(c + t, j), block[t]);
    }
  }
}

FGR_INLINE float root_of(const RidgeSystem& s, int64_t j) { return s.root == nullptr ? 1.0f : s.root[j]; }

bool ridge_of_few(const RidgeSystem& s, int64_t size) {
  float* matrix = s.space + ridge_wide(s.m) * (s.m > ridge_depth ? s.m : ridge_depth);
  float *inverse = matrix + ridge_wide(s.m) * s.m, *scale = inverse + s.m, *y = scale + s.m, *factors = y + s.m;
  const Panels p{s.space, s.m}, c{matrix, size};
  for (int64_t i = 0; i < s.m; ++i) scale[i] = 1 / __builtin_sqrtf(s.diagonal[i]);
  pack_columns(s, scale, size, p);
  square(size, s.n, s.m, p, c, false);
  for (int64_t i = 0; i < size; ++i) *c.at(i, i) += 1;
  if (!factor(size, c, inverse)) return false;
  for (int64_t j = 0; j < size; ++j) y[j] = j < s.n ? root_of(s, j) * s.target[j] : 0;
  solve_factored(size, c, inverse, y);
  for (int64_t j = 0; j < s.n; ++j) factors[j] = root_of(s, j) * y[j];
  combine(s.rows, factors, s.n, s.m, s.x);
  for (int64_t i = 0; i < s.m; ++i) s.x[i] /= s.diagonal[i];
  return true;
}

bool ridge_of_many(const RidgeSystem& s) {
  float* matrix = s.space + ridge_wide(s.m) * (s.m > ridge_depth ? s.m : ridge_depth);
  float *inverse = matrix + ridge_wide(s.m) * s.m, *right = inverse + s.m;
  const Panels p{s.space, ridge_depth}, c{matrix, s.m};
  for (int64_t i = 0; i < s.m; ++i) right[i] = 0;
  for (int64_t first = 0; first < s.n; first += ridge_depth) {
    const int64_t rows = s.n - first < ridge_depth ? s.n - first : ridge_depth;
    pack_rows(s, first, rows, p, right);
    square(s.m, s.m, rows, p, c, first > 0);
  }
  for (int64_t i = 0; i < s.m; ++i) *c.at(i, i) += s.diagonal[i];
  if (!factor(s.m, c, inverse)) return false;
  if (s.step) {
    for (int64_t i = 0; i < s.m; ++i) right[i] -= s.diagonal[i] * s.x[i];
  }
  solve_factored(s.m, c, inverse, right);
  for (int64_t i = 0; i < s.m; ++i) {
    s.x[i] = s.step ? s.x[i] + right[i] : right[i];
    if (s.step) s.moved[i] = right[i];
  }
  return true;
}

bool ridge(const RidgeSystem& s) {
  const int64_t size = (s.n + ridge_unit - 1) / ridge_unit * ridge_unit;
  if (size >= s.m) return ridge_of_many(s);
  if (s.n > 0) return ridge_of_few(s, size);
  for (int64_t i = 0; i < s.m; ++i) s.x[i] = 0;
  return true;
}

void subtract_scores(const float* const* rows, const float* x, int64_t n, int64_t m, float* out) {
  constexpr int w = ridge_lanes;
  for (int64_t j = 0; j < n; j += w) {
    const float* row[w];
#pragma GCC unroll 16
    for (int t = 0; t < w; ++t) row[t] = rows[j + t < n ? j + t : n - 1];
    VecF part[w] = {};
    for (int64_t c = 0; c < m; c += w) {
      const VecF known = load_vec(x + c);
#pragma GCC unroll 16
      for (int t = 0; t < w; ++t) part[t] += load_vec(row[t] + c) * known;
    }
    transpose<VecF, w>(part);
#pragma GCC unroll 4
    for (int half = w / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int t = 0; t < half; ++t) part[t] += part[t + half];
    }
    if (j + w <= n) {
      store_vec(out + j, load_vec(out + j) - part[0]);
    } else {
      for (int t = 0; j + t < n; ++t) out[j + t] -= part[0][t];
    }
  }
}

}  // namespace
