// Stands in for CUDA's header of the same name, so that csrc/cuda/*.cu compile as C++ and their kernels run on the CPU
// (tests only). The blocks of a grid run one after another, the threads of a block as fibers: each runs until it waits
// for others. What a GPU leaves undefined is an error here: a barrier or a warp operation that not all of its threads
// reach, or reach at different places. What depends on the order in which threads run shows when a test runs the grid
// under several orders (set_thread_order) and compares bits.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
};
// Words of 8 and 16 bytes; may_alias, for a GPU's compiler lets them be cast from arrays of other types.
struct __attribute__((may_alias, aligned(8))) uint2 {
  unsigned x, y;
};
struct __attribute__((may_alias, aligned(16))) uint4 {
  unsigned x, y, z, w;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0, cudaErrorAssert = 710;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t n_bytes, cudaStream_t) {
  memset(p, value, n_bytes);
  return cudaSuccess;
}
template <class T>
cudaError_t cudaMalloc(T** p, size_t n_bytes) {
  *p = static_cast<T*>(::operator new(n_bytes));
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* p) {
  ::operator delete(p);
  return cudaSuccess;
}
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t n_bytes, cudaMemcpyKind) {
  if (n_bytes > 0) memcpy(to, from, n_bytes);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

namespace fgr::emu {

// Where in the source a thread waits.
struct Site {
  const char* file;
  int line;
};

// The order in which blocks, and threads between two waits, run: 0 ascending, 1 descending, else shuffled by this seed.
void set_thread_order(uint64_t order);

// Runs kernel() once for every thread; throws what a thread throws, and std::runtime_error for a wait that never ends.
void run_grid(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel);

// The shared_bytes of the block that runs. Shared memory holds nothing of the block before: its bytes are 0xff (NaN,
// -1) when a block's first thread gets there.
void* shared_memory();
// The same for one that the kernel declares: static, for blocks run one after another and only one grid at a time.
void enter_shared(void* at, size_t n_bytes);

void sync_block(Site site);
// The same; whether any thread brings true.
bool sync_block_or(bool predicate, Site site);

// All lanes of mask meet; afterwards lanes[i] holds what lane i of the warp brought. At most 8 bytes.
struct Exchanged {
  uint64_t lanes[32];
};
const Exchanged& meet_warp(unsigned mask, uint64_t value, Site site);
void check_source(unsigned mask, unsigned source, Site site);
void check_global(const void* at, size_t alignment);

template <class T>
uint64_t to_word(T x) {
  static_assert(sizeof(T) <= 8);
  uint64_t word = 0;
  memcpy(&word, &x, sizeof x);
  return word;
}

template <class T>
T from_word(uint64_t word) {
  T x;
  memcpy(&x, &word, sizeof x);
  return x;
}

// What lane `source` of the warp brings to an exchange that all lanes of mask meet in; it must be one of them.
template <class T>
T shuffle_lane(Site site, unsigned mask, T x, unsigned source) {
  const Exchanged& all = meet_warp(mask, to_word(x), site);
  check_source(mask, source, site);
  return from_word<T>(all.lanes[source]);
}
// The lanes are in groups of `width`, a power of two; who looks beyond its group gets what it brought.
template <class T>
T shuffle(Site site, unsigned mask, T x, int source, int width = 32) {
  const unsigned lane = threadIdx.x % 32, w = static_cast<unsigned>(width);
  return shuffle_lane(site, mask, x, lane / w * w + static_cast<unsigned>(source) % w);
}
template <class T>
T shuffle_up(Site site, unsigned mask, T x, unsigned delta, int width = 32) {
  const unsigned lane = threadIdx.x % 32, w = static_cast<unsigned>(width);
  return shuffle_lane(site, mask, x, lane % w >= delta ? lane - delta : lane);
}
template <class T>
T shuffle_down(Site site, unsigned mask, T x, unsigned delta, int width = 32) {
  const unsigned lane = threadIdx.x % 32, w = static_cast<unsigned>(width);
  return shuffle_lane(site, mask, x, lane % w + delta < w ? lane + delta : lane);
}
// Of groups before its own a lane may ask by xor, of those behind it not.
template <class T>
T shuffle_xor(Site site, unsigned mask, T x, int lanes, int width = 32) {
  const unsigned lane = threadIdx.x % 32, w = static_cast<unsigned>(width), other = lane ^ static_cast<unsigned>(lanes);
  return shuffle_lane(site, mask, x, other / w <= lane / w ? other : lane);
}
// The lanes of mask whose predicate holds.
unsigned ballot(Site site, unsigned mask, bool predicate);
inline int any(Site site, unsigned mask, bool predicate) { return ballot(site, mask, predicate) != 0; }
inline int all(Site site, unsigned mask, bool predicate) { return ballot(site, mask, !predicate) == 0; }

// What csrc/cuda/mma.cuh asks a GPU for. Halves are IEEE's of 16 bits; sums of products are rounded once.
uint16_t half_bits(float x);
float float_of_half(uint16_t bits);
void load_matrices(const void* row, uint32_t (&to)[4], bool transposed, Site site);
void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Site site);
// Bytes that are poisoned until the thread waits for them, and read as late as that.
void copy_later(void* to, const void* from, size_t n_bytes);
void end_copies();
void wait_for_copies(size_t left);

// A type that is not deduced: arguments convert to that of another, as they do for CUDA's overloads.
template <class T>
struct Same {
  using type = T;
};
template <class T>
using same_t = typename Same<T>::type;

}  // namespace fgr::emu

