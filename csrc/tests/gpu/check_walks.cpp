// Random walks, and personalized PageRank.
#include "fgr/build.h"
#include "fgr/ppr.h"
#include "fgr/random_walk.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct Alias {
  std::vector<uint64_t> users, items;
};
Alias alias_of(const HostGraph& graph, bool weighted) {
  if (!weighted) return {};
  Alias alias{std::vector<uint64_t>(graph.users.indices.size()), std::vector<uint64_t>(graph.items.indices.size())};
  cpu::alias_table(graph.view().users, alias.users.data(), 1);
  cpu::alias_table(graph.view().items, alias.items.data(), 1);
  return alias;
}

template <class On>
WalkGraph walk_graph(On& on, const TestGraph& graph, const Alias& alias) {
  const Bipartite both = on.graph(graph);
  return {{{both.users.indptr, both.users.indices, on.in(alias.users), both.users.n_rows},
           {both.items.indptr, both.items.indices, on.in(alias.items), both.items.n_rows}}};
}

void check_random_walk(Checks& checks, bool weighted, int64_t n_seeds, int64_t length, double restart) {
  const std::string name = "random_walk seeds=" + std::to_string(n_seeds) + " length=" + std::to_string(length) +
                           " restart=" + std::to_string(restart) + (weighted ? " weighted" : "");
  const TestGraph& graph = checks.graph(weighted);
  const Alias alias = alias_of(graph.host, weighted);
  const auto nodes = checks.random(name).ids<int64_t>(n_seeds, 0, graph.host.n_nodes());
  const std::vector<int64_t> seed{9};
  checks.run(name, [&](auto& on) {
    int64_t* out = on.template out<int64_t>("out", n_seeds * (length + 1), exact);
    FGR_RUN(on, random_walk, walk_graph(on, graph, alias), on.in(nodes), n_seeds, length, restart, on.in(seed), out);
  });
}

struct NeighborsCase {
  int64_t n_seeds, n_walks, length, top;
  double restart;
};

void check_neighbors(Checks& checks, bool weighted, const NeighborsCase& c) {
  const std::string name = "random_walk_neighbors seeds=" + std::to_string(c.n_seeds) +
                           " walks=" + std::to_string(c.n_walks) + " length=" + std::to_string(c.length) +
                           " top=" + std::to_string(c.top) + (weighted ? " weighted" : "");
  const TestGraph& graph = checks.graph(weighted);
  const Alias alias = alias_of(graph.host, weighted);
  auto nodes = checks.random(name).ids<int64_t>(c.n_seeds, 0, graph.host.n_nodes());
  if (c.n_seeds > 2) nodes[0] = 0, nodes[1] = 5;  // the user of most edges, and one of none
  const std::vector<int64_t> seed{9};
  checks.run(name, [&](auto& on) {
    int64_t* ids = on.template out<int64_t>("ids", c.n_seeds * c.top, exact);
    float* weights = on.template out<float>("weights", c.n_seeds * c.top, exact);
    FGR_RUN(on, random_walk_neighbors, walk_graph(on, graph, alias), on.in(nodes), c.n_seeds, c.n_walks, c.length,
            c.restart, c.top, on.in(seed), ids, weights,
            on.workspace(FGR_BYTES(on, random_walk_neighbors_workspace_bytes, graph.host.n_nodes(), c.n_seeds,
                                   c.n_walks, c.length)));
  });
}

struct PprCase {
  Side side;
  int64_t n_sources, terms;
  bool weighted, bounded;
  int first = 0, last = 2;  // of the range of scores: 0 the first node, 1 the first item, 2 the end
};

