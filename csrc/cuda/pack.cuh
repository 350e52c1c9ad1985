// Several values between memory and registers at once.
#pragma once

#include "cuda/device.cuh"

namespace fgr::cuda {

// V values of T in one access.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

// V values of S between memory and registers, 16 bytes an access at most; once: see load_once.
template <class S, int V>
constexpr int access = V * sizeof(S) > 16 ? 16 / sizeof(S) : V;
template <bool once = false, class S, int V>
__device__ __forceinline__ void read(const S* from, S (&to)[V]) {
  constexpr int n = access<S, V>;
#pragma unroll
  for (int i = 0; i < V; i += n) {
    const auto* at = reinterpret_cast<const Pack<S, n>*>(from + i);
    Pack<S, n> pack;
    if constexpr (once) {
      pack = load_once(at);
    } else {
      pack = *at;
    }
#pragma unroll
    for (int j = 0; j < n; ++j) to[i + j] = pack.v[j];
  }
}
template <bool once = false, class S, int V>
__device__ __forceinline__ void write(S* to, const S (&from)[V]) {
  constexpr int n = access<S, V>;
#pragma unroll
  for (int i = 0; i < V; i += n) {
    Pack<S, n> pack;
#pragma unroll
    for (int j = 0; j < n; ++j) pack.v[j] = from[i + j];
    auto* at = reinterpret_cast<Pack<S, n>*>(to + i);
    if constexpr (once) {
      store_once(at, pack);
    } else {
      store_whole(at, pack);
    }
  }
}

}  // namespace fgr::cuda
