// The sparse factor of an inverse: A F^T F is one where nothing is left out, and every row has what the contract says.
#include "fgr/sparse_inverse.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "tests/threads.h"

namespace fgr::tests {
namespace {

constexpr double reg = 2;

struct Factor {
  Factor(const Bipartite& graph, int64_t most, int64_t candidates, int threads)
      : n(graph.items.n_rows), diagonal(n), a_indptr(n + 1), indptr(n + 1) {
    for (int64_t i = 0; i < n; ++i) {
      diagonal[i] = reg + static_cast<double>(graph.items.indptr[i + 1] - graph.items.indptr[i]);
    }
    Buffer<int64_t> sizes(n);
    cpu::gram_sizes(graph.users, graph.items, candidates, sizes, threads);
    a_indptr[0] = indptr[0] = 0;
    for (int64_t i = 0; i < n; ++i) {
      a_indptr[i + 1] = a_indptr[i] + sizes[i];
      indptr[i + 1] = indptr[i] + 1 + (sizes[i] > 0 ? std::min(most, i) : 0);
    }
    a_indices = std::make_unique<Buffer<int32_t>>(a_indptr[n]);
    a_values = std::make_unique<Buffer<float>>(a_indptr[n]);
    indices = std::make_unique<Buffer<int32_t>>(indptr[n]);
    values = std::make_unique<Buffer<float>>(indptr[n]);
    cpu::gram_rows(graph.users, graph.items, diagonal, a_indptr, *a_indices, *a_values, threads);
    cpu::inverse_factor({a_indptr, *a_indices, *a_values, diagonal, n}, reg, most, indptr, *indices, *values, threads);
  }
  Csr csr() const { return {indptr.data, indices->data, values->data, n, n}; }

  int64_t n;
  Buffer<double> diagonal;
  Buffer<int64_t> a_indptr, indptr;
  std::unique_ptr<Buffer<int32_t>> a_indices, indices;
  std::unique_ptr<Buffer<float>> a_values, values;
};

}  // namespace

void test_sparse_inverse() {
  const TestGraph graph(30, 23, 110, 5);
  const Bipartite& both = graph.both;
  const int64_t n = both.items.n_rows;
  for (const int threads : {1, 3}) {
    for (const int64_t most : {0, 1, 6, 40}) {
      const Factor factor(both, most, most == 6 ? 4 : n, threads);
      const Csr f = factor.csr();
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t e = f.indptr[i]; e < f.indptr[i + 1]; ++e) {
          CHECK(std::isfinite(f.weight[e]));
          CHECK(e + 1 == f.indptr[i + 1] ? f.indices[e] == i : f.indices[e] < f.indices[e + 1]);
        }
      }
      // Scores of users who have one item each: F^T F is the inverse of R^T R + reg I, if nothing is left out.
      Buffer<int64_t> indptr(n + 1), indptr_t(n + 1);
      Buffer<int32_t> own(n), indices_t(f.indptr[n]);
      Buffer<float> values_t(f.indptr[n]), one(n), zero(n), scores(n * n);
      for (int64_t i = 0; i < n; ++i) indptr[i] = own[i] = static_cast<int32_t>(i), one[i] = 1, zero[i] = 0;
      indptr[n] = n;
      cpu::transpose(f, indptr_t, indices_t, values_t, threads);
      cpu::factor_scores({indptr, own, nullptr, n, n}, f, {indptr_t, indices_t, values_t, n, n}, one, one, zero, scores,
                         threads);
      if (most < n) continue;
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = reg * static_cast<double>(scores[j * n + i]);
          for (int64_t e = both.items.indptr[i]; e < both.items.indptr[i + 1]; ++e) {
            const int64_t u = both.items.indices[e];
            for (int64_t g = both.users.indptr[u]; g < both.users.indptr[u + 1]; ++g) {
              sum += static_cast<double>(scores[j * n + both.users.indices[g]]);
            }
          }
          CHECK(std::abs(sum - (i == j ? 1.0 : 0.0)) < 1e-5);
        }
      }
    }
  }
}

void add_inverse(Inputs& in, Kernels& kernels) {
  kernels["gram_sizes, gram_rows, inverse_factor"] = [&in](int threads) {
    Factor factor(in.graph.both, 9, 30, threads);
    Result result;
    result.add(factor.a_indptr), result.add(*factor.a_indices), result.add(*factor.a_values);
    result.add(factor.indptr), result.add(*factor.indices), result.add(*factor.values);
    return result;
  };
  kernels["factor_scores"] = [&in](int threads) {
    const Bipartite& both = in.graph.both;
    Buffer<float> ones(n_items), scores(n_users * n_items), weight_t(in.graph.kept);
    fill(ones, 4);
    fill(weight_t, 5);
    const Csr factor{both.users.indptr, both.users.indices, in.weight, n_users, n_items};
    const Csr factor_t{both.items.indptr, both.items.indices, weight_t, n_items, n_users};
    cpu::factor_scores(both.users, factor, factor_t, ones, ones, ones, scores, threads);
    Result result;
    result.add(scores);
    return result;
  };
}

}  // namespace fgr::tests