template <class T>
void check_ppr(Checks& checks, const PprCase& c) {
  const std::string name = std::string("ppr<") + type_name<T>() + (c.side == Side::users ? "> users" : "> items") +
                           " sources=" + std::to_string(c.n_sources) + " terms=" + std::to_string(c.terms) +
                           " range=" + std::to_string(c.first) + std::to_string(c.last) +
                           (c.weighted ? " weighted" : "") + (c.bounded ? " bound" : "");
  const TestGraph& graph = checks.hop_graph(c.weighted, c.n_sources);
  const HostGraph& host = graph.host;
  std::vector<double> inverse(static_cast<size_t>(host.n_nodes()));
  std::vector<T> rounded(inverse.size());
  for (int64_t node = 0; node < host.n_nodes(); ++node) {
    const HostCsr& csr = node < host.n_users ? host.users : host.items;
    const size_t row = static_cast<size_t>(node < host.n_users ? node : node - host.n_users);
    double degree = 0;
    for (int64_t e = csr.indptr[row]; e < csr.indptr[row + 1]; ++e) {
      degree += csr.weight.empty() ? 1.0 : static_cast<double>(csr.weight[static_cast<size_t>(e)]);
    }
    inverse[static_cast<size_t>(node)] = degree > 0 ? 1 / degree : 0;
    rounded[static_cast<size_t>(node)] = static_cast<T>(inverse[static_cast<size_t>(node)]);
  }
  const NodeRange own = nodes_of(host.view(), c.side);
  auto nodes = checks.random(name).ids<int64_t>(c.n_sources, own.begin, own.end);
  if (c.n_sources > 2) nodes[0] = own.begin, nodes[1] = own.begin + 5;
  const int64_t ends[] = {0, host.n_users, host.n_nodes()}, first = ends[c.first], last = ends[c.last];
  // The CPU adds a row's terms one after another: thousands of equal ones, whose rounding does not even out.
  const Tolerance of_scores = sizeof(T) == 4 ? Tolerance{4e-5, 4e-5} : close<T>(4);
  // A bound of few terms says what they leave out; of many, what rounding has left.
  const Tolerance of_bound = sizeof(T) == 4 && c.terms > 8 ? Tolerance{3, 3} : Tolerance{1e-2, 1e-2};
  checks.run(name, [&](auto& on) {
    const Bipartite both = on.graph(graph);
    T* scores = on.template out<T>("scores", c.n_sources * (last - first), of_scores);
    double* bound = on.template out<double>("bound", c.bounded ? c.n_sources : 0, of_bound);
    const PprBatch<T> batch{on.in(nodes), c.n_sources, c.side, on.in(rounded), on.in(inverse), 0.15, c.terms};
    FGR_RUN(on, ppr<T>, both, batch, first, last, scores, bound,
            on.workspace(FGR_BYTES(on, ppr_workspace_bytes<T>, both, c.n_sources)));
  });
}

template <class T>
void check_ppr_type(Checks& checks) {
  const bool small = checks.small();
  check_ppr<T>(checks, {Side::users, 1, 2, false, true});
  check_ppr<T>(checks, {Side::items, 3, 4, true, true});
  check_ppr<T>(checks, {Side::users, 5, 1, true, false, 1, 2});
  check_ppr<T>(checks, {Side::items, 33, 3, false, false, 1, 2});
  if (small) return;
  check_ppr<T>(checks, {Side::users, 64, 16, false, true, 1, 2});
  check_ppr<T>(checks, {Side::items, 65, 16, true, true});
  check_ppr<T>(checks, {Side::users, 200, 8, true, true, 0, 1});
}

}  // namespace

void check_walks(Checks& checks) {
  const bool small = checks.small();
  for (const bool weighted : {false, true}) {
    for (const int64_t n : {0, 1, 2, 33, 2048, 70000}) {
      if (small && n > 33) break;
      check_random_walk(checks, weighted, n, n % 8, 0.3);
    }
    check_random_walk(checks, weighted, 33, 7, 0);
    check_random_walk(checks, weighted, 33, 6, 1);
    check_neighbors(checks, weighted, {small ? 7 : 5000, 10, 2, 5, 0.3});
    check_neighbors(checks, weighted, {small ? 4 : 500, 100, 3, 20, 0.0});
    check_neighbors(checks, weighted, {small ? 3 : 300, 700, 4, 60, 0.5});  // tables too large for shared memory
    check_neighbors(checks, weighted, {3, 2, 1, 9, 0.5});                   // fewer visits than are asked for
    check_neighbors(checks, weighted, {0, 10, 2, 5, 0.5});
  }
  check_ppr_type<float>(checks);
  check_ppr_type<double>(checks);
}

}  // namespace fgr::gpu
