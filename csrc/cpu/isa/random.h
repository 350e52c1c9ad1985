// Philox for many elements at once.
#pragma once

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

}  // namespace