// A thread runs until it waits, so that these need nothing to be atomic.
template <class T>
T atomicAdd(T* at, fgr::emu::same_t<T> x) {
  const T old = *at;
  *at = static_cast<T>(old + x);
  return old;
}
template <class T>
T atomicMin(T* at, fgr::emu::same_t<T> x) {
  const T old = *at;
  if (x < old) *at = x;
  return old;
}
template <class T>
T atomicMax(T* at, fgr::emu::same_t<T> x) {
  const T old = *at;
  if (old < x) *at = x;
  return old;
}
template <class T>
T atomicOr(T* at, fgr::emu::same_t<T> x) {
  const T old = *at;
  *at = old | x;
  return old;
}
template <class T>
T atomicCAS(T* at, fgr::emu::same_t<T> expected, fgr::emu::same_t<T> x) {
  const T old = *at;
  if (old == expected) *at = x;
  return old;
}

// Bits. The first is 1; of 0 there is none, and it has as many leading zeros as bits.
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }
inline int __ffsll(unsigned long long x) { return __builtin_ffsll(static_cast<long long>(x)); }
inline int __clz(unsigned x) { return x == 0 ? 32 : __builtin_clz(x); }
inline int __clzll(unsigned long long x) { return x == 0 ? 64 : __builtin_clzll(x); }

// Loads and stores with a word for the caches, which are not here. An address that its type is not aligned for is an
// error, as it is on a GPU.
template <class T>
T __ldg(const T* from) {
  fgr::emu::check_global(from, alignof(T));
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
T __ldcg(const T* from) {
  return __ldg(from);
}
template <class T>
T __ldcs(const T* from) {
  return __ldg(from);
}
template <class T>
void __stcg(T* to, fgr::emu::same_t<T> value) {
  fgr::emu::check_global(to, alignof(T));
  memcpy(to, &value, sizeof value);
}
template <class T>
void __stcs(T* to, fgr::emu::same_t<T> value) {
  __stcg(to, value);
}
template <class T>
void __stwb(T* to, fgr::emu::same_t<T> value) {
  __stcg(to, value);
}

#define FGR_EMU_SITE \
  fgr::emu::Site { __FILE__, __LINE__ }
#define __syncthreads() fgr::emu::sync_block(FGR_EMU_SITE)
#define __syncthreads_or(predicate) static_cast<int>(fgr::emu::sync_block_or((predicate) != 0, FGR_EMU_SITE))
#define __shfl_sync(mask, x, ...) fgr::emu::shuffle(FGR_EMU_SITE, mask, x, __VA_ARGS__)
#define __shfl_up_sync(mask, x, ...) fgr::emu::shuffle_up(FGR_EMU_SITE, mask, x, __VA_ARGS__)
#define __shfl_down_sync(mask, x, ...) fgr::emu::shuffle_down(FGR_EMU_SITE, mask, x, __VA_ARGS__)
#define __shfl_xor_sync(mask, x, ...) fgr::emu::shuffle_xor(FGR_EMU_SITE, mask, x, __VA_ARGS__)
#define __ballot_sync(mask, predicate) fgr::emu::ballot(FGR_EMU_SITE, mask, (predicate) != 0)
#define __any_sync(mask, predicate) fgr::emu::any(FGR_EMU_SITE, mask, (predicate) != 0)
#define __all_sync(mask, predicate) fgr::emu::all(FGR_EMU_SITE, mask, (predicate) != 0)
#define __syncwarp(mask) static_cast<void>(fgr::emu::meet_warp(mask, 0, FGR_EMU_SITE))
