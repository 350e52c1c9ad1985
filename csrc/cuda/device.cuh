// What every kernel file shares: the launch, vector access, warp sums, and the check of ids.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include "common/bf16.h"
#include "fgr/types.h"

namespace fgr::cuda {

constexpr int warp = 32;
constexpr unsigned full_mask = 0xffffffffu;

inline void check(cudaError_t status, const char* op) {
  if (status == cudaSuccess) return;
  const char* hint = ": an earlier kernel was given an id out of range; its output on stdout and stderr names it";
  throw std::runtime_error(std::string(op) + ": " + cudaGetErrorString(status) +
                           (status == cudaErrorAssert ? hint : ""));
}

// The one place where a kernel is launched. An empty grid launches nothing.
template <class... Params, class... Args>
void launch(const char* op, void (*kernel)(Params...), int64_t blocks, int threads, size_t shared_bytes, void* stream,
            Args... args) {
  if (blocks <= 0) return;
  if (blocks > 0x7fffffff) throw std::runtime_error(std::string(op) + ": more blocks than a grid holds");
#if defined(FGR_EMULATE)
  static_cast<void>(stream);
  emu::run_grid(static_cast<unsigned>(blocks), static_cast<unsigned>(threads), shared_bytes, [&] { kernel(args...); });
#else
  // clang-format off
  kernel<<<static_cast<unsigned>(blocks), threads, shared_bytes, static_cast<cudaStream_t>(stream)>>>(args...);
  // clang-format on
#endif
  check(cudaGetLastError(), op);
}

inline int64_t blocks_for(int64_t items, int64_t per_block) { return (items + per_block - 1) / per_block; }

__device__ __forceinline__ int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t global_warp() { return global_thread() / warp; }
__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % warp); }

// FGR_SHARED(type, name, dims): an array (or, without dims, a value) in the block's shared memory.
#if defined(FGR_EMULATE)
#define FGR_SHARED(type, name, ...) \
  static type name __VA_ARGS__;     \
  emu::enter_shared(&name, sizeof name)
#else
#define FGR_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
#endif

// The block's shared memory whose size launch() was given.
template <class T>
__device__ __forceinline__ T* shared_memory() {
#if defined(FGR_EMULATE)
  return static_cast<T*>(emu::shared_memory());
#else
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
#endif
}

// How much of it a block can have, of which a kernel that needs more than 48 KiB must say so before it is launched.
inline size_t most_shared_bytes() {
#if defined(FGR_EMULATE)
  return size_t{1} << 20;
#else
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "shared memory");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory");
  return static_cast<size_t>(bytes);
#endif
}
// All that there is, so that calls by several threads do not take from each other what they have allowed.
template <class... Params>
void allow_shared(const char* op, void (*kernel)(Params...)) {
#if defined(FGR_EMULATE)
  static_cast<void>(op), static_cast<void>(kernel);
#else
  const auto* at = reinterpret_cast<const void*>(kernel);
  const int most = static_cast<int>(most_shared_bytes());
  check(cudaFuncSetAttribute(at, cudaFuncAttributeMaxDynamicSharedMemorySize, most), op);
#endif
}

// Memory that a kernel reads or writes once: marked as the first to leave the cache, for rows that are gathered again.
template <size_t bytes>
struct WordOf;
template <>
struct WordOf<2> {
  using type = unsigned short;
};
template <>
struct WordOf<4> {
  using type = unsigned;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<16> {
  using type = uint4;
};
template <class P>
__device__ __forceinline__ P load_once(const P* from) {
  using Word = typename WordOf<sizeof(P)>::type;
  const Word word = __ldcs(reinterpret_cast<const Word*>(from));
  P value;
  memcpy(&value, &word, sizeof value);
  return value;
}
template <class P>
__device__ __forceinline__ void store_once(P* to, const P& value) {
  using Word = typename WordOf<sizeof(P)>::type;
  Word word;
  memcpy(&word, &value, sizeof value);
  __stcs(reinterpret_cast<Word*>(to), word);
}
// What lies `row` rows after `first`, or zero if it is not wanted. In PTX, since of an `if` the compiler makes
// branches, between which it does not keep several loads in flight, and of the address two multiplications of 64 bits.
template <class P>
__device__ __forceinline__ P load_row(const char* first, int32_t row, int32_t row_bytes, bool wanted) {
#if defined(FGR_EMULATE)
  return wanted ? *reinterpret_cast<const P*>(first + static_cast<int64_t>(row) * row_bytes) : P{};
#else
  using Word = typename WordOf<sizeof(P)>::type;
  Word word;
  int64_t at;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(at) : "r"(row), "r"(row_bytes), "l"(first));
  if constexpr (sizeof(P) == 16) {
    asm volatile(
        "{.reg .pred p; setp.ne.u32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;\n\t"
        "@p ld.global.v4.b32 {%0, %1, %2, %3}, [%4];}"
        : "=&r"(word.x), "=&r"(word.y), "=&r"(word.z), "=&r"(word.w)
        : "l"(at), "r"(static_cast<int>(wanted)));
  } else if constexpr (sizeof(P) == 8) {
    asm volatile(
        "{.reg .pred p; setp.ne.u32 p, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0;\n\t@p ld.global.v2.b32 {%0, %1}, [%2];}"
        : "=&r"(word.x), "=&r"(word.y)
        : "l"(at), "r"(static_cast<int>(wanted)));
  } else if constexpr (sizeof(P) == 4) {
    asm volatile("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.b32 %0, 0;\n\t@p ld.global.b32 %0, [%1];}"
                 : "=&r"(word)
                 : "l"(at), "r"(static_cast<int>(wanted)));
  } else {
    asm volatile("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.b16 %0, 0;\n\t@p ld.global.b16 %0, [%1];}"
                 : "=&h"(word)
                 : "l"(at), "r"(static_cast<int>(wanted)));
  }
  P value;
  memcpy(&value, &word, sizeof value);
  return value;
#endif
}
template <class P>
__device__ __forceinline__ void store_whole(P* to, const P& value) {
  using Word = typename WordOf<sizeof(P)>::type;
  Word word;
  memcpy(&word, &value, sizeof word);
  __stcg(reinterpret_cast<Word*>(to), word);
}

