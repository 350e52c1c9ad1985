// Threads. Work is cut into chunks that do not depend on the number of threads; whoever is free takes the next chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace fgr::cpu {

// fn(begin, end) over [0, n) in chunks of `grain`. One thread, or one chunk, runs without OpenMP. fn must not throw.
template <class Fn>
void parallel_for(int64_t n, int64_t grain, int threads, const Fn& fn) {
  if (n <= 0) return;
  const int64_t chunks = (n + grain - 1) / grain;
  if (threads <= 1 || chunks == 1) {
    fn(int64_t{0}, n);
    return;
  }
#pragma omp parallel for schedule(dynamic) num_threads(static_cast<int>(std::min<int64_t>(threads, chunks)))
  for (int64_t c = 0; c < chunks; ++c) fn(c * grain, std::min(n, (c + 1) * grain));
}

// The same over the rows of a CSR, chunks holding about equal numbers of rows + edges.
template <class Fn>
void parallel_rows(const int64_t* indptr, int64_t n_rows, int threads, const Fn& fn) {
  if (n_rows <= 0) return;
  constexpr int chunks_per_thread = 16;  // small enough to even out a busy neighbour, large enough to be free
  if (threads <= 1) {
    fn(int64_t{0}, n_rows);
    return;
  }
  const int64_t chunks = std::min<int64_t>(n_rows, static_cast<int64_t>(threads) * chunks_per_thread);
  const int64_t work = indptr[n_rows] + n_rows;
  const auto first_row = [&](int64_t chunk) {  // the first row with indptr[row] + row >= chunk's share
    const int64_t target = work / chunks * chunk + work % chunks * chunk / chunks;
    int64_t lo = 0, hi = n_rows;
    while (lo < hi) {
      const int64_t mid = lo + (hi - lo) / 2;
      if (indptr[mid] + mid < target) {
        lo = mid + 1;
      } else {
        hi = mid;
      }
    }
    return lo;
  };
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t begin = first_row(c), end = c + 1 == chunks ? n_rows : first_row(c + 1);
    if (begin < end) fn(begin, end);
  }
}

// Throws std::out_of_range unless every id lies in [low, n).
inline void check_ids(const char* name, const int64_t* ids, int64_t count, int64_t low, int64_t n) {
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] < low || ids[i] >= n) {
      throw std::out_of_range(std::string(name) + ": id " + std::to_string(ids[i]) + " at position " +
                              std::to_string(i) + " is outside [" + std::to_string(low) + ", " + std::to_string(n) +
                              ")");
    }
  }
}

}  // namespace fgr::cpu
