// Compiled once per level with other -march flags (FGR_ISA_LEVEL). Everything here has internal linkage and no standard
// library function is instantiated, so that the linker can never hand a caller code of a higher level.
#include "cpu/isa/levels.h"

namespace {

using fgr::acc_t;
using fgr::bf16;
using fgr::cpu::AdamScalars;
using fgr::cpu::Hop;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

typedef float VecF __attribute__((vector_size(vector_bytes)));
typedef double VecD __attribute__((vector_size(vector_bytes)));
typedef uint32_t VecU __attribute__((vector_size(vector_bytes)));
typedef int32_t VecI __attribute__((vector_size(vector_bytes)));
typedef uint16_t VecH __attribute__((vector_size(vector_bytes / 2)));

template <class T>
struct Simd {
  using V = VecF;
};
template <>
struct Simd<double> {
  using V = VecD;
};
template <class T>
using Vec = typename Simd<T>::V;
template <class T>
constexpr int lanes = vector_bytes / static_cast<int>(sizeof(acc_t<T>));

template <class V, class P>
inline V load_raw(const P* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline VecF load_vec(const float* p) { return load_raw<VecF>(p); }
inline VecD load_vec(const double* p) { return load_raw<VecD>(p); }
inline VecF load_vec(const bf16* p) {
  const VecU wide = __builtin_convertvector(load_raw<VecH>(p), VecU) << 16;
  return load_raw<VecF>(&wide);
}
inline void store_vec(float* p, VecF v) { __builtin_memcpy(p, &v, sizeof v); }
inline void store_vec(double* p, VecD v) { __builtin_memcpy(p, &v, sizeof v); }
inline void store_vec(bf16* p, VecF v) {  // round to nearest even, NaN stays NaN: as to_bf16 in common/bf16.h
  const VecU bits = load_raw<VecU>(&v);
  const VecU rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const VecU quiet = (bits >> 16) | 0x40u;
  const VecI nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const VecU mask = load_raw<VecU>(&nan);
  const VecH half = __builtin_convertvector((quiet & mask) | (rounded & ~mask), VecH);
  __builtin_memcpy(p, &half, sizeof half);
}

inline float load_one(float x) { return x; }
inline double load_one(double x) { return x; }
inline float load_one(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  return load_raw<float>(&bits);
}
inline void store_one(float* p, float x) { *p = x; }
inline void store_one(double* p, double x) { *p = x; }
inline void store_one(bf16* p, float x) {
  const uint32_t bits = load_raw<uint32_t>(&x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  p->bits = static_cast<uint16_t>(nan ? ((bits >> 16) | 0x40u) : rounded);
}

// --- hop -----------------------------------------------------------------------------------------------------------

constexpr int64_t prefetch_edges = 8;  // rows ahead of the one being added

// Columns [c, c + N * lanes) of one row. The accumulators are N independent registers, each summed in edge order.
template <class T, int N, bool Scaled>
inline void hop_columns(const Hop<T>& h, int64_t row, int64_t c) {
  using A = acc_t<T>;
  Vec<T> acc[N] = {};
  const int64_t end = h.indptr[row + 1];
  for (int64_t e = h.indptr[row]; e < end; ++e) {
    if (e + prefetch_edges < end) {
      const char* ahead = reinterpret_cast<const char*>(h.x + h.indices[e + prefetch_edges] * h.dim + c);
#pragma GCC unroll 16
      for (int line = 0; line < N * lanes<T> * static_cast<int>(sizeof(T)); line += 64)
        __builtin_prefetch(ahead + line);
    }
    const int64_t col = h.indices[e];
    const T* x = h.x + col * h.dim + c;
    if constexpr (Scaled) {
      A s = h.col_scale != nullptr ? h.col_scale[col] : A(1);
      if (h.weight != nullptr) s *= static_cast<A>(h.weight[e]);
#pragma GCC unroll 16
      for (int v = 0; v < N; ++v) acc[v] += s * load_vec(x + v * lanes<T>);
    } else {
#pragma GCC unroll 16
      for (int v = 0; v < N; ++v) acc[v] += load_vec(x + v * lanes<T>);
    }
  }
  const A left = h.left != nullptr ? h.gain * h.left[row] : h.gain;
  const A out = h.out != nullptr ? h.out[row] : A(1);
  T* y = h.y + row * h.dim + c;
#pragma GCC unroll 16
  for (int v = 0; v < N; ++v) {
    Vec<T> r = left * acc[v];
    if (h.base != nullptr) r += h.beta * load_vec(h.base + row * h.dim + c + v * lanes<T>);
    store_vec(y + v * lanes<T>, out * r);
  }
}

template <class T, bool Scaled>
inline void hop_column(const Hop<T>& h, int64_t row, int64_t c) {  // one column: the tail of an odd dim
  using A = acc_t<T>;
  A acc = 0;
  for (int64_t e = h.indptr[row]; e < h.indptr[row + 1]; ++e) {
    const int64_t col = h.indices[e];
    A s = 1;
    if constexpr (Scaled) {
      if (h.col_scale != nullptr) s = h.col_scale[col];
      if (h.weight != nullptr) s *= static_cast<A>(h.weight[e]);
    }
    acc += s * load_one(h.x[col * h.dim + c]);
  }
  A r = (h.left != nullptr ? h.gain * h.left[row] : h.gain) * acc;
  if (h.base != nullptr) r += h.beta * load_one(h.base[row * h.dim + c]);
  store_one(h.y + row * h.dim + c, (h.out != nullptr ? h.out[row] : A(1)) * r);
}

template <class T, bool Scaled>
void hop_rows(const Hop<T>& h, int64_t row_begin, int64_t row_end) {
  constexpr int wide = vector_bytes == 16 ? 8 : 16;  // half the registers (SSE, AVX2: 16; AVX-512: 32) stay free
  constexpr int most = vector_bytes == 64 ? wide : 8;
  for (int64_t row = row_begin; row < row_end; ++row) {
    int64_t c = 0;
    for (; c + most * lanes<T> <= h.dim; c += most * lanes<T>) hop_columns<T, most, Scaled>(h, row, c);
    if constexpr (most == 16) {
      if (c + 8 * lanes<T> <= h.dim) hop_columns<T, 8, Scaled>(h, row, c), c += 8 * lanes<T>;
    }
    if (c + 4 * lanes<T> <= h.dim) hop_columns<T, 4, Scaled>(h, row, c), c += 4 * lanes<T>;
    if (c + 2 * lanes<T> <= h.dim) hop_columns<T, 2, Scaled>(h, row, c), c += 2 * lanes<T>;
    if (c + 1 * lanes<T> <= h.dim) hop_columns<T, 1, Scaled>(h, row, c), c += 1 * lanes<T>;
    for (; c < h.dim; ++c) hop_column<T, Scaled>(h, row, c);
  }
}

template <class T>
void hop(const Hop<T>& h, int64_t row_begin, int64_t row_end) {
  if (h.col_scale != nullptr || h.weight != nullptr) {
    hop_rows<T, true>(h, row_begin, row_end);
  } else {
    hop_rows<T, false>(h, row_begin, row_end);
  }
}

// --- rows ----------------------------------------------------------------------------------------------------------

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

template <class T>
void axpy(acc_t<T>* y, acc_t<T> a, const T* x, int64_t n) {
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store_vec(y + i, load_vec(y + i) + a * load_vec(x + i));
  for (; i < n; ++i) y[i] += a * load_one(x[i]);
}

// --- dense ---------------------------------------------------------------------------------------------------------

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
  constexpr int mr = 6;  // 6 x 2 accumulators + 2 of B + 1 broadcast = 15 of 16 registers
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
  float top = -__builtin_inff();
  for (int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  *max = top;
  constexpr int w = lanes<float>;
  VecF acc = {};
  int64_t i = 0;
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

template <class A>
void adam(A* __restrict param, const A* __restrict grad, A* __restrict exp_avg, A* __restrict exp_avg_sq, int64_t n,
          const AdamScalars& s) {
  const A b1 = static_cast<A>(s.beta1), b2 = static_cast<A>(s.beta2), eps = static_cast<A>(s.eps);
  const A c1 = static_cast<A>(1 - s.beta1), c2 = static_cast<A>(1 - s.beta2), decay = static_cast<A>(s.weight_decay);
  const A step_size = static_cast<A>(s.step_size), inv_sqrt_bias2 = static_cast<A>(s.inv_sqrt_bias2);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const A g = grad[i] + decay * param[i];
    const A m = b1 * exp_avg[i] + c1 * g;
    const A v = b2 * exp_avg_sq[i] + c2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    A root;
    if constexpr (sizeof(A) == 4) {
      root = __builtin_sqrtf(v);
    } else {
      root = __builtin_sqrt(v);
    }
    param[i] -= step_size * m / (root * inv_sqrt_bias2 + eps);
  }
}

template <class T>
constexpr fgr::cpu::Kernels<T> sparse_table{&hop<T>, &dot<T>, &axpy<T>};
template <class A>
constexpr fgr::cpu::DenseKernels<A> dense_table{&gemm<A>, &exp_row, &adam<A>};

}  // namespace

#define FGR_CONCAT_(a, b) a##b
#define FGR_CONCAT(a, b) FGR_CONCAT_(a, b)
#define FGR_STRING_(a) #a
#define FGR_STRING(a) FGR_STRING_(a)

namespace fgr::cpu {

const Level& FGR_CONCAT(level_, FGR_ISA_LEVEL)() {
  static constexpr Level table{FGR_STRING(FGR_ISA_LEVEL), sparse_table<float>, sparse_table<double>,
                               sparse_table<bf16>,        dense_table<float>,  dense_table<double>};
  return table;
}

}  // namespace fgr::cpu
