// Stands in for CUB's header of the same name: the sorts that csrc/cuda uses.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace cub {

// Two buffers; a sort leaves its result in the one that is then current, and in the other nothing to rely on.
template <class T>
struct DoubleBuffer {
  T* d_buffers[2];
  int selector = 0;
  DoubleBuffer(T* current, T* alternate) : d_buffers{current, alternate} {}
  T* Current() const { return d_buffers[selector]; }
  T* Alternate() const { return d_buffers[selector ^ 1]; }
};

// Stable, by bits [first_bit, last_bit) of the keys. As CUB: without storage only the bytes it needs are told.
struct DeviceRadixSort {
  template <class Key, class Value>
  static cudaError_t SortPairs(void* storage, size_t& n_bytes, const Key* keys, Key* sorted_keys, const Value* values,
                               Value* sorted_values, int64_t n, int first_bit, int last_bit, cudaStream_t) {
    if (storage == nullptr) {
      n_bytes = 1;
      return cudaSuccess;
    }
    const auto order = order_of(keys, n, first_bit, last_bit);
    gather(order, keys, sorted_keys);
    gather(order, values, sorted_values);
    return cudaSuccess;
  }

  template <class Key, class Value>
  static cudaError_t SortPairs(void* storage, size_t& n_bytes, DoubleBuffer<Key>& keys, DoubleBuffer<Value>& values,
                               int64_t n, int first_bit, int last_bit, cudaStream_t) {
    if (storage == nullptr) {
      n_bytes = 1;
      return cudaSuccess;
    }
    const auto order = order_of(keys.Current(), n, first_bit, last_bit);
    pass_between(order, keys, last_bit - first_bit);
    pass_between(order, values, last_bit - first_bit);
    return cudaSuccess;
  }

  template <class Key>
  static cudaError_t SortKeys(void* storage, size_t& n_bytes, DoubleBuffer<Key>& keys, int64_t n, int first_bit,
                              int last_bit, cudaStream_t) {
    if (storage == nullptr) {
      n_bytes = 1;
      return cudaSuccess;
    }
    pass_between(order_of(keys.Current(), n, first_bit, last_bit), keys, last_bit - first_bit);
    return cudaSuccess;
  }

 private:
  template <class Key>
  static std::vector<int64_t> order_of(const Key* keys, int64_t n, int first_bit, int last_bit) {
    const Key mask = static_cast<Key>(((uint64_t(1) << (last_bit - first_bit)) - 1) << first_bit);
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return (keys[a] & mask) < (keys[b] & mask); });
    return order;
  }

  template <class T>
  static void gather(const std::vector<int64_t>& order, const T* from, T* to) {
    for (size_t i = 0; i < order.size(); ++i) to[i] = from[order[i]];
  }

  // As in passes of 8 bits, each from one buffer to the other.
  template <class T>
  static void pass_between(const std::vector<int64_t>& order, DoubleBuffer<T>& buffers, int bits) {
    if (bits == 0) return;
    gather(order, buffers.Current(), buffers.Alternate());
    if ((bits + 7) / 8 % 2 == 1) {
      buffers.selector ^= 1;
    } else {
      std::copy_n(buffers.Alternate(), order.size(), buffers.Current());
    }
    memset(static_cast<void*>(buffers.Alternate()), 0xff, order.size() * sizeof(T));
  }
};

}  // namespace cub
