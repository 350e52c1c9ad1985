// A graph of edges, which must be the CPU's to the bit.
#include "fgr/build.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

constexpr float least_weight = 0x1p-100f;

template <class I>
struct Edges {
  std::vector<I> rows, cols;
  std::vector<float> weight;
  int64_t n_rows, n_cols;
  int64_t n() const { return static_cast<int64_t>(rows.size()); }
};

template <class I>
Edges<I> random_edges(Random& random, int64_t n, int64_t n_rows, int64_t n_cols, bool weighted) {
  return {random.ids<I>(n, 0, n_rows), random.ids<I>(n, 0, n_cols), random.uniform<float>(weighted ? n : 0, 1e-6, 1e6),
          n_rows, n_cols};
}

template <class On, class I>
void run_bounds(On& on, const Edges<I>& edges) {
  auto* bounds = reinterpret_cast<EdgeBounds*>(on.template out<int64_t>("bounds", 4, exact));
  FGR_RUN(on, edge_bounds, on.in(edges.rows), on.in(edges.cols), on.in(edges.weight), edges.n(), edges.n_rows,
          edges.n_cols, least_weight, bounds);
}

template <class I>
void run_build(OnDevice& on, const Edges<I>& edges) {
  const bool weighted = !edges.weight.empty();
  void* space = on.workspace(cuda::sort_edges_workspace_bytes(edges.n(), weighted));
  int64_t* count = on.out<int64_t>("kept", 1, exact);
  const int half = cuda::sort_edges(on.in(edges.rows), on.in(edges.cols), on.in(edges.weight), edges.n(), edges.n_rows,
                                    edges.n_cols, count, space, on.where());
  int64_t kept = 0;
  copy(&kept, count, sizeof kept);  // waits
  auto* indptr = on.out<int64_t>("indptr", edges.n_rows + 1, exact);
  auto* indices = on.out<int32_t>("indices", kept, exact);
  auto* weight = on.out<float>("weight", weighted ? kept : 0, exact);
  cuda::csr_of_sorted(edges.n(), kept, half, edges.n_rows, edges.n_cols, indptr, indices, weight, space, on.where());
  auto* indptr_t = on.out<int64_t>("indptr_t", edges.n_cols + 1, exact);
  auto* indices_t = on.out<int32_t>("indices_t", kept, exact);
  auto* weight_t = on.out<float>("weight_t", weighted ? kept : 0, exact);
  cuda::transpose({indptr, indices, weight, edges.n_rows, edges.n_cols}, kept, indptr_t, indices_t, weight_t,
                  on.workspace(cuda::sort_edges_workspace_bytes(kept, weighted)), on.where());
}

template <class I>
void run_build(OnHost& on, const Edges<I>& edges) {
  const HostGraph graph(edges.n_rows, edges.n_cols, {edges.rows.begin(), edges.rows.end()},
                        {edges.cols.begin(), edges.cols.end()}, edges.weight);
  on.inout("kept", std::vector<int64_t>{graph.n_edges()}, exact);
  for (const HostCsr* csr : {&graph.users, &graph.items}) {
    on.inout("indptr", csr->indptr, exact);
    on.inout("indices", csr->indices, exact);
    on.inout("weight", csr->weight, exact);
  }
}

template <class I>
std::string name_of(const char* op, const Edges<I>& edges) {
  return std::string(op) + (sizeof(I) == 8 ? "<int64>" : "<int32>") + " n=" + std::to_string(edges.n()) + " of " +
         std::to_string(edges.n_rows) + " x " + std::to_string(edges.n_cols) +
         (edges.weight.empty() ? "" : " weighted");
}

template <class I>
void check_graph(Checks& checks, const Edges<I>& edges, const char* what = "") {
  checks.run(name_of("build_graph", edges) + what, [&](auto& on) {
    run_bounds(on, edges);
    run_build(on, edges);
  });
}

template <class I>
void check_edges(Checks& checks) {
  Random random = checks.random("edges");
  const int64_t many = checks.small() ? 3000 : 300000;
  for (const bool weighted : {false, true}) {
    for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{33}, many}) {
      check_graph(checks, random_edges<I>(random, n, 1, 1, weighted));
      check_graph(checks, random_edges<I>(random, n, 70, 300, weighted));
      check_graph(checks, random_edges<I>(random, n, checks.small() ? 5000 : 1000000, 9, weighted));
    }
    Edges<I> skewed = random_edges<I>(random, many, 40, 50, weighted);
    for (size_t e = 0; e < skewed.rows.size(); e += 3) skewed.rows[e] = 39, skewed.cols[e] = 49;
    check_graph(checks, skewed, " a third one edge");
  }
  Edges<I> bad = random_edges<I>(random, many, 40, 50, true);
  for (size_t e = 1700; e < bad.rows.size(); e += 100) bad.rows[e] = -1, bad.weight[e + 1] = NAN;
  const auto check_bounds = [&](const char* what) {
    checks.run(name_of("edge_bounds", bad) + what, [&](auto& on) { run_bounds(on, bad); });
  };
  check_bounds(" negative");
  bad.n_rows = 39, bad.cols[7] = 50, bad.weight[5] = 0x1p-101f;
  check_bounds(" too large");
}

}  // namespace

void check_build(Checks& checks) {
  check_edges<int32_t>(checks);
  check_edges<int64_t>(checks);
}

}  // namespace fgr::gpu
