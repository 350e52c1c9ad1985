// The scheduler behind csrc/emu/cuda_runtime.h.
#include <cuda_runtime.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "fiber.h"

#if defined(__x86_64__)
asm(R"(
.text
.globl fgr_emu_switch
.hidden fgr_emu_switch
.type fgr_emu_switch, @function
fgr_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fgr_emu_switch, . - fgr_emu_switch
)");
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace fgr::emu {
namespace {

constexpr unsigned warp = 32;

enum class State { not_started, ready, at_barrier, in_warp, done };

struct Copy {
  size_t group;
  void* to;
  const void* from;
  size_t n_bytes;
};

struct Thread {
  State state = State::not_started;
  Fiber* fiber = nullptr;
  Site site{};        // where it waits
  unsigned mask = 0;  // of the warp operation, and what the lanes bring to it
  uint64_t value = 0;
  Exchanged received{};
  std::vector<Copy> copies;  // that it has not waited for
  size_t n_groups = 0;       // of copies that it has ended
  size_t n_votes = 0;        // of barriers that ask whether any thread brings true
};

std::string name(Site site) { return std::string(site.file) + ":" + std::to_string(site.line); }
bool same(Site a, Site b) { return a.line == b.line && strcmp(a.file, b.file) == 0; }

class Block;
Block* active = nullptr;  // of the grid that runs

class Block {
 public:
  Block(unsigned n, const std::function<void()>& kernel) : kernel_(kernel), threads_(n), waiting_(n / warp + 1) {}

  // Rounds over all threads, each in the order that arrange(order) makes, until all are done.
  template <class Arrange>
  void run(const Arrange& arrange) {
    std::fill(threads_.begin(), threads_.end(), Thread{});
    for (bool& vote : votes) vote = false;
    std::vector<unsigned> order(threads_.size());
    do {
      std::iota(order.begin(), order.end(), 0u);
      arrange(order);
      for (const unsigned id : order) {
        Thread& t = threads_[id];
        if (t.state == State::not_started) t.fiber = idle_fiber();
        if (t.state != State::not_started && t.state != State::ready) continue;
        current_ = id;
        threadIdx = {id, 0, 0};
        t.fiber->enter();
        if (failure_ != nullptr) std::rethrow_exception(failure_);
      }
    } while (someone_can_go_on());
  }

  Thread& me() { return threads_[current_]; }
  bool votes[3] = {};  // of this vote, of the next and of the one before, which all have read
  unsigned lane() const { return current_ % warp; }

  // The current thread waits here until a round after it became ready.
  void wait(State state) {
    Thread& t = me();
    t.state = state;
    t.fiber->leave();
  }

  // If all other lanes of the mask wait in the same operation, hands out what they brought and lets them go on.
  bool complete_warp(unsigned mask, Site site) {
    unsigned& waiting = waiting_[current_ / warp];
    waiting |= 1u << lane();
    if ((waiting & mask) != mask) return false;
    const unsigned first = current_ / warp * warp;
    const auto each_lane = [&](const auto& fn) {
      for (unsigned i = 0; i < warp; ++i) {
        if (mask >> i & 1u) fn(i);
      }
    };
    each_lane([&](unsigned i) {
      const Thread& t = threads_[first + i];
      if (t.mask == mask && same(t.site, site)) return;
      throw std::runtime_error(name(site) + ": a lane of the mask is in " + name(t.site) + " instead");
    });
    waiting &= ~mask;
    Exchanged all{};
    each_lane([&](unsigned i) { all.lanes[i] = threads_[first + i].value; });
    each_lane([&](unsigned i) {
      threads_[first + i].received = all;
      threads_[first + i].state = State::ready;
    });
    return true;
  }

 private:
  // What a fiber does: runs a thread to its end, then is idle until it gets another.
  static void work() noexcept {
    Block& b = *active;
    b.me().fiber->entered();
    while (true) {
      Thread& t = b.me();
      t.state = State::ready;
      try {
        b.kernel_();
      } catch (...) {
        b.failure_ = std::current_exception();
      }
      t.state = State::done;
      b.idle_.push_back(t.fiber);
      t.fiber->leave();
    }
  }

  Fiber* idle_fiber() {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(&Block::work));
      return fibers_.back().get();
    }
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }

  // After a round: false if all threads are done; if all stand at one barrier, they go on.
  bool someone_can_go_on() {
    const auto in = [](State s) { return [s](const Thread& t) { return t.state == s; }; };
    if (std::any_of(threads_.begin(), threads_.end(), in(State::ready))) return true;
    if (std::all_of(threads_.begin(), threads_.end(), in(State::done))) return false;
    const Thread& a = *std::find_if_not(threads_.begin(), threads_.end(), in(State::done));
    for (Thread& t : threads_) {
      if (a.state == State::at_barrier && t.state == State::at_barrier && same(t.site, a.site)) continue;
      throw std::runtime_error(name(a.site) + ": thread " + std::to_string(&a - threads_.data()) +
                               " waits for ever; thread " + std::to_string(&t - threads_.data()) +
                               (t.state == State::done ? " has returned" : " waits in " + name(t.site)));
    }
    for (Thread& t : threads_) t.state = State::ready;
    return true;
  }

  const std::function<void()>& kernel_;
  std::vector<Thread> threads_;
  std::vector<unsigned> waiting_;  // a warp: its lanes in a warp operation
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  unsigned current_ = 0;
  std::exception_ptr failure_;
};

