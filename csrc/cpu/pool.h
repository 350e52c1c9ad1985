// What threads work with and give back, where making one costs memory or time in proportion to the data.
#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace fgr::cpu {

template <class T>
class Pool {
 public:
  // fn(object) with one that is free, or that make() makes, for chunks of a region: what is thrown is kept for
  // rethrow().
  template <class Make, class Fn>
  void with(const Make& make, const Fn& fn) noexcept {
    try {
      std::unique_ptr<T> object = take();
      if (object == nullptr) object = make();
      fn(*object);
      const std::lock_guard<std::mutex> lock(mutex_);
      free_.push_back(std::move(object));
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (failure_ == nullptr) failure_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

 private:
  std::unique_ptr<T> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return nullptr;
    std::unique_ptr<T> object = std::move(free_.back());
    free_.pop_back();
    return object;
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
  std::exception_ptr failure_;
};

}  // namespace fgr::cpu
