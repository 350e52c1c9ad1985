// The parts of a training step on some rows: here those of a graph's users.
#include "fgr/row_step.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct RowCase {
  int64_t dim;
  bool weighted, scaled, compact, some_rows, shadow = false, neighbours = true;
};

template <class T>
struct RowInputs {
  using A = acc_t<T>;
  std::vector<T> x;
  std::vector<A> scale, left, out, gain, beta, base;
  std::vector<int32_t> slot, base_slot, rows;

  RowInputs(Random& random, const HostGraph& host, const RowCase& c) {
    const int64_t n_users = host.n_users, n_items = host.n_items, compact = n_items / 2 + 1;
    x = random.uniform<T>((c.compact ? compact : n_items) * c.dim);
    if (c.scaled && !c.compact) scale = random.uniform<A>(n_items, 0.2, 1);
    for (int64_t n = 0; c.scaled && n < n_users; ++n) {
      left.push_back(static_cast<A>(1 / std::sqrt(static_cast<double>(std::max<int64_t>(host.degree(n), 1)))));
    }
    out = left;
    gain = random.uniform<A>(1, 0.2, 1);
    beta = random.uniform<A>(1, 0.2, 1);
    base = random.uniform<A>(n_users * c.dim);
    if (c.compact)
      slot = random.ids<int32_t>(n_items, -1, compact), base_slot = random.ids<int32_t>(n_users, -1, n_users);
    for (int32_t n = 0; c.some_rows && n < n_users; ++n) {
      if (random.below(3) == 0) rows.push_back(n);
    }
  }

  template <class On>
  RowHop<T> on(On& at, const TestGraph& graph, const RowCase& c) const {
    const Bipartite both = at.graph(graph);
    Csr csr = both.users;
    if (!c.neighbours) csr.indptr = nullptr;
    return {csr,
            c.neighbours ? both.schedule : Schedule{},
            at.in(x),
            c.dim,
            c.dim,
            at.in(scale),
            at.in(slot),
            at.in(gain),
            at.in(beta),
            at.in(left),
            at.in(out),
            at.in(base),
            at.in(base_slot)};
  }
};

std::string describe(const RowCase& c) {
  return " dim=" + std::to_string(c.dim) + (c.weighted ? " weighted" : "") + (c.scaled ? " scaled" : "") +
         (c.compact ? " compact" : "") + (c.some_rows ? " some rows" : "") + (c.shadow ? " shadow" : "") +
         (c.neighbours ? "" : " no neighbours");
}

template <class T>
void check_row_hop(Checks& checks, const RowCase& c) {
  const std::string name = std::string("row_hop<") + type_name<T>() + ">" + describe(c);
  const TestGraph& graph = checks.hop_graph(c.weighted, c.dim);
  Random random = checks.random(name);
  const RowInputs<T> inputs(random, graph.host, c);
  const int64_t n = c.some_rows ? static_cast<int64_t>(inputs.rows.size()) : graph.host.n_users;
  checks.run(name, [&](auto& on) {
    const RowHop<T> hop = inputs.on(on, graph, c);
    T* y = on.template out<T>("y", n * c.dim, close<T>(c.scaled ? 2 : 8));
    FGR_RUN(on, row_hop<T>, hop, on.in(inputs.rows), n, y,
            on.workspace(FGR_BYTES(on, row_step_workspace_bytes<T>, hop.csr.n_rows, hop.schedule, c.dim)));
  });
}

template <class T>
void check_row_update(Checks& checks, const RowCase& c) {
  using A = acc_t<T>;
  const std::string name = std::string("row_update<") + type_name<T>() + ">" + describe(c);
  const TestGraph& graph = checks.hop_graph(c.weighted, c.dim);
  Random random = checks.random(name);
  const RowInputs<T> inputs(random, graph.host, c);
  const int64_t size = graph.host.n_users * c.dim;
  const auto emb = random.away_from_zero<A>(size), exp_avg = random.uniform<A>(size);
  const auto exp_avg_sq = random.uniform<A>(size, 0.5, 1);
  const std::vector<T> shadow(c.shadow ? static_cast<size_t>(size) : 0);
  const std::vector<double> lr{0.01};
  const std::vector<int64_t> step{1000};
  const Tolerance tolerance = close<T>(c.scaled ? 4 : 8);
  checks.run(name, [&](auto& on) {
    const RowHop<T> hop = inputs.on(on, graph, c);
    A* m = on.template inout<A>("exp_avg", exp_avg, tolerance);
    A* v = on.template inout<A>("exp_avg_sq", exp_avg_sq, tolerance);
    A* e = on.template inout<A>("emb", emb, close<A>(sizeof(T) == 2 ? 100 : 1));
    T* shadow_rows = on.template inout<T>("shadow", shadow, close<T>());
    const RowTable<T> table{e, m, v, shadow_rows, hop.left};
    const AdamOptions adam{0.9, 0.999, 1e-8, 0.01};
    FGR_RUN(on, row_update<T>, hop, table, adam, on.in(lr), on.in(step),
            on.workspace(FGR_BYTES(on, row_step_workspace_bytes<T>, hop.csr.n_rows, hop.schedule, c.dim)));
  });
}

void check_positives(Checks& checks, BatchLaw law, int64_t batch) {
  const std::string name = std::string("own_positives ") + (law == BatchLaw::by_edge ? "by edge" : "by user") +
                           " batch=" + std::to_string(batch);
  const TestGraph& graph = checks.graph(false);
  const int64_t n_users = graph.host.n_users, n_edges = graph.host.users.indptr.back();
  std::vector<int32_t> active;  // of a graph with as many users again behind the own ones, and edges before and behind
  for (int32_t n = 0; n < n_users; ++n) {
    if (graph.host.degree(n) > 0) active.push_back(n + 5);
  }
  for (int32_t n = 0; n < n_users; ++n) active.push_back(static_cast<int32_t>(n_users) + 5 + n);
  const std::vector<int64_t> seed{7}, offset{int64_t{1} << 40};
  checks.run(name, [&](auto& on) {
    int64_t* users = on.template out<int64_t>("users", batch, exact);
    int64_t* pos = on.template out<int64_t>("pos", batch, exact);
    const OwnUsers own{on.graph(graph).users, 5, 17, 2 * n_edges + 17};
    FGR_RUN(on, own_positives, own, law, on.in(active), static_cast<int64_t>(active.size()), on.in(seed), on.in(offset),
            batch, users, pos);
  });
}

template <class T>
void check_type(Checks& checks) {
  bool weighted = false;
  for (const int64_t dim : checks.dims()) {
    check_row_hop<T>(checks, {dim, weighted, true, false, false});
    check_row_hop<T>(checks, {dim, !weighted, false, true, dim % 2 == 0});
    check_row_update<T>(checks, {dim, weighted, true, dim % 2 == 0, false, true});
    weighted = !weighted;
  }
  const int64_t dim = checks.small() ? 8 : 64;
  check_row_hop<T>(checks, {dim, false, true, false, true});
  check_row_hop<T>(checks, {dim, true, false, false, true});
  check_row_update<T>(checks, {dim, false, false, false, false});
  check_row_update<T>(checks, {dim, false, true, true, false, false, false});
}

}  // namespace

void check_row_step(Checks& checks) {
  check_type<float>(checks);
  check_type<double>(checks);
  check_type<bf16>(checks);
  check_positives(checks, BatchLaw::by_edge, 300);
  check_positives(checks, BatchLaw::by_user, 300);
}

}  // namespace fgr::gpu
