// Stands in for CUB's header of the same name: the sort that csrc/cuda uses.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace cub {

struct DeviceRadixSort {
  // Stable, by bits [first_bit, last_bit) of the keys. As CUB: without storage only the bytes it needs are told.
  template <class Key, class Value>
  static cudaError_t SortPairs(void* storage, size_t& n_bytes, const Key* keys, Key* sorted_keys, const Value* values,
                               Value* sorted_values, int64_t n, int first_bit, int last_bit, cudaStream_t) {
    if (storage == nullptr) {
      n_bytes = 1;
      return cudaSuccess;
    }
    const Key mask = static_cast<Key>(((uint64_t(1) << (last_bit - first_bit)) - 1) << first_bit);
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return (keys[a] & mask) < (keys[b] & mask); });
    for (int64_t i = 0; i < n; ++i) {
      sorted_keys[i] = keys[order[static_cast<size_t>(i)]];
      sorted_values[i] = values[order[static_cast<size_t>(i)]];
    }
    return cudaSuccess;
  }
};

}  // namespace cub
