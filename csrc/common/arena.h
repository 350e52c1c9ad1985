// Cuts a workspace into arrays; with base 0 it only counts.
#pragma once

#include <cstdint>

namespace fgr {

struct Arena {
  uintptr_t base;
  int64_t used = 0;

  template <class T>
  T* take(int64_t n) {
    constexpr int64_t line = 64;
    T* at = reinterpret_cast<T*>(base + static_cast<uintptr_t>(used));
    used += (n * static_cast<int64_t>(sizeof(T)) + line - 1) / line * line;
    return at;
  }
};

}  // namespace fgr
