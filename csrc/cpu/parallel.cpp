#include "cpu/parallel.h"

#include <pthread.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace fgr::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t usual_grain = 1 << 16;
std::atomic<int64_t> grain_{usual_grain}, regions_{0};
std::atomic<Poll> poll_{nullptr};

// One run of chunks.
struct Region {
  std::thread::id caller = std::this_thread::get_id();
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::atomic<int64_t> cpu_ns{0};  // what its threads took of their processors
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

// Whether threads pay, for the calling thread's regions of about one size. Those of a region are waited for, and where
// neighbours keep the cores busy, that is for a time slice of milliseconds: then the caller would have been through
// sooner alone, and is left alone for as long as was wasted, for twice as long if threads waste more when tried again,
// up to 32 times. So a busy machine costs about what a serial call does and not a time slice a region, and noise next
// to nothing.
struct Pace {
  Clock::time_point until{};  // the caller is alone
  double patience = 1, last = 0;

  bool alone(Clock::time_point now) {
    if (now - until > std::chrono::seconds(1)) patience = 1;  // what was learned is old
    return now < until;
  }
  void learn(Clock::time_point now, double wasted) {
    if (wasted > 0) {
      last = std::min(wasted, 0.05);  // more is a process that was stopped, and not a core that was taken
      until = now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(patience * last));
      patience = std::min(2 * patience, 32.0);
    } else if (patience > 1) {  // what was saved counts as far as it makes up for the last waste
      patience = std::max(patience * (1 - std::min(-wasted / last, 0.5)), 1.0);
    }
  }
};
thread_local std::array<Pace, 64> paces;  // by the power of two of the grains of work

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

int64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
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

void shared_out(Region& here, int64_t chunks, double grains, int threads, ChunkFn fn) {
  const bool paced = grain() == usual_grain;  // tests, which set less, want their threads
  Pace& pace = paces[static_cast<size_t>(std::min(std::max(std::ilogb(grains), 0), 63))];
  const Clock::time_point begin = Clock::now();
  if (paced && pace.alone(begin)) {
    work(here, chunks, fn);
    return;
  }
  double own_seconds = 0, own_cpu = 0;
  on_threads(threads, [&] {
    const Clock::time_point own_begin = Clock::now();  // OpenMP may have waited for threads of the region before
    const int64_t before = thread_cpu_ns();
    work(here, chunks, fn);
    const int64_t took = thread_cpu_ns() - before;
    here.cpu_ns.fetch_add(took, std::memory_order_relaxed);
    if (here.caller == std::this_thread::get_id()) {
      own_seconds = seconds_between(own_begin, Clock::now());
      own_cpu = 1e-9 * static_cast<double>(took);
    }
  });
  if (!paced || here.stop || own_cpu <= 0) return;
  // alone the caller would have done it all, and been kept from its processor as it was
  const double alone = 1e-9 * static_cast<double>(here.cpu_ns) + std::max(own_seconds - own_cpu, 0.0);
  const Clock::time_point end = Clock::now();
  pace.learn(end, seconds_between(begin, end) - alone);
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
    shared_out(here, chunks, grains, threads, fn);
  }
  if (here.stop) throw Interrupted{};
}

}  // namespace fgr::cpu
