#include "fgr/ridge_rows.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"
#include "cpu/pool.h"

namespace fgr::cpu {
namespace {

size_t at(int64_t i) { return static_cast<size_t>(i); }

class Solver {
 public:
  Solver(const RidgeRows& job, int64_t most)
      : job_(job),
        kernels_(level().ridge),
        vectors_(at(most)),
        root_(at(job.rows.weight != nullptr ? most : 0)),
        target_(at(most)),
        diagonal_(at(job.dim)),
        moved_(at(job.dim)),
        space_(at(ridge_space(most, job.dim))) {}

  bool solve(int64_t r, float* x) {
    const Csr& rows = job_.rows;
    const int64_t first = rows.indptr[r], n = rows.indptr[r + 1] - first;
    for (int64_t j = 0; j < n; ++j) {
      vectors_[at(j)] = job_.v + static_cast<int64_t>(rows.indices[first + j]) * job_.dim;
      if (rows.weight != nullptr) root_[at(j)] = std::sqrt(rows.weight[first + j]);
      target_[at(j)] = job_.target != nullptr ? job_.target[first + j] : 1.0f;
    }
    for (int64_t c = 0; c < job_.dim; ++c) diagonal_[at(c)] = job_.base[c] + job_.ridge[r];
    RidgeSystem system;
    system.root = rows.weight != nullptr ? root_.data() : nullptr;
    system.target = target_.data();
    system.space = space_.data();
    system.moved = moved_.data();
    system.n = n;
    system.step = job_.block < job_.dim && n > job_.block;
    if (system.step) kernels_.subtract_scores(vectors_.data(), x, n, job_.dim, target_.data());
    for (int64_t c = 0; c < job_.dim; c += system.m) {
      system.m = system.step ? std::min(job_.block, job_.dim - c) : job_.dim;
      system.rows = vectors_.data();
      system.diagonal = diagonal_.data() + c;
      system.x = x + c;
      if (!kernels_.solve(system)) return false;
      if (!system.step) break;
      kernels_.subtract_scores(vectors_.data(), moved_.data(), n, system.m, target_.data());
      for (int64_t j = 0; j < n; ++j) vectors_[at(j)] += system.m;
    }
    return std::all_of(x, x + job_.dim, [](float one) { return std::isfinite(one); });
  }

 private:
  const RidgeRows& job_;
  const RidgeKernels& kernels_;
  std::vector<const float*> vectors_;
  std::vector<float> root_, target_, diagonal_, moved_, space_;
};

}  // namespace

int64_t ridge_rows(const RidgeRows& job, float* x, int threads) {
  const Csr& rows = job.rows;
  int64_t most = 0;
  for (int64_t r = 0; r < rows.n_rows; ++r) most = std::max(most, rows.indptr[r + 1] - rows.indptr[r]);
  constexpr int64_t none = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> failed{none};
  Pool<Solver> pool;
  parallel_rows(rows.indptr, rows.n_rows, job.dim * std::min(job.block, job.dim) / 4, threads,
                [&](int64_t begin, int64_t end) {
                  pool.with([&] { return std::make_unique<Solver>(job, most); },
                            [&](Solver& solver) {
                              for (int64_t r = begin; r < end && !interrupted(); ++r) {
                                if (solver.solve(r, x + r * job.dim)) continue;
                                int64_t known = failed;
                                while (r < known && !failed.compare_exchange_weak(known, r)) {
                                }
                                return;
                              }
                            });
                });
  pool.rethrow();
  return failed == none ? -1 : failed.load();
}

}  // namespace fgr::cpu
