// The best of a row of scores, and of inner products. Scores are numbers that every order of addition makes alike, and
// few different ones, so that ties are many.
#include <limits>

#include "common/tie.h"
#include "fgr/retrieve.h"
#include "fgr/topk.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct TopkCase {
  int64_t n_rows, n_items, k;
  const TestGraph* seen = nullptr;
  bool rising = false;  // scores, column by column: all that came before are worse
};

template <class T>
void check_topk(Checks& checks, const TopkCase& c) {
  const std::string name = std::string("topk<") + type_name<T>() + "> rows=" + std::to_string(c.n_rows) +
                           " items=" + std::to_string(c.n_items) + " k=" + std::to_string(c.k) +
                           (c.seen != nullptr ? " seen" : "") + (c.rising ? " rising" : "");
  Random random = checks.random(name);
  std::vector<T> scores(static_cast<size_t>(c.n_rows * c.n_items));
  constexpr T special[] = {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(),
                           -std::numeric_limits<T>::infinity(), T(-0.0)};
  for (T& score : scores) {
    const int64_t draw = random.below(40);
    score = draw < 4 ? special[draw] : static_cast<T>(random.below(2000) - 1000) / T(64);
    if (c.rising) score = static_cast<T>((&score - scores.data()) % c.n_items / 2);
  }
  auto rows = random.ids<int64_t>(c.seen != nullptr ? c.n_rows : 0, 0, c.seen != nullptr ? c.seen->host.n_users : 1);
  if (!rows.empty()) rows[0] = 0;  // who has nearly all items
  checks.run(name, [&](auto& on) {
    int64_t* ids = on.template out<int64_t>("ids", c.n_rows * c.k, exact);
    T* values = on.template out<T>("values", c.n_rows * c.k, exact);
    const Csr seen = c.seen != nullptr ? on.graph(*c.seen).users : Csr{};
    FGR_RUN(on, topk<T>, on.in(scores), c.n_rows, c.n_items, seen, on.in(rows), c.k, ids, values,
            on.workspace(FGR_BYTES(on, topk_workspace_bytes<T>, c.n_rows, c.n_items, c.k)));
  });
}

// Equal scores, and a k such that the k-th item and the next have keys that differ in their last digit only: whoever
// looks for the k-th digit by digit must look at all of them.
template <class T>
void check_topk_to_the_last_digit(Checks& checks) {
  const int64_t n_items = 12000;
  std::vector<uint32_t> keys;
  for (uint32_t i = 0; i < n_items; ++i) keys.push_back(tie_key(i));
  std::sort(keys.begin(), keys.end());
  size_t k = 129;  // the least that is found by digits
  while (keys.at(k - 1) >> 8 != keys.at(k) >> 8) ++k;
  const std::vector<T> scores(static_cast<size_t>(n_items), T(0.5));
  const auto size = static_cast<int64_t>(k);
  checks.run(std::string("topk<") + type_name<T>() + "> equal scores", [&](auto& on) {
    int64_t* ids = on.template out<int64_t>("ids", size, exact);
    T* values = on.template out<T>("values", size, exact);
    FGR_RUN(on, topk<T>, on.in(scores), 1, n_items, Csr{}, nullptr, size, ids, values,
            on.workspace(FGR_BYTES(on, topk_workspace_bytes<T>, 1, n_items, size)));
  });
}

// Rows of 4^j elements that are 1 or -1, the others 0: a norm is a power of two. Some rows are 0.
template <class T>
std::vector<T> rows_of_simple_norm(Random& random, int64_t n, int64_t dim) {
  std::vector<T> x(static_cast<size_t>(n * dim));
  for (int64_t r = 0; r < n; ++r) {
    int64_t count = 1, most = 0;
    for (int64_t power = 4; power <= dim; power *= 4) ++most;
    for (int64_t j = random.below(most + 1); j > 0; --j) count *= 4;
    if (random.below(20) == 0) continue;
    const int64_t from = random.below(dim - count + 1);
    for (int64_t c = from; c < from + count; ++c)
      x[static_cast<size_t>(r * dim + c)] = random.below(2) == 0 ? T(1) : T(-1);
  }
  return x;
}

