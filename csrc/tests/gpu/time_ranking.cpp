// What ranks: retrieve, topk, random walks, personalised PageRank.
#include "fgr/ppr.h"
#include "fgr/random_walk.h"
#include "fgr/retrieve.h"
#include "fgr/topk.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

constexpr int64_t k = 20;

// In float alone where not all items are asked for at once.
void add_retrieve(Cases& cases, const std::string& name, int64_t n_queries, int64_t dim, double predicted,
                  bool in_float = false) {
  const World& w = cases.world;
  const int64_t n_items = w.n_items();
  auto queries = uniform<float>(w.n_users() * dim, 15), items = uniform<float>(n_items * dim, 16);
  auto ids = empty<int64_t>(n_queries * k);
  auto scores = empty<float>(n_queries * k);
  const Csr seen = w.graph().users;
  const Retrieval<float> job{queries->get(),
                             items->get(),
                             n_queries,
                             n_items,
                             dim,
                             false,
                             nullptr,
                             n_items,
                             seen,
                             nullptr,
                             k,
                             n_queries,
                             in_float ? n_items - 1 : n_items};
  auto space = workspace(cuda::retrieve_workspace_bytes(job));
  Case c;
  c.name = name;
  if (in_float) c.variant = "float";
  c.sizes = "top 20 of " + std::to_string(n_items) + ", seen ones left out, d=" + std::to_string(dim);
  c.bytes = static_cast<double>((n_queries + n_items) * dim) * 4 + static_cast<double>(n_queries * k) * 12;
  c.work = 2.0 * static_cast<double>(n_queries) * static_cast<double>(n_items * dim);
  c.unit = "FLOP";
  c.predicted_us = predicted;
  c.holds = {queries, items};
  c.run = [=](void* stream) { cuda::retrieve<float>(job, ids->get(), scores->get(), space->get(), stream); };
  cases.add(c);
}

const Registered retrievals(30, "retrieve", [](Cases& cases) {
  const int64_t all = cases.world.n_users();
  add_retrieve(cases, "retrieve, all users", all, 64, 1300);
  add_retrieve(cases, "retrieve, all users", all, 64, 9500, true);  // 8 to 11 ms
  add_retrieve(cases, "retrieve, all users, d=256", all, sized(256, 8), 2600);
  for (const bool in_float : {false, true}) {
    add_retrieve(cases, "retrieve, 1,024 users", sized(1024, 20), 64, 0, in_float);
    add_retrieve(cases, "retrieve, 64 users", sized(64, 10), 64, 0, in_float);
  }
  add_retrieve(cases, "retrieve, 1 user", 1, 64, 200);  // .15 to .25 ms
});

const Registered top(31, "topk", [](Cases& cases) {
  const World& w = cases.world;
  const int64_t n_rows = sized(1024, 4), n_items = w.n_items();
  const Csr seen = w.graph().users;
  auto scores = uniform<float>(n_rows * n_items, 17), values = empty<float>(n_rows * k);
  auto ids = empty<int64_t>(n_rows * k), rows = w.batch(n_rows, 0).users;
  auto space = workspace(cuda::topk_workspace_bytes<float>(n_rows, n_items, k));
  Case c;
  c.name = "topk";
  c.sizes = std::to_string(n_rows) + " x " + std::to_string(n_items) + ", k=20, seen ones left out";
  c.data = "HBM";
  c.bytes = static_cast<double>(n_rows * n_items) * 4;
  c.predicted_us = 70;  // 60 to read the scores from HBM
  c.run = [=](void* stream) {
    cuda::topk<float>(scores->get(), n_rows, n_items, seen, rows->get(), k, ids->get(), values->get(), space->get(),
                      stream);
  };
  cases.add(c);
});

