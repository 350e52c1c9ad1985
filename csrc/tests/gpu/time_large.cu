// A hop over a graph that no cache holds: 10 M nodes, 100 M interactions. It is made on the device in less than a
// second: each side has its own degrees, and an edge's column is drawn by the degrees of the other side. So R^T is not
// the transpose of R, which a hop does not need.
#include <algorithm>
#include <cmath>

#include "common/sampling.h"
#include "cuda/device.cuh"
#include "fgr/propagate.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

constexpr int block_threads = 256;

FGR_HOST_DEVICE uint64_t random_bits(uint64_t seed, int64_t i) {
  const Philox4 r = philox4x32_10(seed, static_cast<uint64_t>(i), 0);
  return (static_cast<uint64_t>(r.v[1]) << 32) | r.v[0];
}

// Columns in proportion to the degrees that `other` points to.
__global__ void columns_kernel(const int64_t* other, int64_t n_columns, int64_t n_edges, uint64_t seed, int32_t* out) {
  const int64_t e = cuda::global_thread();
  if (e >= n_edges) return;
  out[e] = static_cast<int32_t>(row_of_edge(other, n_columns, uniform_below(random_bits(seed, e), other[n_columns])));
}

// Degrees about mean / 2 times 1 / sqrt(a uniform number): their density falls with the cube.
std::vector<int64_t> row_pointers(int64_t n_rows, double mean, uint64_t seed) {
  std::vector<int64_t> pointers(static_cast<size_t>(n_rows) + 1);
  uint64_t state = seed;
  for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row) {
    state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's
    const double unit = (static_cast<double>(state >> 33) + 0.5) * 0x1p-31;
    pointers[row + 1] = pointers[row] + static_cast<int64_t>(mean / 2 / std::sqrt(unit) + 0.5);
  }
  return pointers;
}

struct LargeGraph {
  int64_t n_users, n_items, n_edges[2] = {};  // of R and R^T
  Shared<int64_t> indptr[2];
  Shared<int32_t> indices[2], split_node, split_part, heavy;

  LargeGraph(int64_t n_users_, int64_t n_items_, double edges) : n_users(n_users_), n_items(n_items_) {
    std::vector<int64_t> pointers[2];
    for (const int side : {0, 1}) {
      const int64_t rows = side == 0 ? n_users : n_items;
      pointers[side] = row_pointers(rows, edges / static_cast<double>(rows), static_cast<uint64_t>(side) + 1);
      indptr[side] = holding(pointers[side]);
      n_edges[side] = pointers[side].back();
      indices[side] = empty<int32_t>(n_edges[side]);
    }
    for (const int side : {0, 1}) {
      cuda::launch("columns", columns_kernel, cuda::blocks_for(n_edges[side], block_threads), block_threads, 0, nullptr,
                   indptr[1 - side]->get(), side == 0 ? n_items : n_users, n_edges[side], uint64_t{3},
                   indices[side]->get());
    }
    make_schedule(pointers);
    synchronize();
  }
  Bipartite view() const {
    return {{indptr[0]->get(), indices[0]->get(), nullptr, n_users, n_items},
            {indptr[1]->get(), indices[1]->get(), nullptr, n_items, n_users},
            {split_node->get(), split_part->get(), heavy->get(), split_node->size(), heavy->size(), heavy_degree,
             part_edges}};
  }

 private:
  void make_schedule(const std::vector<int64_t> (&pointers)[2]) {
    struct Row {
      int64_t degree;
      int32_t node;
    };
    std::vector<Row> rows;
    for (const int side : {0, 1}) {
      for (size_t r = 0; r + 1 < pointers[side].size(); ++r) {
        const int64_t degree = pointers[side][r + 1] - pointers[side][r];
        if (degree > heavy_degree) rows.push_back({degree, static_cast<int32_t>(r + (side == 0 ? 0 : n_users))});
      }
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.degree > b.degree; });
    std::vector<int32_t> nodes, parts, whole;
    for (const Row& row : rows) {
      if (row.degree <= part_edges) {
        whole.push_back(row.node);
        continue;
      }
      for (int32_t part = 0; part * part_edges < row.degree; ++part) {
        nodes.push_back(row.node);
        parts.push_back(part);
      }
    }
    split_node = holding(nodes);
    split_part = holding(parts);
    heavy = holding(whole);
  }
};

template <class T>
void add_large_hop(Cases& cases, const std::shared_ptr<const LargeGraph>& made, double predicted) {
  using A = acc_t<T>;
  constexpr int64_t dim = 64;
  const Bipartite graph = made->view();
  const int64_t n_nodes = graph.n_nodes(), n_edges = made->n_edges[0] + made->n_edges[1];
  auto x = uniform<T>(n_nodes * dim, 21), y = empty<T>(n_nodes * dim);
  auto scale = uniform<A>(n_nodes, 22), alphas = holding(std::vector<A>(2, A(0.5)));
  auto space = workspace(propagate_workspace_bytes<T>(graph, dim, 2));
  Case c;
  c.name = "hop, 10 M nodes";
  c.dtype = dtype_of<T>();
  c.sizes = std::to_string(n_nodes) + " nodes, " + std::to_string(n_edges / 2) + " interactions, d=64";
  c.data = "HBM";
  c.work = static_cast<double>(n_edges);
  c.unit = "edges";
  c.bytes = c.work * (4 + dim * sizeof(T)) + static_cast<double>(n_nodes) * (8 + sizeof(A) + 2 * dim * sizeof(T));
  c.predicted_us = predicted;
  c.holds = {made};
  c.run = [=](void* stream) {
    cuda::propagate<T>(graph, x->get(), dim, alphas->get(), 2, scale->get(), nullptr, y->get(), space->get(), stream);
  };
  cases.add(c);
}

const Registered large(80, "hop over a large graph", [](Cases& cases) {
  if (!cases.wants("hop, 10 M nodes float32") && !cases.wants("hop, 10 M nodes bfloat16")) return;
  const auto graph = std::make_shared<const LargeGraph>(sized(6000000, 50), sized(4000000, 30), sized(100000000, 2000));
  add_large_hop<float>(cases, graph, 24000);
  add_large_hop<bf16>(cases, graph, 12500);
});

}  // namespace
}  // namespace fgr::gpu
