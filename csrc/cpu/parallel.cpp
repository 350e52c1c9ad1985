#include "cpu/parallel.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace fgr::cpu {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<int64_t> grain_{1 << 16}, regions_{0};
std::atomic<Poll> poll_{nullptr};

// One run of chunks.
struct Region {
  std::thread::id caller = std::this_thread::get_id();
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
};

thread_local Region* region = nullptr;  // whose chunks this thread works at
thread_local Clock::time_point due;     // when the poll function is asked next
thread_local bool polling = false;

// Whether the poll function, if it is time to ask it, ends the call. What it runs may call kernels: these are calls of
// their own, which do not ask it again.
bool poll_if_due() {
  const Poll poll = poll_;
  if (poll == nullptr || polling || Clock::now() < due) return false;
  polling = true;
  Region* const outer = std::exchange(region, nullptr);
  const bool stop = poll();
  region = outer;
  polling = false;
  begin_call();
  return stop;
}

// A fork leaves the child without the threads of OpenMP's pool, which would be waited for for ever.
std::atomic<bool> forked{false};
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] { forked = true; });

void work(Region& here, int64_t chunks, ChunkFn fn) noexcept {
  region = &here;
  for (int64_t c; !interrupted() && (c = here.next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
    fn.call(fn.fn, c);
  }
  region = nullptr;
}

template <class Body>
void on_own_threads(int threads, const Body& body) {
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(threads - 1));
  try {
    while (static_cast<int>(others.size()) < threads - 1) others.emplace_back(body);
  } catch (const std::system_error&) {  // no more to be had: those that there are do the work
  }
  body();
  for (std::thread& other : others) other.join();
}

template <class Body>
void on_threads(int threads, const Body& body) {
#if defined(FGR_STD_THREADS)  // ThreadSanitizer does not see how OpenMP's threads wait for each other
  on_own_threads(threads, body);
#else
  if (forked) {
    on_own_threads(threads, body);
    return;
  }
#pragma omp parallel num_threads(threads)
  body();
#endif
}

}  // namespace

int64_t grain() { return grain_.load(std::memory_order_relaxed); }
void set_grain(int64_t work) { grain_ = std::max<int64_t>(work, 1); }
int64_t parallel_regions() { return regions_; }
void set_poll(Poll poll) { poll_ = poll; }
void begin_call(double quiet) {
  due = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(quiet));
}

bool interrupted() {
  if (region == nullptr) return false;
  if (!region->stop.load(std::memory_order_relaxed) && region->caller == std::this_thread::get_id() && poll_if_due()) {
    region->stop = true;
  }
  return region->stop.load(std::memory_order_relaxed);
}

void throw_if_interrupted() {
  if (region == nullptr && poll_if_due()) throw Interrupted{};
}

void run_chunks(int64_t chunks, double total, int threads, ChunkFn fn) {
  if (region != nullptr) {
    for (int64_t c = 0; c < chunks; ++c) fn.call(fn.fn, c);
    return;
  }
  const double grains = total / static_cast<double>(grain());
  if (grains < threads) threads = static_cast<int>(grains);
  if (chunks < threads) threads = static_cast<int>(chunks);
  Region here;
  if (threads <= 1) {
    work(here, chunks, fn);
  } else {
    ++regions_;
    on_threads(threads, [&] { work(here, chunks, fn); });
  }
  if (here.stop) throw Interrupted{};
}

}  // namespace fgr::cpu
