// Scores as unsigned integers: ascending keys are descending scores, equal scores (both zeros) have equal keys. Of a
// NaN nothing is promised.
#pragma once

#include <cstring>

#include "fgr/types.h"

namespace fgr {

template <class T>
struct RankKey;
template <>
struct RankKey<float> {
  using type = uint32_t;
};
template <>
struct RankKey<double> {
  using type = uint64_t;
};
template <class T>
using rank_key_t = typename RankKey<T>::type;

template <class T>
FGR_HOST_DEVICE rank_key_t<T> rank_key(T score) {
  using Key = rank_key_t<T>;
  constexpr Key sign = Key(1) << (8 * sizeof(Key) - 1);
  const T positive_zero = score + T(0);  // -0 becomes 0
  Key bits;
  memcpy(&bits, &positive_zero, sizeof bits);
  return (bits & sign) != 0 ? bits : static_cast<Key>(~(bits | sign));
}

// The score that has this key; of the zeros the positive one.
template <class T>
FGR_HOST_DEVICE T score_of_key(rank_key_t<T> key) {
  using Key = rank_key_t<T>;
  constexpr Key sign = Key(1) << (8 * sizeof(Key) - 1);
  const Key bits = (key & sign) != 0 ? key : static_cast<Key>(~(key | sign));
  T score;
  memcpy(&score, &bits, sizeof score);
  return score;
}

}  // namespace fgr
