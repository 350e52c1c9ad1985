// Philox for many elements at once.
#pragma once

#include "common/sampling.h"
#include "cpu/isa/levels.h"

namespace {

void random_pairs(uint64_t seed, fgr::Stream stream, uint64_t first, uint32_t draw, int n, fgr::RandomPair* out) {
  constexpr int width = 16;  // a fixed number, so that the compiler turns elements into lanes of vectors
  for (int begin = 0; begin < n; begin += width) {
    for (int i = begin; i < begin + width; ++i) {
      out[i] = fgr::random_pair(seed, stream, first + static_cast<uint64_t>(i), draw);
    }
  }
}

void permutation_steps(const fgr::Permutation& p, int n, uint64_t* x) {
  constexpr int width = 16;
  const uint64_t mask = p.mask;
  for (int begin = 0; begin < n; begin += width) {
    uint64_t left[width], right[width];
    for (int i = 0; i < width; ++i) {
      left[i] = x[begin + i] >> p.half;
      right[i] = x[begin + i] & mask;
    }
    for (uint32_t round = 0; round < 6; ++round) {
      const uint64_t hi = (static_cast<uint64_t>(static_cast<uint32_t>(fgr::Stream::permutation)) << 32) | round;
      uint64_t next[width];
      for (int i = 0; i < width; ++i) {
        const fgr::Philox4 f = fgr::philox4x32_10(p.key, right[i], hi);
        next[i] = left[i] ^ (((static_cast<uint64_t>(f.v[1]) << 32) | f.v[0]) & mask);
      }
      for (int i = 0; i < width; ++i) {
        left[i] = right[i];
        right[i] = next[i];
      }
    }
    for (int i = 0; i < width; ++i) x[begin + i] = (left[i] << p.half) | right[i];
  }
}

}  // namespace
