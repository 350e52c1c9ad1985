#include "fgr/nearest_rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/tie.h"
#include "cpu/parallel.h"
#include "cpu/pool.h"

namespace fgr::cpu {
namespace {

double sapling(double p, double k_a, double k_b, double n) {
  if (k_a <= 0 || k_b <= 0 || k_a >= n || k_b >= n) return 0;
  const double without = k_a - p;
  const double impurity = p * (1 - p / k_b) + without * (1 - without / (n - k_b));
  const double gain = 1 - impurity / (k_a * (1 - k_a / n)), more = p * n / k_b / k_a - 1;
  return more > 0 ? gain : more < 0 ? -gain : 0;
}

struct Found {
  double value;
  int32_t id;
  bool is_better(const Found& other) const {
    return value > other.value ||
           (value == other.value && tie_key(static_cast<uint32_t>(id)) < tie_key(static_cast<uint32_t>(other.id)));
  }
};
bool is_better(const Found& a, const Found& b) { return a.is_better(b); }

class Row {
 public:
  explicit Row(int64_t n_b) : sum_(static_cast<size_t>(n_b), 0.0) {}

  // fn(id, product) for every row of b that shares a column with row r of a; where most do, in the order of ids.
  template <class Fn>
  void for_products(const SparseRows& a, const SparseRows& b_t, int64_t r, const Fn& fn) {
    int64_t work = 0;
    for (int64_t e = a.indptr[r]; e < a.indptr[r + 1]; ++e) {
      work += b_t.indptr[a.indices[e] + 1] - b_t.indptr[a.indices[e]];
    }
    const auto take = [&](int32_t id) {
      const double sum = sum_[static_cast<size_t>(id)];
      if (sum == 0) return;
      sum_[static_cast<size_t>(id)] = 0;
      fn(id, sum);
    };
    if (work >= 4 * static_cast<int64_t>(sum_.size())) {  // to look at all costs less than to note who was met
      add(a, b_t, r, [](double, int32_t) {});
      for (int32_t id = 0; id < static_cast<int32_t>(sum_.size()); ++id) take(id);
    } else {
      add(a, b_t, r, [&](double before, int32_t id) {
        if (before == 0) touched_.push_back(id);  // again, if what it had cancelled: then it is taken once
      });
      for (const int32_t id : touched_) take(id);
      touched_.clear();
    }
  }

  void offer(const Found& found, int64_t k) {
    if (full_ && !found.is_better(worst_)) return;
    best_.push_back(found);
    if (static_cast<int64_t>(best_.size()) >= 2 * k + 64) cut(k);
  }

  // Writes the k best, ascending by id.
  void take(int64_t k, int32_t* ids, double* values) {
    if (static_cast<int64_t>(best_.size()) > k) cut(k);
    std::sort(best_.begin(), best_.end(), [](const Found& a, const Found& b) { return a.id < b.id; });
    for (int64_t j = 0; j < k; ++j) {
      const bool is_there = j < static_cast<int64_t>(best_.size());
      ids[j] = is_there ? best_[static_cast<size_t>(j)].id : -1;
      values[j] = is_there ? best_[static_cast<size_t>(j)].value : 0;
    }
    best_.clear();
    full_ = false;
  }

 private:
  // The products of row r, in the order of columns; met(what an id had before, id) for each term.
  template <class Met>
  void add(const SparseRows& a, const SparseRows& b_t, int64_t r, const Met& met) {
    double* const sums = sum_.data();
    for (int64_t e = a.indptr[r]; e < a.indptr[r + 1]; ++e) {
      const int64_t begin = b_t.indptr[a.indices[e]], end = b_t.indptr[a.indices[e] + 1];
      const double of_a = a.value != nullptr ? a.value[e] : 1;
      const auto over = [&](const auto& term) {
        for (int64_t f = begin; f < end; ++f) {
          const int32_t id = b_t.indices[f];
          met(sums[id], id);
          sums[id] += term(f);
        }
      };
      if (b_t.value == nullptr) {
        over([=](int64_t) { return of_a; });
      } else {
        over([=, value = b_t.value](int64_t f) { return of_a * value[f]; });
      }
    }
  }

  void cut(int64_t k) {
    std::nth_element(best_.begin(), best_.begin() + (k - 1), best_.end(), is_better);
    best_.resize(static_cast<size_t>(k));
    worst_ = best_.back();
    full_ = true;
  }

  std::vector<double> sum_;
  std::vector<int32_t> touched_;
  std::vector<Found> best_;
  Found worst_{0, 0};  // of the k best so far, once there are k
  bool full_ = false;
};

// likeness(r, id, p), a function of its own for each law.
template <class Likes>
void nearest(const SparseRows& a, const SparseRows& b_t, int64_t n_b, const Likes& likeness, int64_t first, int64_t k,
             int32_t* ids, double* values, double* total, int threads) {
  double work = 0;
  for (int64_t e = a.indptr[0]; e < a.indptr[a.n_rows]; ++e) {
    work += static_cast<double>(b_t.indptr[a.indices[e] + 1] - b_t.indptr[a.indices[e]]);
  }
  const double cost = 4 * work / static_cast<double>(std::max<int64_t>(a.n_rows, 1)) + static_cast<double>(k);
  Pool<Row> pool;
  parallel_for(a.n_rows, static_cast<int64_t>(std::min(cost, 1e15)), threads, [&](int64_t begin, int64_t end) {
    pool.with([&] { return std::make_unique<Row>(n_b); },
              [&](Row& row) {
                for (int64_t r = begin; r < end; ++r) {
                  double sum = 0;
                  row.for_products(a, b_t, r, [&](int32_t id, double p) {
                    const double value = likeness(r, id, p);
                    if (total != nullptr) sum += std::fabs(value) - std::fabs(likeness(r, id, 0));
                    if (value > 0 && (first < 0 || id != first + r)) row.offer({value, id}, k);
                  });
                  row.take(k, ids + r * k, values + r * k);
                  if (total != nullptr) total[r] = sum;
                }
              });
  });
  pool.rethrow();
}

}  // namespace

void nearest_rows(const SparseRows& a, const SparseRows& b_t, int64_t n_b, const Alike& alike, int64_t first, int64_t k,
                  int32_t* ids, double* likeness, double* total, int threads) {
  const double *of_a = alike.of_a, *of_b = alike.of_b, more = alike.shrinkage;
  const auto run = [&](const auto& fn) { nearest(a, b_t, n_b, fn, first, k, ids, likeness, total, threads); };
  switch (alike.law) {
    case Likeness::product:
      return run([=](int64_t r, int32_t, double p) { return p * of_a[r]; });
    case Likeness::cosine:
      return run([=](int64_t r, int32_t id, double p) { return p > 0 ? p / (of_a[r] * of_b[id] + more) : 0; });
    case Likeness::jaccard:
      return run([=](int64_t r, int32_t id, double p) { return p > 0 ? p / (of_a[r] + of_b[id] - p + more) : 0; });
    case Likeness::sapling:
      return run([=](int64_t r, int32_t id, double p) { return sapling(p, of_a[r], of_b[id], more); });
    case Likeness::sapling_turned:
      return run([=](int64_t r, int32_t id, double p) { return sapling(p, of_b[id], of_a[r], more); });
  }
}

}  // namespace fgr::cpu