struct RetrieveCase {
  int64_t n_queries, n_items, dim, k;
  bool cosine = false, subset = false;
  const TestGraph* exclude = nullptr;
  bool rows = false;
  int64_t queries_at_once = 1 << 20, items_at_once = 4096;
};

template <class T>
void check_retrieve(Checks& checks, const RetrieveCase& c) {
  const std::string name = std::string("retrieve<") + type_name<T>() + "> queries=" + std::to_string(c.n_queries) +
                           " items=" + std::to_string(c.n_items) + " dim=" + std::to_string(c.dim) +
                           " k=" + std::to_string(c.k) + (c.cosine ? " cosine" : "") + (c.subset ? " subset" : "") +
                           (c.exclude != nullptr ? " exclude" : "") + (c.rows ? " rows" : "") +
                           (c.queries_at_once < c.n_queries ? " passes" : "");
  Random random = checks.random(name);
  const auto vectors = [&](int64_t n) {
    return c.cosine ? rows_of_simple_norm<T>(random, n, c.dim) : random.grid<T>(n * c.dim);
  };
  const auto queries = vectors(c.n_queries), items = vectors(c.n_items);
  std::vector<int64_t> subset;
  for (int64_t i = 0; c.subset && i < c.n_items; ++i) {
    if (random.below(3) == 0) subset.push_back(i);
  }
  const auto rows = random.ids<int64_t>(c.rows ? c.n_queries : 0, 0, c.rows ? c.exclude->host.n_users : 1);
  checks.run(name, [&](auto& on) {
    int64_t* ids = on.template out<int64_t>("ids", c.n_queries * c.k, exact);
    T* scores = on.template out<T>("scores", c.n_queries * c.k, exact);
    Retrieval<T> job{};
    job.queries = on.in(queries);
    job.items = on.in(items);
    job.n_queries = c.n_queries;
    job.n_items = c.n_items;
    job.dim = c.dim;
    job.cosine = c.cosine;
    job.subset = on.in(subset);
    job.n_candidates = c.subset ? static_cast<int64_t>(subset.size()) : c.n_items;
    if (c.exclude != nullptr) job.exclude = on.graph(*c.exclude).users;
    job.rows = on.in(rows);
    job.k = c.k;
    job.queries_at_once = std::min(c.queries_at_once, std::max<int64_t>(c.n_queries, 1));
    job.items_at_once = c.items_at_once;
    FGR_RUN(on, retrieve<T>, job, ids, scores, on.workspace(FGR_BYTES(on, retrieve_workspace_bytes, job)));
  });
}

// A query whose score of an item is NaN: the CPU throws, so that what the header says is written here.
template <class T>
void check_retrieve_nan(Checks& checks) {
  const std::string name = std::string("retrieve<") + type_name<T>() + "> NaN";
  Random random = checks.random(name);
  const int64_t n_queries = 150, n_items = 400, dim = 8, k = 5, bad = 131;
  auto queries = random.grid<T>(n_queries * dim), items = random.grid<T>(n_items * dim);
  auto broken = queries;
  broken[static_cast<size_t>(bad * dim + 3)] = std::numeric_limits<T>::quiet_NaN();
  checks.run(name, [&](auto& on) {
    int64_t* ids = on.template out<int64_t>("ids", n_queries * k, exact);
    int64_t* where = on.template out<int64_t>("the workspace's first", 1, exact);
    constexpr bool on_device = std::decay_t<decltype(on)>::on_device;
    T* scores = on.template out<T>("scores of the others", bad * k, exact);
    Retrieval<T> job{};
    job.queries = on.in(on_device ? broken : queries);
    job.items = on.in(items);
    job.n_queries = job.queries_at_once = n_queries;
    job.n_items = job.n_candidates = job.items_at_once = n_items;
    job.dim = dim;
    job.k = k;
    auto* all_scores = static_cast<T*>(on.workspace(n_queries * k * static_cast<int64_t>(sizeof(T))));
    void* workspace = on.workspace(FGR_BYTES(on, retrieve_workspace_bytes, job));
    FGR_RUN(on, retrieve<T>, job, ids, all_scores, workspace);
    if constexpr (on_device) {
      copy(scores, all_scores, bad * k * static_cast<int64_t>(sizeof(T)));
      copy(where, workspace, sizeof *where);
    } else {
      std::copy(all_scores, all_scores + bad * k, scores);
      std::fill(ids + bad * k, ids + (bad + 1) * k, -1);
      *where = bad * n_items;
    }
  });
}

