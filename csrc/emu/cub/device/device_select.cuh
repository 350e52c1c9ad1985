// Stands in for CUB's header of the same name: the selections that csrc/cuda uses.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>

namespace cub {

// The first of each run of equal keys; what is written must not overlap what is read.
struct DeviceSelect {
  template <class Key>
  static cudaError_t Unique(void* storage, size_t& n_bytes, const Key* in, Key* out, int64_t* n_out, int64_t n,
                            cudaStream_t) {
    const auto nothing = [](int64_t, int64_t) {};
    return select(storage, n_bytes, in, out, n_out, n, nothing);
  }

  template <class Key, class Value>
  static cudaError_t UniqueByKey(void* storage, size_t& n_bytes, const Key* in, const Value* values, Key* out,
                                 Value* values_out, int64_t* n_out, int64_t n, cudaStream_t) {
    return select(storage, n_bytes, in, out, n_out, n, [&](int64_t to, int64_t from) {
      if (overlap(values, values_out, n)) throw std::runtime_error("DeviceSelect: values overlap");
      values_out[to] = values[from];
    });
  }

 private:
  template <class T>
  static bool overlap(const T* a, const T* b, int64_t n) {
    return a < b + n && b < a + n;
  }

  template <class Key, class Take>
  static cudaError_t select(void* storage, size_t& n_bytes, const Key* in, Key* out, int64_t* n_out, int64_t n,
                            const Take& take) {
    if (storage == nullptr) {
      n_bytes = 1;
      return cudaSuccess;
    }
    if (overlap<Key>(in, out, n)) throw std::runtime_error("DeviceSelect: keys overlap");
    int64_t found = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (i > 0 && in[i - 1] == in[i]) continue;
      out[found] = in[i];
      take(found++, i);
    }
    *n_out = found;
    return cudaSuccess;
  }
};

}  // namespace cub
