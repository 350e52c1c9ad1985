// Compiled once per level with other -march flags (FGR_ISA_LEVEL). Everything here has internal linkage and no standard
// library function is instantiated, so that the linker can never hand a caller code of a higher level.
#include "cpu/isa/levels.h"

namespace {

using fgr::acc_t;
using fgr::bf16;
using fgr::cpu::AdamHop;
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

// Two vectors of consecutive elements, for sums that are only put in order at the end: a bf16 pair holds the even and
// the odd ones, which costs two instructions where widening in order costs ten.
template <class P, class V>
inline void load_pair(const P* p, V* pair) {
  if constexpr (sizeof(P) == 2) {
    const VecU bits = load_raw<VecU>(p), even = bits << 16, odd = bits & 0xffff0000u;
    pair[0] = load_raw<VecF>(&even);
    pair[1] = load_raw<VecF>(&odd);
  } else {
    pair[0] = load_vec(p);
    pair[1] = load_vec(p + sizeof(V) / sizeof(P));
  }
}
// A sum of such pairs, in the elements' order.
template <class P>
inline void order_pair(VecF* pair) {
  if constexpr (sizeof(P) == 2) {
    constexpr int n = static_cast<int>(sizeof(VecF) / sizeof(float));
    VecI low, high;
    for (int l = 0; l < n; ++l) {
      low[l] = l / 2 + l % 2 * n;
      high[l] = n / 2 + low[l];
    }
    const VecF even = pair[0], odd = pair[1];
    pair[0] = __builtin_shuffle(even, odd, low);
    pair[1] = __builtin_shuffle(even, odd, high);
  }
}
template <class P>
inline void order_pair(VecD*) {}

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

// --- Adam ----------------------------------------------------------------------------------------------------------

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

// --- hop -----------------------------------------------------------------------------------------------------------

struct NoAdam {};
template <class Adam>
constexpr bool is_adam = true;
template <>
constexpr bool is_adam<NoAdam> = false;

constexpr int64_t prefetch_edges = 16;  // rows ahead of the one being added
constexpr int64_t edge_block = 256;     // edges whose compact columns are collected at a time

// acc += rows col[0 .. n) of x, columns [c, c + N * lanes), one row after the other: N independent registers, in pairs
// as load_pair gives them. `readable` columns may be looked at, to fetch ahead.
template <class T, class B, int N, bool Scaled>
inline void add_rows(const Hop<T, B>& h, const int32_t* col, const float* weight, int64_t n, int64_t readable,
                     int64_t c, Vec<T>* acc) {
  using A = acc_t<T>;
  for (int64_t e = 0; e < n; ++e) {
    if (e + prefetch_edges < readable) {
      const char* ahead = reinterpret_cast<const char*>(h.x + col[e + prefetch_edges] * h.dim + c);
#pragma GCC unroll 16
      for (int line = 0; line < N * lanes<T> * static_cast<int>(sizeof(T)); line += 64)
        __builtin_prefetch(ahead + line);
    }
    const int64_t row = col[e];
    const T* x = h.x + row * h.dim + c;
    A s = 1;
    if constexpr (Scaled) {
      if (h.col_scale != nullptr) s = h.col_scale[row];
      if (weight != nullptr) s *= static_cast<A>(weight[e]);
    }
    const auto add = [s](Vec<T>& sum, Vec<T> term) {
      if constexpr (Scaled) {
        sum += s * term;
      } else {
        sum += term;
      }
    };
    if constexpr (N == 1) {
      add(acc[0], load_vec(x));
    } else {
#pragma GCC unroll 8
      for (int v = 0; v < N; v += 2) {
        Vec<T> pair[2];
        load_pair(x + v * lanes<T>, pair);
        add(acc[v], pair[0]);
        add(acc[v + 1], pair[1]);
      }
    }
  }
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
template <class T, class B, int N, bool Scaled>
inline void gather(const Hop<T, B>& h, int64_t row, int64_t limit, int64_t c, Vec<T>* acc) {
  if (h.indptr == nullptr) return;
  const int64_t begin = h.indptr[row], end = h.indptr[row + 1];
  if (h.col_slot == nullptr) {
    const float* weight = h.weight != nullptr ? h.weight + begin : nullptr;
    add_rows<T, B, N, Scaled>(h, h.indices + begin, weight, end - begin, limit - begin, c, acc);
    return;
  }
  int32_t col[edge_block];
  float weight[edge_block];
  for (int64_t e = begin; e < end; e += edge_block) {
    const int64_t n = collect(h, e, e + edge_block < end ? e + edge_block : end, col, weight);
    add_rows<T, B, N, Scaled>(h, col, h.weight != nullptr ? weight : nullptr, n, n, c, acc);
  }
}

template <class T, class B>
inline const B* base_row(const Hop<T, B>& h, int64_t row) {
  if (h.base == nullptr || h.beta == 0) return nullptr;
  const int64_t at = h.base_slot != nullptr ? h.base_slot[row] : row;
  return at >= 0 ? h.base + at * h.dim : nullptr;
}

// Columns [c, c + N * lanes) of row r: stored in y, or handed to Adam.
template <class T, class B, int N, bool Scaled, class Adam>
inline void hop_columns(const Hop<T, B>& h, int64_t r, int64_t limit, int64_t c, const Adam& adam_hop) {
  using A = acc_t<T>;
  constexpr int width = N * lanes<T>;
  const int64_t row = h.rows != nullptr ? h.rows[r] : r;
  Vec<T> acc[N] = {};
  gather<T, B, N, Scaled>(h, row, limit, c, acc);
  if constexpr (N > 1) {
#pragma GCC unroll 8
    for (int v = 0; v < N; v += 2) order_pair<T>(acc + v);
  }
  const A left = h.left != nullptr ? h.gain * h.left[row] : h.gain;
  const A out = h.out != nullptr ? h.out[row] : A(1);
  const B* base = base_row(h, row);
  A grad[width];
#pragma GCC unroll 16
  for (int v = 0; v < N; ++v) {
    Vec<T> z = left * acc[v];
    if (base != nullptr) z += h.beta * load_vec(base + c + v * lanes<T>);
    if constexpr (is_adam<Adam>) {
      store_vec(grad + v * lanes<T>, out * z);
    } else {
      store_vec(h.y + r * h.dim + c + v * lanes<T>, out * z);
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
  A z = (h.left != nullptr ? h.gain * h.left[row] : h.gain) * acc;
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

template <class T, class B, bool Scaled, class Adam>
inline void hop_rows(const Hop<T, B>& h, int64_t begin, int64_t end, const Adam& adam_hop) {
  constexpr int most = vector_bytes == 64 ? 16 : 8;  // half the registers (SSE, AVX2: 16; AVX-512: 32) stay free
  constexpr int w = lanes<T>;
  // Rows that stand side by side share one stretch of edges, so that fetching ahead may look beyond a row's end.
  const int64_t chunk_end = h.indptr != nullptr && h.rows == nullptr ? h.indptr[end] : 0;
  for (int64_t r = begin; r < end; ++r) {
    const int64_t limit = h.rows == nullptr ? chunk_end : h.indptr != nullptr ? h.indptr[h.rows[r] + 1] : 0;
    int64_t c = 0;
    for (; c + most * w <= h.dim; c += most * w) hop_columns<T, B, most, Scaled>(h, r, limit, c, adam_hop);
    if constexpr (most == 16) {
      if (c + 8 * w <= h.dim) hop_columns<T, B, 8, Scaled>(h, r, limit, c, adam_hop), c += 8 * w;
    }
    if (c + 4 * w <= h.dim) hop_columns<T, B, 4, Scaled>(h, r, limit, c, adam_hop), c += 4 * w;
    if (c + 2 * w <= h.dim) hop_columns<T, B, 2, Scaled>(h, r, limit, c, adam_hop), c += 2 * w;
    if (c + 1 * w <= h.dim) hop_columns<T, B, 1, Scaled>(h, r, limit, c, adam_hop), c += 1 * w;
    for (; c < h.dim; ++c) hop_column<T, B>(h, r, c, adam_hop);
  }
}

template <class T, class B, class Adam>
inline void hop_with(const Hop<T, B>& h, int64_t begin, int64_t end, const Adam& adam_hop) {
  if (h.col_scale != nullptr || h.weight != nullptr) {
    hop_rows<T, B, true>(h, begin, end, adam_hop);
  } else {
    hop_rows<T, B, false>(h, begin, end, adam_hop);
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

template <class T>
constexpr fgr::cpu::Kernels<T> sparse_table{&hop<T, T>, &hop<T, acc_t<T>>, &adam_hop<T>, &dot<T>, &axpy<T>};
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
