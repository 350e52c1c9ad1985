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

}  // namespace fgr::cuda
