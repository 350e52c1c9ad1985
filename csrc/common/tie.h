// The second key of every ranking: a bijection of the 32-bit numbers that leaves no trace of their order. Ids go by
// descending popularity, so among equal scores their own order would favour what is popular.
#pragma once

#include "fgr/types.h"

namespace fgr {

// A sum, then lowbias32 (Ettinger 2018, "Prospecting for hash functions"), which alone would map 0 to itself. Any
// summand gives one order, which by chance may suit the popular items or not: of 30,000 that were tried, this one's
// first K of n items, 10 <= K <= 100 and 64 <= n <= 4096, hold the popularity that is nearest to K / n where item i has
// 1 / (i + 1).
constexpr uint32_t tie_shift = 0x1FE5DF5Bu;
FGR_HOST_DEVICE constexpr uint32_t tie_key(uint32_t id) {
  uint32_t x = id + tie_shift;
  x = (x ^ x >> 16) * 0x7FEB352Du;
  x = (x ^ x >> 15) * 0x846CA68Bu;
  return x ^ x >> 16;
}
FGR_HOST_DEVICE constexpr uint32_t id_of_tie(uint32_t key) {
  uint32_t x = (key ^ key >> 16) * 0x43021123u;
  x = (x ^ x >> 15 ^ x >> 30) * 0x1D69E2A5u;
  return (x ^ x >> 16) - tie_shift;
}

// No id below 2^31 has the last of the keys, which therefore can stand for none.
constexpr uint32_t no_tie = 0xFFFFFFFFu;
static_assert(id_of_tie(no_tie) >= 1u << 31 && tie_key(id_of_tie(no_tie)) == no_tie);
static_assert(id_of_tie(tie_key(0)) == 0 && id_of_tie(tie_key(0x7FFFFFFFu)) == 0x7FFFFFFFu);

}  // namespace fgr
