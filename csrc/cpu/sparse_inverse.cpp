#include "fgr/sparse_inverse.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "cpu/parallel.h"
#include "cpu/pool.h"

namespace fgr::cpu {
namespace {

size_t at(int64_t i) { return static_cast<size_t>(i); }

// A sparse row on top of a dense one.
template <class T>
class Sums {
 public:
  explicit Sums(int64_t n) : sum_(at(n)), touched_(at(n)) {}

  void add(int32_t i, T amount) {
    if (touched_[at(i)] == 0) {
      touched_[at(i)] = 1;
      ids_.push_back(i);
    }
    sum_[at(i)] += amount;
  }
  std::vector<int32_t>& ids() { return ids_; }  // in the order in which they came
  T of(int32_t i) const { return sum_[at(i)]; }
  void clear() {
    for (const int32_t i : ids_) sum_[at(i)] = 0, touched_[at(i)] = 0;
    ids_.clear();
  }

 private:
  std::vector<T> sum_;
  std::vector<uint8_t> touched_;
  std::vector<int32_t> ids_;
};

// Ids below n, each once, in ascending order: a bit each, and a bit for each 64 of them, so that few are found among
// many.
class IdSet {
 public:
  explicit IdSet(int64_t n) : bits_(at(n / 64 + 1)), words_(at(n / 4096 + 1)) {}

  bool has(int32_t i) const { return (bits_[at(i >> 6)] >> (i & 63) & 1) != 0; }
  void add(int32_t i) {
    uint64_t& word = bits_[at(i >> 6)];
    if (word == 0) words_[at(i >> 12)] |= uint64_t{1} << ((i >> 6) & 63);
    word |= uint64_t{1} << (i & 63);
  }
  // fn(id) for each, which are then none.
  template <class Fn>
  void take(const Fn& fn) {
    for (size_t top = 0; top < words_.size(); ++top) {
      each_bit(words_[top], [&](size_t middle) {
        const size_t word = 64 * top + middle;
        each_bit(bits_[word], [&](size_t bit) { fn(static_cast<int32_t>(64 * word + bit)); });
        bits_[word] = 0;
      });
      words_[top] = 0;
    }
  }

 private:
  template <class Fn>
  static void each_bit(uint64_t word, const Fn& fn) {
    for (; word != 0; word &= word - 1) fn(static_cast<size_t>(__builtin_ctzll(word)));
  }
  std::vector<uint64_t> bits_, words_;
};

struct Entry {
  int32_t id;
  float value;
  double weight;  // |value| / sqrt(diagonal)
};

std::vector<double> roots(const double* diagonal, int64_t n) {
  std::vector<double> found(diagonal, diagonal + n);
  for (double& x : found) x = std::sqrt(x);
  return found;
}

// Of entries that stand by id it leaves the `kept` of the largest weight, the lower ids where they are equal.
class KeepBest {
 public:
  void operator()(std::vector<Entry>& entries, int64_t kept) {
    if (static_cast<int64_t>(entries.size()) <= kept) return;
    if (kept == 0) return entries.clear();
    weights_.clear();
    for (const Entry& entry : entries) weights_.push_back(entry.weight);
    const auto last = weights_.begin() + kept - 1;
    std::nth_element(weights_.begin(), last, weights_.end(), std::greater<>());
    const double least = *last;
    int64_t equal = kept - std::count_if(weights_.begin(), last, [&](double weight) { return weight > least; });
    size_t to = 0;
    for (const Entry& entry : entries) {
      if (entry.weight > least || (entry.weight == least && equal-- > 0)) entries[to++] = entry;
    }
    entries.resize(to);
  }

 private:
  std::vector<double> weights_;
};

// fn(j, product) for each pair of an edge of item i and one of the same user with an item j < i.
template <class Fn>
void each_before(const Csr& users, const Csr& items, int64_t i, const Fn& fn) {
  for (int64_t e = items.indptr[i]; e < items.indptr[i + 1]; ++e) {
    const int64_t u = items.indices[e];
    const double own = items.weight != nullptr ? static_cast<double>(items.weight[e]) : 1.0;
    for (int64_t f = users.indptr[u]; f < users.indptr[u + 1] && users.indices[f] < i; ++f) {
      fn(users.indices[f], users.weight != nullptr ? own * static_cast<double>(users.weight[f]) : own);
    }
  }
}

// Pairs of two items that each_before goes through for an item, in the mean.
int64_t pairs_an_item(const Csr& users) {
  double pairs = 0;
  for (int64_t u = 0; u < users.n_rows; ++u) {
    const double degree = static_cast<double>(users.indptr[u + 1] - users.indptr[u]);
    pairs += degree * (degree - 1) / 2;
  }
  return static_cast<int64_t>(std::min(pairs / static_cast<double>(std::max<int64_t>(users.n_cols, 1)), 1e15));
}

// The Cholesky factor of what row i is regressed on, with row i as its last one, and from it row i of F.
class Regression {
 public:
  Regression(const LowerRows& a, const double* roots, double least)
      : a_(a), roots_(roots), least_(least), slot_(at(a.n_rows)), among_(a.n_rows) {}

