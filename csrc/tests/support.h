// What the C++ tests share: checks, buffers of exactly the size that a contract names, graphs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "common/bf16.h"
#include "fgr/build.h"

namespace fgr::tests {

inline int failures = 0;
#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      std::printf("%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
      ++fgr::tests::failures;                                                   \
    }                                                                           \
  } while (0)

// Exactly n elements on the heap, so that ASAN sees every step beyond; uninitialised like torch.empty.
template <class T>
struct Buffer {
  explicit Buffer(int64_t n)
      : size(n), data(n > 0 ? static_cast<T*>(std::malloc(static_cast<size_t>(n) * sizeof(T))) : nullptr) {}
  ~Buffer() { std::free(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  operator T*() { return data; }
  int64_t size;
  T* data;
};

struct TestGraph {
  TestGraph(int64_t n_users, int64_t n_items, int64_t n_edges, unsigned seed)
      : indptr(n_users + 1), indptr_t(n_items + 1), indices(n_edges), indices_t(n_edges) {
    std::mt19937 rng(seed);
    Buffer<int32_t> users(n_edges), items(n_edges);
    for (int64_t e = 0; e < n_edges; ++e) {
      users[e] = static_cast<int32_t>(rng() % static_cast<unsigned>(n_users));
      items[e] = static_cast<int32_t>(rng() % static_cast<unsigned>(n_items));
    }
    cpu::bucket_edges<int32_t>(items, users, nullptr, n_edges, n_items, indptr_t, indices_t, nullptr, 2);
    cpu::transpose({indptr_t, indices_t, nullptr, n_items, n_users}, indptr, indices, nullptr, 2);
    kept = cpu::merge_duplicates(indptr, indices, nullptr, n_users);
    cpu::transpose({indptr, indices, nullptr, n_users, n_items}, indptr_t, indices_t, nullptr, 2);
    cpu::check_csr(indptr, indices, n_users, n_items, kept);
    both = {{indptr, indices, nullptr, n_users, n_items}, {indptr_t, indices_t, nullptr, n_items, n_users}};
  }
  Buffer<int64_t> indptr, indptr_t;
  Buffer<int32_t> indices, indices_t;
  int64_t kept;
  Bipartite both;
};

template <class T>
void fill(Buffer<T>& x, unsigned seed) {
  std::mt19937 rng(seed);
  for (int64_t i = 0; i < x.size; ++i) {
    store(x[i], static_cast<acc_t<T>>(static_cast<float>(rng() % 1000) / 500.0f - 1.0f));
  }
}

// Every inner loop of the level in use.
void test_level();

// Every kernel by several threads, in chunks of a few elements.
void test_threads();
void test_late_threads();

// Raw ids and events.
void test_data();

// Lines of text to columns and numbers.
void test_text_lines();

// Ridge regressions of rows.
void test_ridge_rows();

// The sparse factor of an inverse.
void test_sparse_inverse();

}  // namespace fgr::tests
