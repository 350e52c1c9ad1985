// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a counter-based generator.
// A draw is a pure function of (seed, element, draw, stream), so a sampler gives the same numbers on the CPU, on a GPU
// and for any number of threads.
#pragma once

#include "fgr/types.h"

namespace fgr {

struct Philox4 {
  uint32_t v[4];
};

// One purpose, one stream: draws of different samplers under one seed are independent.
enum class Stream : uint32_t {
  negative = 1,
  positive = 2,
  permutation = 3,
  negative_of_batch = 4,
  walk = 5,
  walk_of_node = 6,
  listed = 8,
  uniform = 9
};

FGR_HOST_DEVICE Philox4 philox4x32_10(uint64_t key, uint64_t counter_lo, uint64_t counter_hi) {
  uint32_t c0 = static_cast<uint32_t>(counter_lo), c1 = static_cast<uint32_t>(counter_lo >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_hi), c3 = static_cast<uint32_t>(counter_hi >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// All 128 random bits for (element, draw) of a stream, and the first 64 of them.
struct RandomPair {
  uint64_t first, second;
};
FGR_HOST_DEVICE RandomPair random_pair(uint64_t seed, Stream stream, uint64_t element, uint32_t draw) {
  const uint64_t hi = (static_cast<uint64_t>(static_cast<uint32_t>(stream)) << 32) | draw;
  const Philox4 r = philox4x32_10(seed, element, hi);
  return {(static_cast<uint64_t>(r.v[1]) << 32) | r.v[0], (static_cast<uint64_t>(r.v[3]) << 32) | r.v[2]};
}
FGR_HOST_DEVICE uint64_t random_u64(uint64_t seed, Stream stream, uint64_t element, uint32_t draw) {
  return random_pair(seed, stream, element, draw).first;
}

// The high 64 bits of a * b.
FGR_HOST_DEVICE uint64_t mul_hi_u64(uint64_t a, uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#elif defined(__SIZEOF_INT128__)
  __extension__ using wide = unsigned __int128;
  return static_cast<uint64_t>((static_cast<wide>(a) * b) >> 64);
#else
  const uint64_t a_lo = a & 0xffffffffu, a_hi = a >> 32, b_lo = b & 0xffffffffu, b_hi = b >> 32;
  const uint64_t mid = a_hi * b_lo + ((a_lo * b_lo) >> 32);
  return a_hi * b_hi + (mid >> 32) + ((a_lo * b_hi + (mid & 0xffffffffu)) >> 32);
#endif
}

// Uniform on [0, n), n >= 1; no value is off its 1/n by more than 2^-64.
FGR_HOST_DEVICE int64_t uniform_below(uint64_t bits, int64_t n) {
  return static_cast<int64_t>(mul_hi_u64(bits, static_cast<uint64_t>(n)));
}

}  // namespace fgr
