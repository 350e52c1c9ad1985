#include "fgr/slim.h"

#include <algorithm>
#include <cmath>

#include "common/tie.h"
#include "cpu/parallel.h"
#include "cpu/pool.h"

namespace fgr::cpu {
namespace {

constexpr double inner_share = 0.1;  // of the gap asked for: what a sweep must gain for another to follow at once

double weight(const Csr& csr, int64_t e) { return csr.weight != nullptr ? static_cast<double>(csr.weight[e]) : 1; }

std::vector<double> squares_of_rows(const Csr& csr) {
  std::vector<double> square(static_cast<size_t>(csr.n_rows), 0.0);
  for (int64_t r = 0; r < csr.n_rows; ++r) {
    for (int64_t e = csr.indptr[r]; e < csr.indptr[r + 1]; ++e) {
      square[static_cast<size_t>(r)] += weight(csr, e) * weight(csr, e);
    }
  }
  return square;
}

struct Coordinate {
  int32_t item;
  double product;  // c_i
  double w;
  double square;  // |x_i|^2
};

class Solver {
 public:
  Solver(const Bipartite& graph, const std::vector<double>& square, const SlimOptions& options)
      : users_(graph.users),
        items_(graph.items),
        square_(square),
        options_(options),
        sum_(square.size(), 0.0),
        residual_(static_cast<size_t>(graph.users.n_rows), 0.0) {}

  Slim::Column solve(int64_t j) {
    Slim::Column column;
    const double whole = square_[static_cast<size_t>(j)];
    if (whole == 0) return column;
    find_candidates(j);
    for (int64_t e = items_.indptr[j]; e < items_.indptr[j + 1]; ++e) {
      residual_[static_cast<size_t>(items_.indices[e])] = weight(items_, e);
    }
    const double wanted = options_.tolerance * whole;
    int64_t sweeps = 0;
    double gap = gap_now();
    while (gap > wanted && sweeps < options_.most_sweeps && !interrupted()) {
      active_.clear();
      for (Coordinate& c : candidates_) {
        if (c.product > options_.l1 || c.w > 0) active_.push_back(&c);
      }
      do {
        ++sweeps;
      } while (sweep() > inner_share * wanted && sweeps < options_.most_sweeps);
      for (Coordinate& c : candidates_) c.product = product_with_residual(c.item);
      gap = gap_now();
    }
    column.gap = gap / whole;
    column.converged = gap <= wanted;
    for (const Coordinate& c : candidates_) {
      if (c.w > 0) {
        column.entries.emplace_back(c.item, static_cast<float>(c.w));
        clear_residual(c.item);
      }
    }
    clear_residual(j);
    return column;
  }

