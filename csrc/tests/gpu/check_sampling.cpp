// Samplers: integers, which are equal.
#include <numeric>

#include "common/sampling.h"
#include "fgr/sample.h"
#include "fgr/select_negatives.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

using RandomStream = fgr::Stream;  // beside the device's

// Every user has items, one has all, so that no negative is left.
const TestGraph& dense_graph() {
  static const TestGraph graph = [] {
    std::vector<int32_t> users, items;
    for (int32_t u = 0; u < 40; ++u) {
      for (int32_t i = 0; i < 12; ++i) {
        if (u == 0 || i == u % 12 || (u * 7 + i * 5) % 11 < 4) users.push_back(u), items.push_back(i);
      }
    }
    return TestGraph(HostGraph(40, 12, users, items));
  }();
  return graph;
}

std::string of(const TestGraph& graph) { return " users=" + std::to_string(graph.host.n_users); }

enum class Weights { none, some, zero };

void check_negatives(Checks& checks, const TestGraph& graph, int64_t n, int64_t n_draws, Weights weights) {
  const std::string name = "sample_negatives" + of(graph) + " n=" + std::to_string(n) +
                           " draws=" + std::to_string(n_draws) +
                           (weights == Weights::none   ? ""
                            : weights == Weights::some ? " by weight"
                                                       : " no weight");
  Random random = checks.random(name);
  const auto users = random.ids<int64_t>(n, 0, graph.host.n_users);
  std::vector<int64_t> cumulative;
  if (weights != Weights::none) {
    cumulative = weights == Weights::some ? random.ids<int64_t>(graph.host.n_items, 0, 1000)
                                          : std::vector<int64_t>(static_cast<size_t>(graph.host.n_items));
    std::partial_sum(cumulative.begin(), cumulative.end(), cumulative.begin());
  }
  const std::vector<int64_t> seed{7}, offset{int64_t{1} << 40};
  checks.run(name, [&](auto& on) {
    int64_t* out = on.template out<int64_t>("out", n * n_draws, exact);
    const Draws draws{on.in(seed), on.in(offset), RandomStream::negative, 3};
    FGR_RUN(on, sample_negatives, on.graph(graph).users, on.in(cumulative), on.in(users), n, n_draws, draws, out);
  });
}

void check_unseen_mask(Checks& checks, const TestGraph& graph, int64_t n_rows, int64_t n, bool shared) {
  const std::string name = "unseen_mask" + of(graph) + " rows=" + std::to_string(n_rows) + " n=" + std::to_string(n) +
                           (shared ? " shared" : "");
  Random random = checks.random(name);
  const auto users = random.ids<int64_t>(n_rows, 0, graph.host.n_users);
  auto items = random.ids<int64_t>((shared ? 1 : n_rows) * n, -1, graph.host.n_items);
  std::vector<int64_t> order;
  if (shared) {
    std::sort(items.begin(), items.end());
    order.resize(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    for (int64_t i = n - 1; i > 0; --i)
      std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.below(i + 1))]);
  }
  checks.run(name, [&](auto& on) {
    uint8_t* out = on.template out<uint8_t>("out", n_rows * n, exact);
    FGR_RUN(on, unseen_mask, on.graph(graph).users, on.in(users), n_rows, on.in(items), on.in(order), n, out);
  });
}

void check_batch(Checks& checks, const TestGraph& graph, BatchLaw law, int64_t batch, int64_t n_neg, int64_t offset) {
  const std::string name = std::string("sample_batch") + of(graph) +
                           (law == BatchLaw::by_edge ? " by edge" : " by user") + " batch=" + std::to_string(batch) +
                           " negatives=" + std::to_string(n_neg) + " offset=" + std::to_string(offset);
  std::vector<int32_t> active;
  for (int64_t u = 0; u < graph.host.n_users; ++u) {
    if (graph.host.degree(u) > 0) active.push_back(static_cast<int32_t>(u));
  }
  const int64_t n_active = static_cast<int64_t>(active.size());
  if (n_active == graph.host.n_users) active.clear();
  const std::vector<int64_t> seed{11}, first{offset};
  checks.run(name, [&](auto& on) {
    int64_t* users = on.template out<int64_t>("users", batch, exact);
    int64_t* pos = on.template out<int64_t>("pos", batch, exact);
    int64_t* neg = on.template out<int64_t>("neg", batch * n_neg, exact);
    FGR_RUN(on, sample_batch, on.graph(graph).users, graph.host.n_edges(), law, on.in(active), n_active, on.in(seed),
            on.in(first), batch, n_neg, users, pos, neg);
  });
}

