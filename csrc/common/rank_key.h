// Scores as unsigned integers: ascending keys are descending scores, equal scores (both zeros) have equal keys. Of a
// NaN nothing is promised. And candidates as one number, which is all there is to the order of a ranking.
#pragma once

#include <cstring>

#include "common/tie.h"

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

// A candidate: score descending, then tie_key(id) ascending.
template <class T>
struct RankWord;
template <>
struct RankWord<float> {
  using type = uint64_t;
};
template <>
struct RankWord<double> {
  using type = unsigned __int128;
};
template <class T>
using rank_word_t = typename RankWord<T>::type;

template <class T>
FGR_HOST_DEVICE rank_word_t<T> rank_word(T score, int64_t id) {
  return rank_word_t<T>{rank_key(score)} << 32 | tie_key(static_cast<uint32_t>(id));
}
template <class T>
FGR_HOST_DEVICE T score_of_word(rank_word_t<T> word) {
  return score_of_key<T>(static_cast<rank_key_t<T>>(word >> 32));
}
template <class T>
FGR_HOST_DEVICE int64_t id_of_word(rank_word_t<T> word) {
  return id_of_tie(static_cast<uint32_t>(word));
}
// Behind all others, and no candidate's.
template <class T>
FGR_HOST_DEVICE rank_word_t<T> no_word() {
  return ~rank_word_t<T>{0};
}
// Before all others, and no candidate's: what stands for one whose score is NaN.
template <class T>
FGR_HOST_DEVICE rank_word_t<T> nan_word() {
  return 0;
}

}  // namespace fgr
