// Stable radix sort in the cache, by those bits of the keys alone in which they differ.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fgr::cpu {

// values [n] sorted by key(value), a uint64_t; scratch [n] is overwritten.
template <class T, class Key>
void radix_sort(T* values, T* scratch, int64_t n, const Key& key) {
  constexpr int bits = 11;
  constexpr uint64_t digits = uint64_t{1} << bits;
  uint64_t any = 0, all = ~uint64_t{0};
  for (int64_t i = 0; i < n; ++i) {
    any |= key(values[i]);
    all &= key(values[i]);
  }
  const uint64_t differing = any ^ all;
  T *from = values, *to = scratch;
  for (int shift = 0; n > 1 && shift < 64 && differing >> shift != 0; shift += bits) {
    if ((differing >> shift) % digits == 0) continue;
    int64_t next[digits] = {};
    for (int64_t i = 0; i < n; ++i) ++next[(key(from[i]) >> shift) % digits];
    int64_t sum = 0;
    for (int64_t& place : next) {
      const int64_t here = place;
      place = sum;
      sum += here;
    }
    for (int64_t i = 0; i < n; ++i) to[next[(key(from[i]) >> shift) % digits]++] = from[i];
    std::swap(from, to);
  }
  if (from != values) std::copy(from, from + n, values);
}

}  // namespace fgr::cpu
