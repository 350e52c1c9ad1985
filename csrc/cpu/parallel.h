// Threads and interrupts. Work is cut into chunks, whoever is free takes the next one, and between two chunks the
// calling thread looks whether the call is to end. No result depends on how the work is cut.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace fgr::cpu {

// The least work that is worth a thread, in elementary operations (a multiply-add, an edge, a comparison). To open a
// region of threads costs some microseconds on a quiet machine, and a time slice of milliseconds where neighbours keep
// the cores busy; this many operations take 10 to 50 microseconds. So threads pay from two grains on, and what is
// smaller is done before it could have waited for anybody. Tests set less, so that small inputs open regions too.
int64_t grain();
void set_grain(int64_t work);

// How many regions of more than one thread were opened so far.
int64_t parallel_regions();

// Thrown by what follows, on the calling thread and outside any region, once the poll function said so. What a kernel
// was to write is then written in part.
struct Interrupted {};

// Whether the call that the current thread is in shall end; asked on that thread only, about ten times a second.
using Poll = bool (*)();
void set_poll(Poll poll);
void begin_call(double quiet = 0.1);  // a call begins: nothing is asked for so many seconds

// For chunks that last: whether to return at once, whatever is done; for loops outside chunks: throws then. They look
// at the clock, so they are asked once in thousands of operations.
bool interrupted();
void throw_if_interrupted();

// A function of chunks, to be called by several threads; it must not throw.
struct ChunkFn {
  void (*call)(const void* fn, int64_t chunk);
  const void* fn;
};
// Calls it for [0, chunks) on up to `threads` threads, no more than there are grains of work. Inside a chunk: serially.
void run_chunks(int64_t chunks, double work, int threads, ChunkFn fn);

template <class Fn>
void for_chunks(int64_t chunks, double work, int threads, const Fn& fn) {
  run_chunks(
      chunks, work, threads,
      {[](const void* f, int64_t chunk) { (*static_cast<const Fn*>(f))(chunk); }, static_cast<const void*>(&fn)});
}

// fn(begin, end) over [0, n) in chunks of about a grain of work; `cost` operations an element. fn must not throw.
template <class Fn>
void parallel_for(int64_t n, int64_t cost, int threads, const Fn& fn) {
  if (n <= 0) return;
  cost = std::max<int64_t>(cost, 1);
  const int64_t size = std::max<int64_t>(grain() / cost, 1);
  for_chunks((n - 1) / size + 1, static_cast<double>(n) * static_cast<double>(cost), threads,
             [&](int64_t c) { fn(c * size, std::min(n, (c + 1) * size)); });
}

// The same over the rows of a CSR, chunks holding about equal numbers of rows + edges; `cost` operations for each.
template <class Fn>
void parallel_rows(const int64_t* indptr, int64_t n_rows, int64_t cost, int threads, const Fn& fn) {
  if (n_rows <= 0) return;
  // Enough chunks to even out a busy neighbour, and none that takes more than milliseconds; few enough to be free.
  constexpr int64_t chunks_per_thread = 16, most_grains = 128;
  const int64_t parts = indptr[n_rows] + n_rows;
  const double work = static_cast<double>(parts) * static_cast<double>(std::max<int64_t>(cost, 1));
  const double grains = work / static_cast<double>(grain());
  const int64_t wanted = std::max<int64_t>(threads * chunks_per_thread, static_cast<int64_t>(grains / most_grains));
  const int64_t chunks = std::max<int64_t>(std::min({n_rows, wanted, static_cast<int64_t>(std::min(grains, 1e18))}), 1);
  const auto first_row = [&](int64_t chunk) {  // the first row with indptr[row] + row >= chunk's share
    const int64_t target = parts / chunks * chunk + parts % chunks * chunk / chunks;
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
  for_chunks(chunks, work, threads, [&](int64_t c) {
    const int64_t begin = first_row(c), end = c + 1 == chunks ? n_rows : first_row(c + 1);
    if (begin < end) fn(begin, end);
  });
}

// Where the parts of a stable counting sort begin [parts + 1]. at [stretches, parts], how much each stretch has of each
// part, becomes where its first goes: parts in order, within a part the stretches in order.
inline std::vector<int64_t> first_of_parts(std::vector<int64_t>& at, int64_t stretches, int64_t parts) {
  std::vector<int64_t> first(static_cast<size_t>(parts) + 1);
  int64_t sum = 0;
  for (int64_t p = 0; p < parts; ++p) {
    first[static_cast<size_t>(p)] = sum;
    for (int64_t t = 0; t < stretches; ++t) {
      int64_t& count = at[static_cast<size_t>(t * parts + p)];
      const int64_t here = count;
      count = sum;
      sum += here;
    }
  }
  first[static_cast<size_t>(parts)] = sum;
  return first;
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