void check_listed(Checks& checks, int64_t n_rows, int64_t width, int64_t n_draws) {
  const std::string name = "sample_listed rows=" + std::to_string(n_rows) + " width=" + std::to_string(width) +
                           " draws=" + std::to_string(n_draws);
  Random random = checks.random(name);
  const int64_t n_lists = 50;
  const auto lists = random.ids<int32_t>(n_lists * width, 0, 1000000),
             counts = random.ids<int32_t>(n_lists, 0, width + 1);
  const auto rows = random.ids<int64_t>(n_rows, 0, n_lists);
  const std::vector<int64_t> seed{-5}, offset{int64_t{1} << 33};
  checks.run(name, [&](auto& on) {
    int64_t* out = on.template out<int64_t>("out", n_rows * n_draws, exact);
    FGR_RUN(on, sample_listed, on.in(lists), on.in(counts), n_lists, width, on.in(rows), n_rows, n_draws, on.in(seed),
            on.in(offset), out);
  });
}

void check_uniform_rows(Checks& checks, int64_t n_rows, int64_t dim) {
  const std::string name = "uniform_rows rows=" + std::to_string(n_rows) + " dim=" + std::to_string(dim);
  Random random = checks.random(name);
  const auto ids = random.ids<int64_t>(n_rows, 0, int64_t{1} << 40);
  const std::vector<int64_t> seed{3}, step{0xFFFFFFFF};
  checks.run(name, [&](auto& on) {
    float* out = on.template out<float>("out", n_rows * dim, exact);
    FGR_RUN(on, uniform_rows, on.in(ids), n_rows, dim, on.in(seed), on.in(step), 5, out);
  });
}

// On a grid a product is the same in any order of addition, and what follows is in double, by the same code.
template <class T>
void check_select(Checks& checks, Selection law, int64_t dim, int64_t batch, int64_t m, int64_t n, bool named = false) {
  constexpr const char* laws[] = {"hardest", "semi_hard", "distance_weighted"};
  const std::string name = std::string("select_negatives<") + type_name<T>() + "> " + laws[static_cast<int>(law)] +
                           " dim=" + std::to_string(dim) + " batch=" + std::to_string(batch) +
                           " candidates=" + std::to_string(m) + " n=" + std::to_string(n) + (named ? " by rows" : "");
  Random random = checks.random(name);
  const int64_t n_users = 100, n_items = 150;
  const auto user_emb = random.grid<T>(n_users * dim), item_emb = random.grid<T>(n_items * dim);
  const auto users = random.ids<int64_t>(batch, 0, n_users), pos = random.ids<int64_t>(batch, 0, n_items);
  const auto candidates = random.ids<int64_t>(batch * m, -1, n_items);
  std::vector<int64_t> rows;  // of candidates that are but names
  for (const int64_t c : candidates) rows.push_back(c < 0 ? c : (7 * c + 3) % n_items);
  const SelectOptions options{law, 0.37, 0.5, 1.41};
  const std::vector<int64_t> seed{7}, offset{100};
  checks.run(name, [&](auto& on) {
    int64_t* out = on.template out<int64_t>("out", batch * n, exact);
    const CandidateBatch given{on.in(users), on.in(pos), on.in(candidates), batch, m, named ? on.in(rows) : nullptr};
    const Draws draws{on.in(seed), on.in(offset), RandomStream::negative, 0};
    FGR_RUN(on, select_negatives<T>, options, on.in(user_emb), n_users, on.in(item_emb), n_items, dim, given, draws, n,
            out, on.workspace(select_negatives_workspace_bytes(batch, m)));
  });
}

template <class T>
void check_select_type(Checks& checks) {
  int64_t n = 0;
  for (const Selection law : {Selection::hardest, Selection::semi_hard, Selection::distance_weighted}) {
    for (const int64_t dim : checks.dims()) {
      check_select<T>(checks, law, dim, checks.small() ? 33 : 2048, 10, 1 + n++ % 4);
    }
    check_select<T>(checks, law, 33, 5, 1, 3);
    check_select<T>(checks, law, 33, 0, 4, 2);
    check_select<T>(checks, law, 33, 20, 10, 3, true);
    check_select<T>(checks, law, 16, checks.small() ? 3 : 200, 100, 20);
  }
}

}  // namespace

void check_sampling(Checks& checks) {
  const bool small = checks.small();
  for (const TestGraph* graph : {&checks.graph(false), &dense_graph()}) {
    for (const int64_t n : {0, 1, 2, 33, 2048, 70000}) {
      if (small && n > 33) break;
      for (const Weights weights : {Weights::none, Weights::some, Weights::zero}) {
        check_negatives(checks, *graph, n, n % 2 == 0 ? 1 : 5, weights);
      }
      check_unseen_mask(checks, *graph, n, 5, false);
      check_unseen_mask(checks, *graph, n, n == 2 ? 0 : 300, true);
      check_batch(checks, *graph, BatchLaw::by_edge, n, n % 2, graph->host.n_edges() - 5);
      check_batch(checks, *graph, BatchLaw::by_user, n, 3, int64_t{1} << 40);
      check_listed(checks, n, 1 + n % 7, 3);
    }
  }
  for (const int64_t dim : checks.dims()) check_uniform_rows(checks, small ? 33 : 5000, dim);
  check_uniform_rows(checks, 1, 7);
  check_uniform_rows(checks, 0, 7);
  check_select_type<float>(checks);
  check_select_type<double>(checks);
  check_select_type<bf16>(checks);
}

}  // namespace fgr::gpu
