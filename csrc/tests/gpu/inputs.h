// The inputs of what is timed: a graph, tables of random vectors, batches. All of it is made before the first capture.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/bf16.h"
#include "tests/gpu/device.h"
#include "tests/gpu/graphs.h"

namespace fgr::gpu {

// A size on a GPU, and the one under the emulator, where only that it runs counts.
constexpr int64_t sized([[maybe_unused]] int64_t real, [[maybe_unused]] int64_t tiny) {
#if defined(FGR_EMULATE)
  return tiny;
#else
  return real;
#endif
}

// Buffers that live as long as a case that uses them.
template <class T>
using Shared = std::shared_ptr<Buffer<T>>;
template <class T>
Shared<T> empty(int64_t n) {
  return std::make_shared<Buffer<T>>(n);
}
template <class T>
Shared<T> holding(const std::vector<T>& values) {
  return std::make_shared<Buffer<T>>(values);
}
inline Shared<char> workspace(int64_t n_bytes) { return empty<char>(n_bytes); }
// Uniform on [-size, size], made on the device.
template <class T>
Shared<T> uniform(int64_t n, uint64_t seed, float size = 0.1f);
template <class T>
Shared<T> zeros(int64_t n) {
  Shared<T> x = empty<T>(n);
  if (n > 0) set_bytes(x->get(), 0, x->bytes());
  return x;
}

template <class T>
const char* dtype_of();
template <>
inline const char* dtype_of<float>() {
  return "float32";
}
template <>
inline const char* dtype_of<double>() {
  return "float64";
}
template <>
inline const char* dtype_of<bf16>() {
  return "bfloat16";
}

// *x += by, as a captured step counts its batches.
void advance(int64_t* x, int64_t by, void* stream);

int64_t multiprocessors();

struct Batch {
  Shared<int64_t> users, pos, neg;  // [size], [size], [size, n_neg]
  int64_t size, n_neg;
};

struct World {
  // From the file, or made up with gowalla's sizes and about its degrees if there is none.
  explicit World(const std::string& file);

  Bipartite graph() const { return device.view(); }
  int64_t n_users() const { return host.n_users; }
  int64_t n_items() const { return host.n_items; }
  int64_t n_nodes() const { return host.n_nodes(); }
  int64_t n_edges() const { return host.n_edges(); }
  // degree^exponent of every node, 0 for one without edges.
  template <class A>
  Shared<A> power_of_degree(double exponent) const;
  // Drawn by sample_batch.
  Batch batch(int64_t size, int64_t n_neg) const;
  // A batch's nodes: users, positives, negatives.
  std::vector<int64_t> nodes_of(const Batch& batch) const;

  HostGraph host;
  DeviceGraph device;
};

}  // namespace fgr::gpu