uint64_t thread_order = 0;
constexpr int poison = 0xff;
std::vector<unsigned char> shared;
struct Range {
  const unsigned char* begin;
  size_t n_bytes;
};
std::vector<Range> entered;  // what the block has entered of the declared shared memory

}  // namespace

void set_thread_order(uint64_t order) { thread_order = order; }

void* shared_memory() { return shared.data(); }

void enter_shared(void* at, size_t n_bytes) {
  const auto same = [&](const Range& range) { return range.begin == at; };
  if (std::find_if(entered.begin(), entered.end(), same) != entered.end()) return;
  memset(at, poison, n_bytes);
  entered.push_back({static_cast<const unsigned char*>(at), n_bytes});
}

void run_grid(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mutex one_grid;
  const std::lock_guard<std::mutex> lock(one_grid);
  std::mt19937_64 random(thread_order);
  const auto arrange = [&](std::vector<unsigned>& order) {
    if (thread_order == 1) std::reverse(order.begin(), order.end());
    if (thread_order > 1) std::shuffle(order.begin(), order.end(), random);
  };
  blockDim = {threads, 1, 1};
  gridDim = {blocks, 1, 1};
  std::vector<unsigned> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  arrange(order);
  Block block(threads, kernel);
  active = &block;
  for (const unsigned id : order) {
    blockIdx = {id, 0, 0};
    shared =
        std::vector<unsigned char>(shared_bytes, poison);  // anew for each block, so that a sanitizer knows its end
    entered.clear();
    block.run(arrange);
  }
}

void sync_block(Site site) {
  active->me().site = site;
  active->wait(State::at_barrier);
}

bool sync_block_or(bool predicate, Site site) {
  const size_t vote = active->me().n_votes++;
  active->votes[vote % 3] = active->votes[vote % 3] || predicate;
  sync_block(site);
  active->votes[(vote + 2) % 3] = false;
  return active->votes[vote % 3];
}

const Exchanged& meet_warp(unsigned mask, uint64_t value, Site site) {
  Thread& t = active->me();
  if ((mask >> active->lane() & 1u) == 0) throw std::runtime_error(name(site) + ": a lane outside of its own mask");
  t.site = site;
  t.mask = mask;
  t.value = value;
  if (!active->complete_warp(mask, site)) active->wait(State::in_warp);
  return t.received;
}

void copy_later(void* to, const void* from, size_t n_bytes) {
  if (reinterpret_cast<uintptr_t>(to) % n_bytes != 0 || reinterpret_cast<uintptr_t>(from) % n_bytes != 0) {
    throw std::runtime_error("a copy of " + std::to_string(n_bytes) + " bytes is not aligned");
  }
  Thread& t = active->me();
  memset(to, poison, n_bytes);
  t.copies.push_back({t.n_groups, to, from, n_bytes});
}

void end_copies() { ++active->me().n_groups; }

void wait_for_copies(size_t left) {
  Thread& t = active->me();
  const auto waited = [&](const Copy& copy) { return copy.group + left < t.n_groups; };
  for (const Copy& copy : t.copies) {
    if (waited(copy)) memcpy(copy.to, copy.from, copy.n_bytes);
  }
  t.copies.erase(std::remove_if(t.copies.begin(), t.copies.end(), waited), t.copies.end());
}

void check_source(unsigned mask, unsigned source, Site site) {
  if (source < warp && (mask >> source & 1u) != 0) return;
  throw std::runtime_error(name(site) + ": lane " + std::to_string(active->lane()) + " asks lane " +
                           std::to_string(source) + ", which is outside of the mask");
}

unsigned ballot(Site site, unsigned mask, bool predicate) {
  const Exchanged& all = meet_warp(mask, predicate, site);
  unsigned lanes = 0;
  for (unsigned i = 0; i < warp; ++i) {
    if ((mask >> i & 1u) != 0 && all.lanes[i] != 0) lanes |= 1u << i;
  }
  return lanes;
}

void check_global(const void* at, size_t alignment) {
  if (reinterpret_cast<uintptr_t>(at) % alignment != 0) {
    throw std::runtime_error("an access of " + std::to_string(alignment) + " bytes is not aligned");
  }
  const auto holds = [&](const Range& range) { return range.begin <= at && at < range.begin + range.n_bytes; };
  if (holds({shared.data(), shared.size()}) || std::any_of(entered.begin(), entered.end(), holds)) {
    throw std::runtime_error("an instruction for global memory is given shared memory");
  }
}

}  // namespace fgr::emu