 private:
  void find_candidates(int64_t j) {
    candidates_.clear();
    touched_.clear();
    for (int64_t e = items_.indptr[j]; e < items_.indptr[j + 1]; ++e) {
      const int64_t user = items_.indices[e];
      for (int64_t f = users_.indptr[user]; f < users_.indptr[user + 1]; ++f) {
        double& sum = sum_[static_cast<size_t>(users_.indices[f])];
        if (sum == 0) touched_.push_back(users_.indices[f]);  // all weights are > 0
        sum += weight(items_, e) * weight(users_, f);
      }
    }
    for (const int32_t i : touched_) {
      if (i != j) candidates_.push_back({i, sum_[static_cast<size_t>(i)], 0, square_[static_cast<size_t>(i)]});
      sum_[static_cast<size_t>(i)] = 0;
    }
    keep_nearest();
    const auto is_idle = [l1 = options_.l1](const Coordinate& c) { return c.product <= l1; };
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), is_idle), candidates_.end());
    std::sort(candidates_.begin(), candidates_.end(),
              [](const Coordinate& a, const Coordinate& b) { return a.item < b.item; });
  }

  void keep_nearest() {
    const int64_t most = options_.neighbours;
    if (most == 0 || static_cast<int64_t>(candidates_.size()) <= most) return;
    const auto cosine = [](const Coordinate& c) { return c.product / std::sqrt(c.square); };  // times |x_j|
    std::nth_element(candidates_.begin(), candidates_.begin() + (most - 1), candidates_.end(),
                     [&](const Coordinate& a, const Coordinate& b) {
                       const double of_a = cosine(a), of_b = cosine(b);
                       return of_a > of_b || (of_a == of_b && tie_key(static_cast<uint32_t>(a.item)) <
                                                                  tie_key(static_cast<uint32_t>(b.item)));
                     });
    candidates_.resize(static_cast<size_t>(most));
  }

  double gap_now() const {
    double gap = 0;
    for (const Coordinate& c : candidates_) {
      const double above = std::max(c.product - options_.l1, 0.0) - options_.l2 * c.w;
      gap += above * above / (2 * options_.l2) + c.w * std::max(options_.l1 - c.product, 0.0);
    }
    return gap;
  }

  // Each active coordinate to its minimum; returns what f lost by it, or less.
  double sweep() {
    double gained = 0;
    for (Coordinate* c : active_) {
      const double curvature = c->square + options_.l2;
      const double best = std::max((product_with_residual(c->item) + c->square * c->w - options_.l1) / curvature, 0.0);
      const double change = best - c->w;
      if (change == 0) continue;
      c->w = best;
      gained += curvature * change * change / 2;
      for (int64_t e = items_.indptr[c->item]; e < items_.indptr[c->item + 1]; ++e) {
        residual_[static_cast<size_t>(items_.indices[e])] -= change * weight(items_, e);
      }
    }
    return gained;
  }

  double product_with_residual(int64_t i) const {
    double sum = 0;
    for (int64_t e = items_.indptr[i]; e < items_.indptr[i + 1]; ++e) {
      sum += weight(items_, e) * residual_[static_cast<size_t>(items_.indices[e])];
    }
    return sum;
  }

  void clear_residual(int64_t i) {
    for (int64_t e = items_.indptr[i]; e < items_.indptr[i + 1]; ++e) {
      residual_[static_cast<size_t>(items_.indices[e])] = 0;
    }
  }

  const Csr& users_;
  const Csr& items_;
  const std::vector<double>& square_;
  const SlimOptions& options_;
  std::vector<double> sum_, residual_;  // [n_items] and [n_users], 0 between columns
  std::vector<int32_t> touched_;
  std::vector<Coordinate> candidates_;
  std::vector<Coordinate*> active_;
};

}  // namespace

int64_t Slim::n_entries() const {
  int64_t n = 0;
  for (const Column& column : columns) n += static_cast<int64_t>(column.entries.size());
  return n;
}

int64_t Slim::n_open() const {
  return std::count_if(columns.begin(), columns.end(), [](const Column& column) { return !column.converged; });
}

double Slim::worst_gap() const {
  double worst = 0;
  for (const Column& column : columns) worst = std::max(worst, column.gap);
  return worst;
}

void Slim::copy(int64_t* indptr, int32_t* ids, float* values) const {
  *indptr = 0;
  for (const Column& column : columns) {
    indptr[1] = indptr[0] + static_cast<int64_t>(column.entries.size());
    ++indptr;
    for (const auto& [item, w] : column.entries) {
      *ids++ = item;
      *values++ = w;
    }
  }
}

Slim slim(const Bipartite& graph, const SlimOptions& options, int threads) {
  const int64_t n_items = graph.items.n_rows;
  const std::vector<double> square = squares_of_rows(graph.items);
  double work = 0;  // of the products of an item with all others
  for (int64_t u = 0; u < graph.users.n_rows; ++u) {
    const double degree = static_cast<double>(graph.users.indptr[u + 1] - graph.users.indptr[u]);
    work += degree * degree;
  }
  const double cost = 8 * work / static_cast<double>(std::max<int64_t>(n_items, 1));
  Slim result;
  result.columns.resize(static_cast<size_t>(n_items));
  Pool<Solver> pool;
  parallel_for(n_items, static_cast<int64_t>(std::min(cost, 1e15)), threads, [&](int64_t begin, int64_t end) {
    pool.with([&] { return std::make_unique<Solver>(graph, square, options); },
              [&](Solver& solver) {
                for (int64_t j = begin; j < end; ++j) result.columns[static_cast<size_t>(j)] = solver.solve(j);
              });
  });
  pool.rethrow();
  return result;
}

}  // namespace fgr::cpu
