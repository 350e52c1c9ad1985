// Candidates of a ranking on a device (common/rank_key.h): a sort of them by a warp or a block.
#pragma once

#include "common/rank_key.h"
#include "cuda/device.cuh"

namespace fgr::cuda {

// Who works together on a row.
struct WholeBlock {
  __device__ static int64_t rank() { return threadIdx.x; }
  __device__ static int64_t size() { return blockDim.x; }
  __device__ static void sync() { __syncthreads(); }
};
struct WholeWarp {
  __device__ static int64_t rank() { return lane(); }
  __device__ static int64_t size() { return warp; }
  __device__ static void sync() { __syncwarp(full_mask); }
};

// In place, ascending, n a power of two: a bitonic sort.
template <class Group, class Word>
__device__ void sort(Word* words, int64_t n) {
  for (int64_t length = 2; length <= n; length *= 2) {
    for (int64_t step = length / 2; step > 0; step /= 2) {
      Group::sync();
      for (int64_t i = Group::rank(); i < n; i += Group::size()) {
        const int64_t j = i ^ step;
        if (j < i) continue;
        const Word a = words[i], b = words[j];
        if ((b < a) == ((i & length) == 0)) {
          words[i] = b;
          words[j] = a;
        }
      }
    }
  }
  Group::sync();
}

// Another lane's word.
__device__ __forceinline__ uint64_t exchange(uint64_t word, int lane_distance) {
  return __shfl_xor_sync(full_mask, static_cast<unsigned long long>(word), lane_distance);
}
__device__ __forceinline__ unsigned __int128 exchange(unsigned __int128 word, int lane_distance) {
  const uint64_t high = exchange(static_cast<uint64_t>(word >> 64), lane_distance);
  return static_cast<unsigned __int128>(high) << 64 | exchange(static_cast<uint64_t>(word), lane_distance);
}

// The same for any n <= slots * warp words, in the registers of a warp: word i is lane i % warp's.
template <int slots, class Word>
__device__ void sort_in_registers(Word* words, int n) {
  Word own[slots];
#pragma unroll
  for (int s = 0; s < slots; ++s)
    own[s] = s * warp + lane() < n ? words[s * warp + lane()] : static_cast<Word>(~Word{0});
#pragma unroll 1
  for (int length = 2; length <= slots * warp; length *= 2) {
#pragma unroll
    for (int distance = slots / 2; distance > 0; distance /= 2) {
      if (length < 2 * distance * warp) continue;
#pragma unroll
      for (int s = 0; s < slots; ++s) {
        if ((s & distance) != 0) continue;
        const Word a = own[s], b = own[s | distance];
        const bool swap = (b < a) == ((s * warp & length) == 0);
        own[s] = swap ? b : a;
        own[s | distance] = swap ? a : b;
      }
    }
#pragma unroll 1
    for (int distance = length < warp ? length / 2 : warp / 2; distance > 0; distance /= 2) {
      const bool first = (lane() & distance) == 0;
#pragma unroll
      for (int s = 0; s < slots; ++s) {
        const Word other = exchange(own[s], distance);
        const bool ascending = ((s * warp + lane()) & length) == 0;
        own[s] = (other < own[s]) == (ascending == first) ? other : own[s];
      }
    }
  }
#pragma unroll
  for (int s = 0; s < slots; ++s) {
    if (s * warp + lane() < n) words[s * warp + lane()] = own[s];
  }
  __syncwarp(full_mask);
}

}  // namespace fgr::cuda
