// Memory and streams of a device, for programs that test kernels without Python. Plain C++: only files with kernels of
// their own need nvcc. With FGR_EMULATE a device is the CPU and its memory the heap, so that ASAN sees every step
// beyond.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#if !defined(FGR_EMULATE)
#include <cuda_runtime_api.h>
#endif

namespace fgr::gpu {

constexpr int poison_byte = 0xff;  // NaN in every floating-point type, -1 in every signed one

// Set before any buffer is made: whether buffers are poisoned at birth (off for initcheck, which must know what nobody
// wrote), and how many bytes of a guard stand behind each (none for memcheck and ASAN, which know where it ends).
inline bool poisons = true;
inline int64_t guard_bytes = 0;

#if defined(FGR_EMULATE)

struct Stream {
  void* get() const { return nullptr; }
  void synchronize() const {}
};

inline std::string device_name() { return "emulated"; }
inline void* allocate(int64_t n_bytes) {
  void* at = std::malloc(static_cast<size_t>(n_bytes));
  return at != nullptr ? at : throw std::bad_alloc();
}
inline void release(void* at) { std::free(at); }
inline void copy(void* to, const void* from, int64_t n_bytes) { std::memcpy(to, from, static_cast<size_t>(n_bytes)); }
inline void set_bytes(void* at, int value, int64_t n_bytes) {
  if (at != nullptr) std::memset(at, value, static_cast<size_t>(n_bytes));
}
inline void synchronize() {}

#else

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}
inline void synchronize() { check(cudaDeviceSynchronize(), "cudaDeviceSynchronize"); }

// A stream that does not wait for the default one: a kernel launched on that one by mistake shows.
class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  void* get() const { return stream_; }
  void synchronize() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

inline std::string device_name() {
  cudaDeviceProp found{};
  check(cudaGetDeviceProperties(&found, 0), "cudaGetDeviceProperties");
  return found.name;
}
inline void* allocate(int64_t n_bytes) {
  void* at = nullptr;
  check(cudaMalloc(&at, static_cast<size_t>(n_bytes)), "cudaMalloc");
  return at;
}
inline void release(void* at) { cudaFree(at); }
// Both wait for all that was launched before, and have ended when they return.
inline void copy(void* to, const void* from, int64_t n_bytes) {
  synchronize();
  check(cudaMemcpy(to, from, static_cast<size_t>(n_bytes), cudaMemcpyDefault), "cudaMemcpy");
  synchronize();  // of pageable memory it returns when that has been read, not when the device has it
}
inline void set_bytes(void* at, int value, int64_t n_bytes) {
  synchronize();
  check(cudaMemset(at, value, static_cast<size_t>(n_bytes)), "cudaMemset");
  synchronize();
}

#endif

// n values of T on the device, in an allocation of their own of exactly that size (and the guard, if there is one), so
// that a memory checker sees every step beyond; poisoned at birth. None: a null pointer.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n = 0)
      : size_(n), guard_(guard_bytes), data_(n > 0 ? static_cast<T*>(allocate(bytes() + guard_)) : nullptr) {
    if (poisons) poison();
    if (n > 0 && guard_ > 0) set_bytes(end(), guard_byte, guard_);
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(static_cast<int64_t>(values.size())) { assign(values); }
  T* get() const { return data_.get(); }
  int64_t size() const { return size_; }
  int64_t bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }
  void poison() {
    if (size_ > 0) set_bytes(get(), poison_byte, bytes());
  }
  void assign(const std::vector<T>& values) {
    if (static_cast<int64_t>(values.size()) != size_) throw std::invalid_argument("Buffer: another number of values");
    if (size_ > 0) copy(get(), values.data(), bytes());
  }
  std::vector<T> host() const {
    std::vector<T> values(static_cast<size_t>(size_));
    if (size_ > 0) copy(values.data(), get(), bytes());
    return values;
  }
  // Whether nothing was written behind it, as far as the guard goes.
  bool intact() const {
    std::vector<unsigned char> found(static_cast<size_t>(size_ > 0 ? guard_ : 0));
    if (!found.empty()) copy(found.data(), end(), guard_);
    return std::all_of(found.begin(), found.end(), [](unsigned char byte) { return byte == guard_byte; });
  }

 private:
  static constexpr unsigned char guard_byte = 0xa5;
  struct Release {
    void operator()(T* at) const { release(at); }
  };
  char* end() const { return reinterpret_cast<char*>(get()) + bytes(); }

  int64_t size_, guard_;
  std::unique_ptr<T, Release> data_;
};

}  // namespace fgr::gpu
