// A second stack and the switch to it and back. On x86-64 by hand: ucontext makes a system call at every switch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves what a callee must keep on this stack and its pointer in *from; goes on where `to` was saved.
extern "C" void fgr_emu_switch(void** from, void* to);
#endif

namespace fgr::emu {

class Fiber {
 public:
  // entry() starts at the first enter() and must never return.
  explicit Fiber(void (*entry)()) {
#if defined(__x86_64__)
    auto top = reinterpret_cast<uintptr_t>(stack_.get() + size) / 16 * 16;
    void** frame = reinterpret_cast<void**>(top) - 8;  // six registers, the entry, and where it would return to
    for (int i = 0; i < 8; ++i) frame[i] = nullptr;
    frame[6] = reinterpret_cast<void*>(entry);
    inside_ = frame;
#else
    getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack_.get();
    inside_.uc_stack.ss_size = size;
    makecontext(&inside_, entry, 0);
#endif
  }

  // Goes on inside until it calls leave().
  void enter() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, stack_.get(), size);
#endif
    go(outside_, inside_);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
  }

  void leave() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack_, outer_stack_, outer_size_);
#endif
    go(inside_, outside_);
    entered();
  }

  // The first thing that entry() calls.
  void entered() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack_, &outer_stack_, &outer_size_);
#endif
  }

 private:
#if defined(__x86_64__)
  using Context = void*;
  static void go(Context& from, Context& to) { fgr_emu_switch(&from, to); }
#else
  using Context = ucontext_t;
  static void go(Context& from, Context& to) { swapcontext(&from, &to); }
#endif

  static constexpr size_t size = 256 << 10;
  std::unique_ptr<char[]> stack_{new char[size]};
  Context inside_{}, outside_{};
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack_ = nullptr;
  const void* outer_stack_ = nullptr;
  size_t outer_size_ = 0;
#endif
};

}  // namespace fgr::emu
