// Entries brought into the order of their keys, equal keys in the order of the entries (CUB's radix sort).
#pragma once

#include <cub/device/device_radix_sort.cuh>

#include "common/arena.h"
#include "cuda/device.cuh"
#include "fgr/scatter_rows.h"

namespace fgr::cuda {

// Keys in [0, most]; a kernel fills key and position = 0, 1, ..., then sort().
struct Sorting {
  int64_t n;
  int bits = 0;
  uint32_t *key, *sorted_key;
  int32_t *position, *sorted_position;
  void* storage;
  size_t storage_bytes = 0;

  Sorting(Arena& arena, int64_t n_entries, int64_t most) : n(n_entries) {
    check_positions(n, most);
    while (bits < 32 && most >> bits != 0) ++bits;
    key = arena.take<uint32_t>(n);
    sorted_key = arena.take<uint32_t>(n);
    position = arena.take<int32_t>(n);
    sorted_position = arena.take<int32_t>(n);
    check(pass(nullptr, nullptr), "sort");
    storage = arena.take<char>(static_cast<int64_t>(storage_bytes));
  }

  void sort(void* stream) { check(pass(storage, stream), "sort"); }

 private:
  cudaError_t pass(void* where, void* stream) {
    return cub::DeviceRadixSort::SortPairs(where, storage_bytes, key, sorted_key, position, sorted_position, n, 0, bits,
                                           static_cast<cudaStream_t>(stream));
  }
};

}  // namespace fgr::cuda
