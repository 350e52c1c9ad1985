// Vectors of the level that is being compiled. For kernels.cpp only, as the other headers here: internal linkage, no
// standard library function.
#pragma once

#include "fgr/types.h"
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define FGR_INLINE __attribute__((always_inline)) inline

namespace {

using fgr::acc_t;
using fgr::bf16;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
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

// v as it is, rounded: a compiler may fuse a product with either of the sums that it is in, and which one must not
// depend on how many columns are computed at once.
template <class V>
FGR_INLINE V rounded(V v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__SSE2__)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

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

inline float load_one(float x) { return x; }
inline double load_one(double x) { return x; }
inline float load_one(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  return load_raw<float>(&bits);
}

// The first n elements, n < lanes, and zeros behind them; nothing beyond these n is read.
template <class P>
inline auto load_first(const P* p, int64_t n) {
  Vec<P> v = {};
#pragma GCC unroll 8
  for (int l = 0; l + 1 < lanes<P>; ++l) {
    if (l < n) v[l] = load_one(p[l]);
  }
  return v;
}
#if defined(__AVX512F__)
inline VecF load_first(const float* p, int64_t n) {
  return __builtin_ia32_loadups512_mask(p, VecF{}, static_cast<uint16_t>((1 << n) - 1));
}
inline VecD load_first(const double* p, int64_t n) {
  return __builtin_ia32_loadupd512_mask(p, VecD{}, static_cast<uint8_t>((1 << n) - 1));
}
inline VecF load_first(const bf16* p, int64_t n) {
  typedef short VecS __attribute__((vector_size(vector_bytes / 2)));
  const VecS half =
      __builtin_ia32_loaddquhi256_mask(reinterpret_cast<const short*>(p), VecS{}, static_cast<uint16_t>((1 << n) - 1));
  const VecU wide = __builtin_convertvector(load_raw<VecH>(&half), VecU) << 16;
  return load_raw<VecF>(&wide);
}
#elif defined(__AVX2__)
inline VecF load_first(const float* p, int64_t n) {
  return __builtin_ia32_maskloadps256(reinterpret_cast<const VecF*>(p),
                                      VecI{0, 1, 2, 3, 4, 5, 6, 7} < static_cast<int32_t>(n));
}
inline VecD load_first(const double* p, int64_t n) {
  typedef long long VecL __attribute__((vector_size(vector_bytes)));
  return __builtin_ia32_maskloadpd256(reinterpret_cast<const VecD*>(p), VecL{0, 1, 2, 3} < n);
}
#endif

// How one vector is loaded: whole, or its first n elements alone.
struct Whole {
  template <class P>
  auto operator()(const P* p) const {
    return load_vec(p);
  }
};
struct First {
  int64_t n;
  template <class P>
  auto operator()(const P* p) const {
    return load_first(p, n);
  }
};

inline void store_vec(float* p, VecF v) { __builtin_memcpy(p, &v, sizeof v); }
inline void store_vec(double* p, VecD v) { __builtin_memcpy(p, &v, sizeof v); }
// The bits of v with the upper halves rounded to bf16: to nearest even, NaN stays NaN (as to_bf16 in common/bf16.h).
inline VecU round_to_bf16(VecF v) {
  const VecU bits = load_raw<VecU>(&v);
  const VecU rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return v != v ? bits | 0x400000u : rounded;
}
inline void store_vec(bf16* p, VecF v) {
  const VecH half = __builtin_convertvector(round_to_bf16(v) >> 16, VecH);
  __builtin_memcpy(p, &half, sizeof half);
}

// Two vectors of consecutive elements, in the order in which sums of T are kept: a bf16 pair holds the even and the odd
// ones, which costs two instructions where widening in order costs ten. P: how they lie in memory, T or acc_t<T>.
template <class T, class P>
inline void load_pair(const P* p, Vec<T>* pair) {
  constexpr int w = lanes<T>;
  if constexpr (sizeof(T) == 2 && sizeof(P) == 2) {
    const VecU bits = load_raw<VecU>(p), even = bits << 16, odd = bits & 0xffff0000u;
    pair[0] = load_raw<VecF>(&even);
    pair[1] = load_raw<VecF>(&odd);
  } else {
    pair[0] = load_vec(p);
    pair[1] = load_vec(p + w);
    if constexpr (sizeof(T) == 2) {
      VecI even, odd;
      for (int l = 0; l < w; ++l) {
        even[l] = 2 * l;
        odd[l] = 2 * l + 1;
      }
      const VecF low = pair[0], high = pair[1];
      pair[0] = __builtin_shuffle(low, high, even);
      pair[1] = __builtin_shuffle(low, high, odd);
    }
  }
}
template <class T>
inline void store_pair(T* p, const Vec<T>* pair) {
  if constexpr (sizeof(T) == 2) {
    const VecU both = round_to_bf16(pair[0]) >> 16 | (round_to_bf16(pair[1]) & 0xffff0000u);
    __builtin_memcpy(p, &both, sizeof both);
  } else {
    store_vec(p, pair[0]);
    store_vec(p + lanes<T>, pair[1]);
  }
}
// Such a pair in the elements' order.
template <class T>
inline void order_pair(Vec<T>* pair) {
  if constexpr (sizeof(T) == 2) {
    constexpr int n = lanes<T>;
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

// Bit l: !(a[l] < b[l]).
#if defined(__AVX512F__)
inline uint64_t not_less(VecF a, VecF b) { return __builtin_ia32_cmpps512_mask(a, b, 5, -1, 4); }
inline uint64_t not_less(VecD a, VecD b) { return __builtin_ia32_cmppd512_mask(a, b, 5, -1, 4); }
#elif defined(__SSE2__)
template <class V>
inline uint64_t not_less(V a, V b) {
  const auto outside = ~(a < b);
  const V mask = load_raw<V>(&outside);
#if defined(__AVX2__)
  if constexpr (sizeof(a[0]) == 4) return static_cast<unsigned>(__builtin_ia32_movmskps256(mask));
  if constexpr (sizeof(a[0]) == 8) return static_cast<unsigned>(__builtin_ia32_movmskpd256(mask));
#else
  if constexpr (sizeof(a[0]) == 4) return static_cast<unsigned>(__builtin_ia32_movmskps(mask));
  if constexpr (sizeof(a[0]) == 8) return static_cast<unsigned>(__builtin_ia32_movmskpd(mask));
#endif
}
#elif defined(__aarch64__)
inline uint64_t not_less(VecF a, VecF b) {
  return vaddvq_u32(reinterpret_cast<uint32x4_t>(~(a < b) & (VecI){1, 2, 4, 8}));
}
inline uint64_t not_less(VecD a, VecD b) {
  const auto outside = ~(a < b);
  return static_cast<uint64_t>((outside[0] & 1) | (outside[1] & 2));
}
#else
template <class V>
inline uint64_t not_less(V a, V b) {
  uint64_t bits = 0;
  for (unsigned l = 0; l < sizeof(V) / sizeof(a[0]); ++l) bits |= static_cast<uint64_t>(!(a[l] < b[l])) << l;
  return bits;
}
#endif

inline void store_one(float* p, float x) { *p = x; }
inline void store_one(double* p, double x) { *p = x; }
inline void store_one(bf16* p, float x) {
  const uint32_t bits = load_raw<uint32_t>(&x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  p->bits = static_cast<uint16_t>(nan ? ((bits >> 16) | 0x40u) : rounded);
}

}  // namespace