const Registered walks(32, "random walks", [](Cases& cases) {
  const World& w = cases.world;
  const Bipartite g = w.graph();
  const WalkGraph graph{{{g.users.indptr, g.users.indices, nullptr, w.n_users()},
                         {g.items.indptr, g.items.indices, nullptr, w.n_items()}}};
  auto seed = holding(std::vector<int64_t>{7});
  const int64_t n_seeds = sized(1 << 20, 40), length = 20;
  std::vector<int64_t> starts, of_items;
  for (int64_t s = 0; s < n_seeds; ++s) starts.push_back(s % w.n_users());
  for (int64_t item = 0; item < w.n_items(); ++item) of_items.push_back(w.n_users() + item);
  auto nodes = holding(starts), items = holding(of_items), traces = empty<int64_t>(n_seeds * (length + 1));
  Case c;
  c.name = "random_walk";
  c.dtype = "-";
  c.sizes = std::to_string(n_seeds) + " x 20 steps";
  c.bytes = static_cast<double>(n_seeds * (length + 2)) * 8;
  c.work = static_cast<double>(n_seeds * length);
  c.unit = "steps";
  c.predicted_us = 300;  // .25 to .35 ms
  c.run = [=](void* stream) {
    cuda::random_walk(graph, nodes->get(), n_seeds, length, 0.0, seed->get(), traces->get(), stream);
  };
  cases.add(c);

  struct Shape {
    int64_t n_walks, length;
    double predicted;
  };
  for (const Shape& shape : {Shape{sized(100, 6), 3, 650}, Shape{sized(1000, 10), 1, 0}}) {  // .5 to .8 ms; PinSAGE's
    const int64_t n = items->size(), n_walks = shape.n_walks, steps = shape.length;
    auto ids = empty<int64_t>(n * k);
    auto weights = empty<float>(n * k);
    auto space = workspace(cuda::random_walk_neighbors_workspace_bytes(graph.n_nodes(), n, n_walks, steps));
    c.name = "random_walk_neighbors " + std::to_string(n_walks) + " x " + std::to_string(steps);
    c.sizes = "all items, top 20";
    c.bytes = static_cast<double>(n) * (8 + k * 12);
    c.work = 2.0 * static_cast<double>(n * n_walks * steps);
    c.predicted_us = shape.predicted;
    c.run = [=](void* stream) {
      cuda::random_walk_neighbors(graph, items->get(), n, n_walks, steps, 0.5, k, seed->get(), ids->get(),
                                  weights->get(), space->get(), stream);
    };
    cases.add(c);
  }
});

const Registered pagerank(33, "ppr", [](Cases& cases) {
  constexpr int64_t terms = 8;  // 16 half-hops
  const World& w = cases.world;
  const Bipartite graph = w.graph();
  auto inverse = w.power_of_degree<float>(-1);
  auto exact = w.power_of_degree<double>(-1);
  const int64_t n_users = w.n_users(), n_nodes = w.n_nodes();
  for (const int64_t n_sources : {sized(64, 5), int64_t{1}}) {
    auto sources = w.batch(n_sources, 0).users;
    auto scores = empty<float>(n_sources * w.n_items());
    auto bound = empty<double>(n_sources);
    auto space = workspace(cuda::ppr_workspace_bytes<float>(graph, n_sources));
    Case c;
    c.name = "ppr, " + std::to_string(n_sources) + (n_sources == 1 ? " source" : " sources");
    c.sizes = "users, scores of all items, 8 terms, with bound";
    c.work = 2.0 * terms * static_cast<double>(w.n_edges());
    c.unit = "edges";
    c.predicted_us = 2300;  // 2.0 to 2.6 ms, however few the sources are
    c.run = [=](void* stream) {
      const PprBatch<float> batch{sources->get(), n_sources, Side::users, inverse->get(), exact->get(), 0.15, terms};
      cuda::ppr<float>(graph, batch, n_users, n_nodes, scores->get(), bound->get(), space->get(), stream);
    };
    cases.add(c);
  }
});

}  // namespace
}  // namespace fgr::gpu
