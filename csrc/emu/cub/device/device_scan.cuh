// Stands in for CUB's header of the same name: the scan that csrc/cuda uses.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace cub {

struct DeviceScan {
  template <class In, class Out>
  static cudaError_t InclusiveSum(void* storage, size_t& n_bytes, const In* in, Out* out, int64_t n, cudaStream_t) {
    if (storage == nullptr) {
      n_bytes = 1;
      return cudaSuccess;
    }
    Out sum = 0;
    for (int64_t i = 0; i < n; ++i) out[i] = sum += in[i];
    return cudaSuccess;
  }
};

}  // namespace cub