  void run(int64_t i, int64_t most, int32_t* ids, float* values) {
    choose(i, most);
    const int64_t m = static_cast<int64_t>(chosen_.size());
    gather(i);
    factor(m + 1);
    // x^T = the last row of L^-1, from its end: x_m = 1 / L_mm, x_p = -sum_{q > p} x_q L_qp / L_pp
    x_.assign(at(m + 1), 0);
    for (int64_t p = m; p >= 0; --p) {
      double sum = p == m ? 1 : 0;
      for (int64_t q = p + 1; q <= m; ++q) sum -= x_[at(q)] * column(p)[q];
      x_[at(p)] = sum / column(p)[p];
    }
    for (int64_t p = 0; p < m; ++p) ids[p] = chosen_[at(p)].id;
    ids[m] = static_cast<int32_t>(i);
    for (int64_t p = 0; p <= m; ++p) values[p] = static_cast<float>(x_[at(p)]);
  }

 private:
  double* column(int64_t p) { return cells_.data() + p * width_; }

  void choose(int64_t i, int64_t most) {
    chosen_.clear();
    for (int64_t e = a_.indptr[i]; e < a_.indptr[i + 1]; ++e) {
      const int32_t j = a_.indices[e];
      chosen_.push_back({j, a_.values[e], std::abs(static_cast<double>(a_.values[e])) / roots_[j]});
    }
    keep_best_(chosen_, most);
    if (chosen_.empty()) return;
    const size_t met = chosen_.size(), wanted = at(std::min(most, i));
    for (int32_t id = 0, next = 0; chosen_.size() < wanted; ++id) {
      if (at(next) < met && chosen_[at(next)].id == id) {
        ++next;
      } else {
        chosen_.push_back({id, 0, 0});
      }
    }
    std::inplace_merge(chosen_.begin(), chosen_.begin() + static_cast<int64_t>(met), chosen_.end(),
                       [](const Entry& one, const Entry& other) { return one.id < other.id; });
  }

  // The lower part of A's rows and columns `chosen` and i, column by column.
  void gather(int64_t i) {
    const int64_t m = static_cast<int64_t>(chosen_.size());
    width_ = m + 1;
    cells_.assign(at(width_ * width_), 0);
    for (int64_t q = 0; q < m; ++q) {
      slot_[at(chosen_[at(q)].id)] = static_cast<int32_t>(q);
      among_.add(chosen_[at(q)].id);
    }
    for (int64_t q = 0; q < m; ++q) {
      const int64_t row = chosen_[at(q)].id;
      column(q)[q] = a_.diagonal[row];
      column(q)[m] = static_cast<double>(chosen_[at(q)].value);
      const int32_t *first = a_.indices + a_.indptr[row], *last = a_.indices + a_.indptr[row + 1];
      const float* value = a_.values + a_.indptr[row];
      if (last - first <= scan_ * q) {
        for (const int32_t* j = first; j != last; ++j) {
          if (among_.has(*j)) column(slot_[at(*j)])[q] = static_cast<double>(value[j - first]);
        }
        continue;
      }
      const int32_t* from = first;
      for (int64_t p = 0; p < q && from != last; ++p) {
        const int32_t wanted = chosen_[at(p)].id;
        from = std::lower_bound(from, last, wanted);
        if (from != last && *from == wanted) column(p)[q] = static_cast<double>(value[from - first]);
      }
    }
    column(m)[m] = a_.diagonal[i];
    among_.take([](int32_t) {});
  }

  // In place; of each column the earlier ones are subtracted four at a time.
  void factor(int64_t n) {
    for (int64_t q = 0; q < n; ++q) {
      double* own = column(q);
      int64_t p = 0;
      for (; p + 4 <= q; p += 4) {
        const double *c0 = column(p), *c1 = column(p + 1), *c2 = column(p + 2), *c3 = column(p + 3);
        const double f0 = c0[q], f1 = c1[q], f2 = c2[q], f3 = c3[q];
        for (int64_t r = q; r < n; ++r) own[r] -= (f0 * c0[r] + f1 * c1[r]) + (f2 * c2[r] + f3 * c3[r]);
      }
      for (; p < q; ++p) {
        const double* c = column(p);
        const double f = c[q];
        for (int64_t r = q; r < n; ++r) own[r] -= f * c[r];
      }
      const double pivot = std::sqrt(own[q] > least_ ? own[q] : least_);
      for (int64_t r = q + 1; r < n; ++r) own[r] /= pivot;
      own[q] = pivot;
    }
  }

