#include "fgr/ppr_push.h"

#include <cmath>
#include <deque>

#include "cpu/parallel.h"
#include "cpu/pool.h"

namespace fgr::cpu {
namespace {

struct Node {
  int64_t id;
  double score, residual;
  bool waits;
};

class Push {
 public:
  Push(const Bipartite& graph, const double* inv_degree, double restart, double epsilon)
      : graph_(graph),
        inv_degree_(inv_degree),
        restart_(restart),
        epsilon_(epsilon),
        slot_(static_cast<size_t>(graph.n_nodes()), -1) {}

  std::vector<std::pair<int64_t, double>> run(int64_t source) {
    add(source, 1);
    int64_t work = 0;
    while (!queue_.empty()) {
      if (work > grain()) {
        work = 0;
        if (interrupted()) break;
      }
      const int32_t slot = queue_.front();
      queue_.pop_front();
      work += push(slot);
    }
    std::vector<std::pair<int64_t, double>> row;
    for (const Node& node : nodes_) {
      if (node.score > 0) row.emplace_back(node.id, node.score);
      slot_[static_cast<size_t>(node.id)] = -1;
    }
    queue_.clear();
    nodes_.clear();
    std::sort(row.begin(), row.end());
    return row;
  }

 private:
  void add(int64_t v, double amount) {
    int32_t& slot = slot_[static_cast<size_t>(v)];
    if (slot < 0) {
      slot = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({v, 0, 0, false});
    }
    Node& node = nodes_[static_cast<size_t>(slot)];
    node.residual += amount;
    const double inv_degree = inv_degree_[v];
    if (node.waits || (inv_degree > 0 && node.residual * inv_degree <= epsilon_)) return;
    node.waits = true;
    queue_.push_back(slot);
  }

  // Returns the edges that it took.
  int64_t push(int32_t slot) {
    Node& node = nodes_[static_cast<size_t>(slot)];
    const int64_t v = node.id;
    const double amount = node.residual, inv_degree = inv_degree_[v];
    node.residual = 0;
    node.waits = false;
    node.score += inv_degree > 0 ? restart_ * amount : amount;
    const double share = (1 - restart_) * amount * inv_degree;
    const int64_t n_users = graph_.users.n_rows;
    const Csr& csr = v < n_users ? graph_.users : graph_.items;
    const int64_t row = v < n_users ? v : v - n_users, other = v < n_users ? n_users : 0;
    for (int64_t e = csr.indptr[row]; e < csr.indptr[row + 1]; ++e) {
      add(other + csr.indices[e], csr.weight != nullptr ? share * static_cast<double>(csr.weight[e]) : share);
    }
    return 1 + csr.indptr[row + 1] - csr.indptr[row];
  }

  const Bipartite& graph_;
  const double* inv_degree_;
  const double restart_, epsilon_;
  std::vector<int32_t> slot_;  // of a node: where it stands in nodes_, or -1
  std::vector<Node> nodes_;    // those touched
  std::deque<int32_t> queue_;
};

}  // namespace

void PprPush::copy(int64_t* indptr, int64_t* ids, double* scores) const {
  *indptr = 0;
  for (const auto& row : rows) {
    indptr[1] = indptr[0] + static_cast<int64_t>(row.size());
    ++indptr;
    for (const auto& [id, score] : row) {
      *ids++ = id;
      *scores++ = score;
    }
  }
}

PprPush ppr_push(const Bipartite& graph, const double* inv_degree, const int64_t* nodes, int64_t n_sources,
                 double restart, double epsilon, int threads) {
  check_ids("nodes", nodes, n_sources, 0, graph.n_nodes());
  PprPush result;
  result.rows.resize(static_cast<size_t>(n_sources));
  Pool<Push> pool;
  // A source takes at most 1 / (restart * epsilon) edges, and on a small graph a number of rounds over all of them.
  const double edges = static_cast<double>(graph.users.indptr[graph.users.n_rows]);
  const double cost = std::min(1 / (restart * epsilon), 2 * edges * (1 - std::log(epsilon)) / restart);
  parallel_for(n_sources, static_cast<int64_t>(std::min(cost, 1e15)), threads, [&](int64_t begin, int64_t end) {
    pool.with([&] { return std::make_unique<Push>(graph, inv_degree, restart, epsilon); },
              [&](Push& push) {
                for (int64_t s = begin; s < end; ++s) result.rows[static_cast<size_t>(s)] = push.run(nodes[s]);
              });
  });
  pool.rethrow();
  return result;
}

}  // namespace fgr::cpu