// a b + c, rounded once. Of a b + c d the compiler may fuse either product, and another one in a kernel for another
// width.
template <class A>
__device__ __forceinline__ A fused(A a, A b, A c) {
  if constexpr (sizeof(A) == sizeof(float)) {
    return fmaf(a, b, c);
  } else {
    return fma(a, b, c);
  }
}

// The sum over a warp, in a fixed tree: the same bits every run; every lane gets it.
template <class A>
__device__ __forceinline__ A warp_sum(A x) {
  for (int offset = warp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(full_mask, x, offset);
  return x;
}
template <class A>
__device__ __forceinline__ A warp_max(A x) {
  for (int offset = warp / 2; offset > 0; offset /= 2) {
    const A other = __shfl_xor_sync(full_mask, x, offset);
    x = other > x ? other : x;
  }
  return x;
}

// Says which id is out of range and stops the kernel, as torch's own indexing on a device does: printf has the values,
// an assertion the text that a failed kernel is sure to leave. Not inlined: what a kernel has of it is a branch.
#if defined(FGR_EMULATE)
[[noreturn]] inline void report(const char* name, int64_t id, int64_t low, int64_t n, const char* kernel) {
  throw std::runtime_error(std::string(kernel) + " stopped: " + name + ": id " + std::to_string(id) + " is outside [" +
                           std::to_string(low) + ", " + std::to_string(n) + ")");
}
#else
extern "C" __host__ __device__ [[noreturn]] void __assert_fail(const char* assertion, const char* file, unsigned line,
                                                               const char* function) noexcept;
[[noreturn]] static __device__ __noinline__ void report(const char* name, int64_t id, int64_t low, int64_t n,
                                                        const char* kernel) {
  printf("fastgcn_rec: %s stopped: %s: id %lld is outside [%lld, %lld)\n", kernel, name, static_cast<long long>(id),
         static_cast<long long>(low), static_cast<long long>(n));
  __assert_fail(name, "fastgcn_rec, an id out of range", 0, kernel);
}
#endif

__device__ __forceinline__ int64_t checked_id(int64_t id, int64_t low, int64_t n, const char* name,
                                              const char* kernel = __builtin_FUNCTION()) {
  if (id < low || id >= n) report(name, id, low, n, kernel);
  return id;
}

// <a, b> over dim, by one warp; every lane gets it.
template <class S, class T>
__device__ __forceinline__ acc_t<T> warp_dot(const S* a, const T* b, int64_t dim) {
  acc_t<T> sum = 0;
  for (int64_t c = lane(); c < dim; c += warp) sum += load(a[c]) * load(b[c]);
  return warp_sum(sum);
}

// out[0] = factor * (x[0] + ... + x[n - 1]), added to what it holds if `add`; by one block, in a fixed order.
template <class A>
__device__ __forceinline__ void ordered_sum_of_block(const double* x, int64_t n, double factor, A* out, bool add) {
  FGR_SHARED(double, partial, [warp]);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
  sum = warp_sum(sum);
  if (lane() == 0) partial[threadIdx.x / warp] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0;
    for (unsigned w = 0; w < blockDim.x / warp; ++w) total += partial[w];
    *out = (add ? *out : A(0)) + static_cast<A>(factor * total);
  }
}
template <class A>
__global__ void ordered_sum(const double* x, int64_t n, double factor, A* out, bool add) {
  ordered_sum_of_block(x, n, factor, out, add);
}

}  // namespace fgr::cuda
