// Candidates of a ranking on a device: their order, and a sort of them by a warp or a block.
#pragma once

#include "common/rank_key.h"
#include "cuda/device.cuh"

namespace fgr::cuda {

// A column and its key; ascending order is that of the result.
template <class T>
struct Entry {
  rank_key_t<T> key;
  int32_t id;
};
template <class T>
__device__ __forceinline__ bool before(const Entry<T>& a, const Entry<T>& b) {
  return a.key < b.key || (a.key == b.key && a.id < b.id);
}
// Behind all others.
template <class T>
__device__ __forceinline__ Entry<T> no_entry() {
  return {static_cast<rank_key_t<T>>(~rank_key_t<T>(0)), INT32_MAX};
}

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

// In place, n a power of two: a bitonic sort. Ids are unique, so there is one order.
template <class Group, class T>
__device__ void sort(Entry<T>* entries, int64_t n) {
  for (int64_t length = 2; length <= n; length *= 2) {
    for (int64_t step = length / 2; step > 0; step /= 2) {
      Group::sync();
      for (int64_t i = Group::rank(); i < n; i += Group::size()) {
        const int64_t j = i ^ step;
        if (j < i) continue;
        const Entry<T> a = entries[i], b = entries[j];
        if (before(b, a) == ((i & length) == 0)) {
          entries[i] = b;
          entries[j] = a;
        }
      }
    }
  }
  Group::sync();
}

}  // namespace fgr::cuda