  static constexpr int64_t scan_ = 16;  // entries of a row that are looked at in the time of one search in it
  const LowerRows& a_;
  const double* roots_;
  const double least_;
  std::vector<int32_t> slot_;  // of those among_ the place in chosen_
  IdSet among_;
  KeepBest keep_best_;
  std::vector<Entry> chosen_;
  std::vector<double> cells_, x_;
  int64_t width_ = 0;
};

}  // namespace

void gram_sizes(const Csr& users, const Csr& items, int64_t most, int64_t* sizes, int threads) {
  struct Seen {
    std::vector<int32_t> by;  // of an item: the last one that it was counted for
    explicit Seen(int64_t n) : by(at(n), -1) {}
  };
  Pool<Seen> pool;
  parallel_for(items.n_rows, 1 + pairs_an_item(users), threads, [&](int64_t begin, int64_t end) {
    pool.with([&] { return std::make_unique<Seen>(items.n_rows); },
              [&](Seen& seen) {
                for (int64_t i = begin; i < end && !interrupted(); ++i) {
                  int64_t count = 0;
                  each_before(users, items, i, [&](int32_t j, double) {
                    count += seen.by[at(j)] != i;
                    seen.by[at(j)] = static_cast<int32_t>(i);
                  });
                  sizes[i] = std::min(count, most);
                }
              });
  });
  pool.rethrow();
}

void gram_rows(const Csr& users, const Csr& items, const double* diagonal, const int64_t* indptr, int32_t* indices,
               float* values, int threads) {
  struct Row {
    std::vector<double> sums;
    IdSet met;
    std::vector<Entry> entries;
    KeepBest keep_best;
    explicit Row(int64_t n) : sums(at(n)), met(n) {}
  };
  const std::vector<double> root = roots(diagonal, items.n_rows);
  Pool<Row> pool;
  parallel_for(items.n_rows, 1 + 2 * pairs_an_item(users), threads, [&](int64_t begin, int64_t end) {
    pool.with([&] { return std::make_unique<Row>(items.n_rows); },
              [&](Row& row) {
                for (int64_t i = begin; i < end && !interrupted(); ++i) {
                  each_before(users, items, i, [&](int32_t j, double amount) {
                    row.sums[at(j)] += amount;
                    row.met.add(j);
                  });
                  row.entries.clear();
                  row.met.take([&](int32_t j) {
                    const double sum = row.sums[at(j)];
                    row.entries.push_back({j, static_cast<float>(sum), std::abs(sum) / root[at(j)]});
                    row.sums[at(j)] = 0;
                  });
                  row.keep_best(row.entries, indptr[i + 1] - indptr[i]);
                  for (int64_t e = 0; e < indptr[i + 1] - indptr[i]; ++e) {
                    indices[indptr[i] + e] = row.entries[at(e)].id;
                    values[indptr[i] + e] = row.entries[at(e)].value;
                  }
                }
              });
  });
  pool.rethrow();
}

void inverse_factor(const LowerRows& a, double least, int64_t most, const int64_t* indptr, int32_t* indices,
                    float* values, int threads) {
  Pool<Regression> pool;
  const std::vector<double> root = roots(a.diagonal, a.n_rows);
  const double m = static_cast<double>(std::min(most, a.n_rows));
  const int64_t cost = static_cast<int64_t>(std::min(1 + 8 * m * m + m * m * m / 6, 1e15));
  parallel_for(a.n_rows, cost, threads, [&](int64_t begin, int64_t end) {
    pool.with([&] { return std::make_unique<Regression>(a, root.data(), least); },
              [&](Regression& regression) {
                for (int64_t i = begin; i < end && !interrupted(); ++i) {
                  regression.run(i, most, indices + indptr[i], values + indptr[i]);
                }
              });
  });
  pool.rethrow();
}

void factor_scores(const Csr& rows, const Csr& factor, const Csr& factor_t, const float* before, const float* after,
                   const float* own, float* scores, int threads) {
  Pool<Sums<float>> pool;
  const int64_t n = factor.n_cols, mean = factor.indptr[factor.n_rows] / std::max<int64_t>(factor.n_rows, 1) + 1;
  parallel_rows(rows.indptr, rows.n_rows, mean * mean, threads, [&](int64_t begin, int64_t end) {
    pool.with([&] { return std::make_unique<Sums<float>>(factor.n_rows); },
              [&](Sums<float>& hidden) {
                for (int64_t b = begin; b < end && !interrupted(); ++b) {
                  const auto each_own = [&](const auto& fn) {
                    for (int64_t e = rows.indptr[b]; e < rows.indptr[b + 1]; ++e) {
                      fn(rows.indices[e], rows.weight != nullptr ? rows.weight[e] : 1.0f);
                    }
                  };
                  each_own([&](int32_t i, float amount) {
                    const float scaled = before[i] * amount;
                    for (int64_t e = factor_t.indptr[i]; e < factor_t.indptr[i + 1]; ++e) {
                      hidden.add(factor_t.indices[e], scaled * factor_t.weight[e]);
                    }
                  });
                  float* to = scores + b * n;
                  std::fill(to, to + n, 0.0f);
                  for (const int32_t k : hidden.ids()) {
                    const float amount = hidden.of(k);
                    for (int64_t e = factor.indptr[k]; e < factor.indptr[k + 1]; ++e) {
                      to[factor.indices[e]] += amount * factor.weight[e];
                    }
                  }
                  for (int64_t j = 0; j < n; ++j) to[j] *= after[j];
                  each_own([&](int32_t i, float amount) { to[i] += own[i] * amount; });
                  hidden.clear();
                }
              });
  });
  pool.rethrow();
}

}  // namespace fgr::cpu
