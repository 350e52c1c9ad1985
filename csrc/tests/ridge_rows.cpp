// Ridge regressions of rows: their normal equations hold, a pass by blocks goes down, and what has no factor is named.
#include "fgr/ridge_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/threads.h"

namespace fgr::tests {
namespace {

constexpr int64_t wide = 48;

struct Problem {
  explicit Problem(const TestGraph& graph, bool weighted)
      : weight(graph.kept),
        target(graph.kept),
        v(graph.both.items.n_rows * wide),
        base(wide),
        ridge(graph.both.users.n_rows),
        x(graph.both.users.n_rows * wide) {
    fill(weight, 3), fill(target, 4), fill(v, 5), fill(base, 6), fill(ridge, 7), fill(x, 8);
    for (int64_t e = 0; e < weight.size; ++e) weight[e] += 1;  // 0 or more
    for (int64_t c = 0; c < wide; ++c) base[c] += 1;
    for (int64_t r = 0; r < ridge.size; ++r) ridge[r] += 1.5f;
    Csr rows = graph.both.users;
    rows.weight = weighted ? weight.data : nullptr;
    job = {rows, weighted ? target.data : nullptr, v, wide, base, ridge, wide};
  }
  double loss(int64_t r) const {
    double sum = 0;
    for (int64_t c = 0; c < wide; ++c) {
      const double one = static_cast<double>(x.data[r * wide + c]);
      sum += (static_cast<double>(base.data[c]) + static_cast<double>(ridge.data[r])) * one * one;
    }
    for (int64_t e = job.rows.indptr[r]; e < job.rows.indptr[r + 1]; ++e) {
      const double w = job.rows.weight != nullptr ? static_cast<double>(job.rows.weight[e]) : 1;
      const double t = job.target != nullptr ? static_cast<double>(job.target[e]) : 1;
      sum += w * (t - score(r, e)) * (t - score(r, e));
    }
    return sum;
  }
  double score(int64_t r, int64_t e) const {
    double sum = 0;
    for (int64_t c = 0; c < wide; ++c) {
      sum += static_cast<double>(x.data[r * wide + c]) * static_cast<double>(v.data[job.rows.indices[e] * wide + c]);
    }
    return sum;
  }
  // The largest entry of (D + V^T W V) x - V^T W t.
  double slope(int64_t r) const {
    double most = 0;
    for (int64_t c = 0; c < wide; ++c) {
      double sum = (static_cast<double>(base.data[c]) + static_cast<double>(ridge.data[r])) *
                   static_cast<double>(x.data[r * wide + c]);
      for (int64_t e = job.rows.indptr[r]; e < job.rows.indptr[r + 1]; ++e) {
        const double w = job.rows.weight != nullptr ? static_cast<double>(job.rows.weight[e]) : 1;
        const double t = job.target != nullptr ? static_cast<double>(job.target[e]) : 1;
        sum += w * (score(r, e) - t) * static_cast<double>(v.data[job.rows.indices[e] * wide + c]);
      }
      most = std::max(most, std::abs(sum));
    }
    return most;
  }

  Buffer<float> weight, target, v, base, ridge, x;
  cpu::RidgeRows job;
};

}  // namespace

void test_ridge_rows() {
  const TestGraph graph(40, 200, 1400, 9);  // rows of 20 to 50 entries: both sides of 48 columns
  for (const bool weighted : {false, true}) {
    for (const int threads : {1, 3}) {
      Problem one(graph, weighted);
      const int64_t n = one.job.rows.n_rows;
      CHECK(cpu::ridge_rows(one.job, one.x, threads) == -1);
      for (int64_t r = 0; r < n; ++r) CHECK(one.slope(r) < 1e-3);

      Problem blocks(graph, weighted);
      blocks.job.block = 16;
      std::vector<double> before;
      for (int64_t r = 0; r < n; ++r) before.push_back(blocks.loss(r));
      CHECK(cpu::ridge_rows(blocks.job, blocks.x, threads) == -1);
      for (int64_t r = 0; r < n; ++r) {
        CHECK(blocks.loss(r) <= before[static_cast<size_t>(r)] * (1 + 1e-5));
        CHECK(blocks.loss(r) > one.loss(r) - 1e-3);
      }

      Problem broken(graph, weighted);
      for (const int64_t r : {int64_t{5}, int64_t{31}}) broken.ridge[r] = std::numeric_limits<float>::quiet_NaN();
      CHECK(cpu::ridge_rows(broken.job, broken.x, threads) == 5);
    }
  }
  const TestGraph bare(3, 4, 0, 1);
  Problem none(bare, false);
  CHECK(cpu::ridge_rows(none.job, none.x, 2) == -1);
  for (int64_t i = 0; i < none.x.size; ++i) CHECK(none.x[i] == 0);
}

void add_ridge(Inputs& in, Kernels& kernels) {
  for (const int64_t block : {wide, int64_t{16}}) {
    kernels["ridge_rows, block " + std::to_string(block)] = [&in, block](int threads) {
      Problem problem(in.graph, true);
      problem.job.block = block;
      CHECK(cpu::ridge_rows(problem.job, problem.x, threads) == -1);
      Result result;
      result.add(problem.x);
      return result;
    };
  }
}

}  // namespace fgr::tests
