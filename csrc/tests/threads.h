// Kernels as the tests of threads run them: what all of them read, and the bytes that one wrote.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>

#include "tests/support.h"

namespace fgr::tests {

// The bytes that a kernel wrote.
class Result {
 public:
  template <class T>
  void add(Buffer<T>& x) {
    const char* data = reinterpret_cast<const char*>(x.data);
    bytes_.append(data, static_cast<size_t>(x.size) * sizeof(T));
  }
  bool operator==(const Result& other) const { return bytes_ == other.bytes_ && !bytes_.empty(); }

 private:
  std::string bytes_;
};
using Kernel = std::function<Result(int threads)>;

inline constexpr int64_t n_users = 90, n_items = 70, n_nodes = n_users + n_items, dim = 19, batch = 120, n_neg = 3;

// What all kernels read.
struct Inputs {
  Inputs()
      : graph(n_users, n_items, 900, 3),
        table(n_nodes * dim),
        scale(n_nodes),
        exact(n_nodes),
        alphas(4),
        weight(graph.kept),
        users(batch),
        items(batch),
        negatives(batch * n_neg),
        nodes(batch) {
    fill(table, 1);
    fill(weight, 2);
    for (int64_t e = 0; e < graph.kept; ++e) weight[e] += 1.5f;
    for (int64_t k = 0; k < 4; ++k) alphas[k] = 0.25f;
    for (int64_t v = 0; v < n_nodes; ++v) {
      const Csr& csr = v < n_users ? graph.both.users : graph.both.items;
      const int64_t row = v < n_users ? v : v - n_users;
      exact[v] = 1.0 / static_cast<double>(std::max<int64_t>(csr.indptr[row + 1] - csr.indptr[row], 1));
      scale[v] = static_cast<float>(exact[v]);
    }
    for (int64_t b = 0; b < batch; ++b) users[b] = b * 7 % n_users, items[b] = b * 5 % n_items, nodes[b] = b * 3 % 64;
    for (int64_t j = 0; j < batch * n_neg; ++j) negatives[j] = j % (n_items + 1) - 1;
  }
  TestGraph graph;
  Buffer<float> table, scale;
  Buffer<double> exact;
  Buffer<float> alphas, weight;
  Buffer<int64_t> users, items, negatives, nodes;
  const int64_t seed = 7, offset = 11, step = 1;
  const double lr = 0.01;
};
using Kernels = std::map<std::string, Kernel>;

// Of threads_sampling.cpp.
void add_sampling(Inputs& in, Kernels& kernels);
void add_ranking(Inputs& in, Kernels& kernels);
// Of data.cpp.
void add_data(Kernels& kernels);
// Of sparse_inverse.cpp.
void add_inverse(Inputs& in, Kernels& kernels);

// Of ridge_rows.cpp.
void add_ridge(Inputs& in, Kernels& kernels);

}  // namespace fgr::tests