template <class T>
void check_type(Checks& checks, const TestGraph& medium) {
  const bool small = checks.small();
  const TestGraph& graph = checks.graph(false);
  const int64_t wide = graph.host.n_items, n_medium = medium.host.n_items;
  for (const int64_t n : {1, 3, 33, 300}) check_topk<T>(checks, {small ? 3 : 64, n, n == 33 ? 40 : 7});
  check_topk<T>(checks, {0, 10, 3});
  check_topk<T>(checks, {small ? 9 : 500, n_medium, 20, &medium});
  check_topk<T>(checks, {small ? 3 : 200, n_medium, n_medium + 5, &medium});
  check_topk<T>(checks, {small ? 2 : 300, wide, 50, &graph});
  check_topk<T>(checks, {small ? 1 : 20, wide, small ? 600 : 3000});
  if (!small) check_topk<T>(checks, {2048, wide, 20, &graph});
  for (const int64_t k : {1, 32, 33, 128, 129}) check_topk<T>(checks, {small ? 2 : 150, small ? 900 : wide, k});
  for (const int64_t k : {20, 100}) {  // few rows: several blocks share the columns of one
    check_topk<T>(checks, {1, small ? 8301 : 100001, k});
    check_topk<T>(checks, {2, small ? 3000 : wide, k, nullptr, true});
    check_topk<T>(checks, {3, n_medium, k, &medium, true});
  }
  if (!small) check_topk<T>(checks, {3, wide, 20, &graph});

  check_topk_to_the_last_digit<T>(checks);

  check_retrieve_nan<T>(checks);
  const int64_t n_queries = small ? 5 : 700, n_items = small ? 300 : 5000;
  for (const int64_t dim : checks.dims()) {
    check_retrieve<T>(checks, {n_queries, n_items, dim, 20});
    check_retrieve<T>(checks, {n_queries, n_items, dim, 7, true, dim % 2 == 0});
  }
  check_retrieve<T>(checks, {0, 20, 8, 3});
  check_retrieve<T>(checks, {1, 1, 8, 3});
  check_retrieve<T>(checks, {1, small ? 1100 : wide, 16, 10});  // few queries: several blocks share the items
  check_retrieve<T>(checks, {medium.host.n_users, n_medium, 8, 20, false, false, &medium});
  check_retrieve<T>(checks, {medium.host.n_users, n_medium, 8, n_medium + 3, true, true, &medium});
  check_retrieve<T>(checks, {small ? 9 : 900, n_medium, 8, 20, false, true, &medium, true, small ? 4 : 128, 100});
  if (small) return;
  check_retrieve<T>(checks, {graph.host.n_users, wide, 64, 20, false, false, &graph});
  check_retrieve<T>(checks, {3000, wide, 64, 100, true, false, &graph, true, 1024});
  check_retrieve<T>(checks, {2, wide, 64, 1500});
}

}  // namespace

void check_ranking(Checks& checks) {
  // User 0 has nearly all items.
  const TestGraph medium(power_law_graph(60, 300, 298, false, 3));
  check_type<float>(checks, medium);
  check_type<double>(checks, medium);
}

}  // namespace fgr::gpu
