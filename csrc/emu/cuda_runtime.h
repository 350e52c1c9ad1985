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

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t n_bytes, cudaStream_t) {
  memset(p, value, n_bytes);
  return cudaSuccess;
}

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

// All lanes of mask meet; afterwards lanes[i] holds what lane i of the warp brought. At most 8 bytes.
struct Exchanged {
  uint64_t lanes[32];
};
const Exchanged& meet_warp(unsigned mask, uint64_t value, Site site);

[[noreturn]] void trap(Site site);

template <class T>
uint64_t to_word(T x) {
  static_assert(sizeof(T) <= 8);
  uint64_t word = 0;
  memcpy(&word, &x, sizeof x);
  return word;
}

template <class T>
T shuffle(unsigned mask, T x, unsigned source, Site site) {
  const uint64_t word = meet_warp(mask, to_word(x), site).lanes[source % 32];
  T result;
  memcpy(&result, &word, sizeof result);
  return result;
}

}  // namespace fgr::emu

// A thread runs until it waits, so that these need nothing to be atomic.
template <class T>
T atomicAdd(T* at, T x) {
  const T old = *at;
  *at = old + x;
  return old;
}
template <class T>
T atomicCAS(T* at, T expected, T x) {
  const T old = *at;
  if (old == expected) *at = x;
  return old;
}

#define FGR_EMU_SITE \
  fgr::emu::Site { __FILE__, __LINE__ }
#define __syncthreads() fgr::emu::sync_block(FGR_EMU_SITE)
#define __shfl_xor_sync(mask, x, offset) \
  fgr::emu::shuffle(mask, x, (threadIdx.x % 32) ^ static_cast<unsigned>(offset), FGR_EMU_SITE)
#define __syncwarp(mask) static_cast<void>(fgr::emu::meet_warp(mask, 0, FGR_EMU_SITE))
#define __trap() fgr::emu::trap(FGR_EMU_SITE)

// Threads take turns only where they wait: an addition is not interrupted.
inline unsigned atomicAdd(unsigned* at, unsigned value) {
  const unsigned before = *at;
  *at += value;
  return before;
}
