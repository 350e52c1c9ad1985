// The inner loops, compiled once per instruction-set level (kernels.cpp) and chosen when the module is imported.
#pragma once

#include "common/sampling.h"
#include "fgr/adam_step.h"
#include "fgr/types.h"

namespace fgr::cpu {

// One hop over rows [begin, end) of one half of the graph:
//   y[i, :] = out[i] * (gain * left[i] * sum_e weight[e] * col_scale[indices[e]] * x[indices[e], :] + beta * base[i,
//   :])
// Null left, out, col_scale or weight count as 1; null base or indptr as 0. x: rows of the other half; base, y, left,
// out: of this half. Sparse operands, each where its table is given:
//   rows       only rows[begin .. end) are computed; y holds them side by side: y[r, :] belongs to row rows[r]
//   col_slot   x and col_scale are compact: column c stands in row col_slot[c] of them, and nowhere where that is < 0
//   base_slot  likewise for base
template <class T, class B = T>
struct Hop {
  const int64_t* indptr = nullptr;
  const int32_t* indices = nullptr;
  const float* weight = nullptr;
  const acc_t<T>* col_scale = nullptr;
  const int32_t* col_slot = nullptr;
  const T* x = nullptr;
  acc_t<T> gain = 1;
  const acc_t<T>* left = nullptr;
  const acc_t<T>* out = nullptr;
  acc_t<T> beta = 0;
  const B* base = nullptr;
  const int32_t* base_slot = nullptr;
  const int32_t* rows = nullptr;
  T* y = nullptr;
  int64_t dim = 0;
};

struct AdamScalars {  // of one step: see adam_step.h
  double beta1, beta2, eps, weight_decay, step_size, inv_sqrt_bias2;
  double carry1, carry2;  // what of the moments is left: the betas, or their powers where steps were missed
};
AdamScalars adam_scalars(const AdamOptions& options, double lr, int64_t step);
constexpr int64_t adam_cost = 4;  // operations of an element

// A hop whose result is the gradient of param [rows, dim]: Adam's update takes the place of storing y. If shadow is
// given, the new parameters are stored there too, as T, times shadow_scale[i] (null: 1).
template <class T>
struct AdamHop {
  Hop<T, acc_t<T>> hop;
  acc_t<T>*param, *exp_avg, *exp_avg_sq;
  T* shadow;
  const acc_t<T>* shadow_scale;
  AdamScalars scalars;
};

template <class T>
struct Kernels {
  void (*hop)(const Hop<T>& hop, int64_t begin, int64_t end);
  void (*step_hop)(const Hop<T, acc_t<T>>& hop, int64_t begin, int64_t end);  // base in the accumulator's type
  void (*adam_hop)(const AdamHop<T>& hop, int64_t begin, int64_t end);
  // sum a[i] b[i]
  acc_t<T> (*dot)(const T* a, const T* b, int64_t n);
  // out[p] += factor * sum of a[i] b[i] over panel p of columns (common/column_panels.h), in double
  void (*panel_dots)(const T* a, const T* b, double factor, int64_t dim, double* out);
  // y += a x
  void (*axpy)(acc_t<T>* y, acc_t<T> a, const T* x, int64_t n);
  // sums [dim] = sum of coef[i] * x[rows[i] * ld ...] over n terms, added to what is there if `more`
  void (*weighted_rows)(const T* x, int64_t ld, const int32_t* rows, const acc_t<T>* coef, int64_t n, int64_t dim,
                        bool more, acc_t<T>* sums);
  // out[c * n + j] = factors[j] * rows[j][c], 0 where rows[j] is null; out [dim, n], n a multiple of 16.
  void (*pack)(const T* const* rows, const acc_t<T>* factors, int64_t n, int64_t dim, acc_t<T>* out);
};

constexpr int64_t row_dots_queries = 4;

template <class A>
struct DenseKernels {  // A = float, double
  // C [m, n] (+)= A [m, k] B [k, n]; element (i, p) of A at a[i * a_row + p * a_col], B and C row-major with ldb, ldc.
  void (*gemm)(int64_t m, int64_t n, int64_t k, const A* a, int64_t a_row, int64_t a_col, const A* b, int64_t ldb, A* c,
               int64_t ldc, bool accumulate);
  // out[q * ld + i] = <queries[q], factors[i] * rows[i]>, each sum in the order of gemm's, for n rows, a multiple of
  // the lanes (a null row: zeros), and row_dots_queries queries [n_queries, dim] or fewer: packing rows for these would
  // cost more.
  void (*row_dots)(const A* const* rows, const A* factors, int64_t n, int64_t dim, const A* queries, int64_t n_queries,
                   A* out, int64_t ld);
  // x[i] = exp(scale * (x[i] - max x)); returns sum of the results, *max is set.
  A (*exp_row)(A* x, int64_t n, A scale, A* max);
  // The i with !(x[i] < bound), ascending, into out [n]: a NaN on either side counts. Returns how many.
  int64_t (*not_below)(const A* x, int64_t n, A bound, int32_t* out);
  void (*adam)(A* param, const A* grad, A* exp_avg, A* exp_avg_sq, int64_t n, const AdamScalars& s);
};

// The counter-based draws (seed, stream, first + i, draw) of elements i in [0, n), n a multiple of 16.
using RandomPairs = void (*)(uint64_t seed, Stream stream, uint64_t first, uint32_t draw, int n, RandomPair* out);

// x [m] = (D + sum_j w_j v_j v_j^T)^-1 sum_j w_j t_j v_j of n rows v_j, or a step to it: see ridge_rows.h.
struct RidgeSystem {
  const float* const* rows = nullptr;  // [n] v_j
  const float* root = nullptr;         // [n] sqrt(w_j), or null: 1
  const float* target = nullptr;       // [n] t_j; of a step t_j - <v_j, x>
  const float* diagonal = nullptr;     // [m] D > 0
  int64_t n = 0, m = 0;                // m: a multiple of ridge_unit
  bool step = false;                   // x is read, and moved to the minimum; then n >= m
  float* x = nullptr;
  float* moved = nullptr;  // [m] of a step: by how much
  float* space = nullptr;  // ridge_space(n, m) of them
};
constexpr int64_t ridge_unit = 16;    // columns of a system come in units
constexpr int64_t ridge_panel = 32;   // of a matrix that lies row by row
constexpr int64_t ridge_depth = 128;  // rows v_j that are packed at a time
constexpr int64_t ridge_wide(int64_t m) { return (m + ridge_panel - 1) / ridge_panel * ridge_panel; }
constexpr int64_t ridge_space(int64_t n, int64_t m) {
  return ridge_wide(m) * (m > ridge_depth ? m : ridge_depth) + ridge_wide(m) * m + 3 * m + n;
}

struct RidgeKernels {
  // Whether the matrix was positive definite; else x is undefined.
  bool (*solve)(const RidgeSystem& system);
  // out[j] -= <rows[j], x> over m columns, a multiple of ridge_unit
  void (*subtract_scores)(const float* const* rows, const float* x, int64_t n, int64_t m, float* out);
};

// Permutation::step of each x [n], n a multiple of 16, in place.
using PermutationSteps = void (*)(const Permutation& p, int n, uint64_t* x);

struct Level {
  const char* name;
  Kernels<float> f32;
  Kernels<double> f64;
  Kernels<bf16> b16;
  DenseKernels<float> dense_f32;
  DenseKernels<double> dense_f64;
  RandomPairs random_pairs;
  RidgeKernels ridge;
  PermutationSteps permutation_steps;
};

const Level& level_baseline();  // any x86-64; NEON on 64-bit ARM; any other processor
const Level& level_v3();        // x86-64-v3: AVX2, FMA, F16C, BMI
const Level& level_v4();        // x86-64-v4: AVX-512 F, BW, CD, DQ, VL

// The level in use: the best that the processor has, or the one that select_level named.
const Level& level();
// Throws std::invalid_argument for an unknown name or a level that this processor or build lacks.
void select_level(const char* name);
// The levels that this build holds and this processor runs, best last; n is set to their number.
const Level* const* usable_levels(int* n);

template <class T>
const Kernels<T>& kernels();
template <>
inline const Kernels<float>& kernels<float>() {
  return level().f32;
}
template <>
inline const Kernels<double>& kernels<double>() {
  return level().f64;
}
template <>
inline const Kernels<bf16>& kernels<bf16>() {
  return level().b16;
}

template <class A>
const DenseKernels<A>& dense_kernels();
template <>
inline const DenseKernels<float>& dense_kernels<float>() {
  return level().dense_f32;
}
template <>
inline const DenseKernels<double>& dense_kernels<double>() {
  return level().dense_f64;
}

}  // namespace fgr::cpu
