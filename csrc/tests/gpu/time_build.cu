// A graph of edges: as many as gowalla has, and 100 M between 10 M nodes.
#include "common/philox.h"
#include "cuda/device.cuh"
#include "fgr/build.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

constexpr int block_threads = 256;

// Any user, and items of which a quarter gets half of the edges.
__global__ void edges_kernel(int64_t n_edges, int64_t n_users, int64_t n_items, int32_t* users, int32_t* items) {
  const int64_t e = cuda::global_thread();
  if (e >= n_edges) return;
  const Philox4 r = philox4x32_10(11, static_cast<uint64_t>(e), 0);
  const int64_t among = r.v[0] % 2 == 0 ? (n_items + 3) / 4 : n_items;
  users[e] = static_cast<int32_t>(r.v[1] % n_users);
  items[e] = static_cast<int32_t>(r.v[2] % among);
}

struct Built {
  Shared<int64_t> indptr;
  Shared<int32_t> indices;
  Shared<float> weight;
  Built(int64_t n_rows, int64_t n_edges, bool weighted)
      : indptr(empty<int64_t>(n_rows + 1)),
        indices(empty<int32_t>(n_edges)),
        weight(empty<float>(weighted ? n_edges : 0)) {}
};

// moved: bytes an edge by csrc/cuda/build_graph.cu's count, for int32 ids.
void add_build(Cases& cases, const char* name, int64_t n_edges, int64_t n_users, int64_t n_items, bool weighted,
               double moved, double predicted) {
  auto users = empty<int32_t>(n_edges), items = empty<int32_t>(n_edges);
  cuda::launch("edges", edges_kernel, cuda::blocks_for(n_edges, block_threads), block_threads, 0, nullptr, n_edges,
               n_users, n_items, users->get(), items->get());
  auto weight = uniform<float>(weighted ? n_edges : 0, 21);
  auto bounds = empty<EdgeBounds>(1);
  auto count = empty<int64_t>(1);
  auto space = workspace(cuda::sort_edges_workspace_bytes(n_edges, weighted));
  const auto sort = [=](void* stream) {
    cuda::edge_bounds<int32_t>(users->get(), items->get(), weight->get(), n_edges, n_users, n_items, 0.0f,
                               bounds->get(), stream);
    return cuda::sort_edges<int32_t>(users->get(), items->get(), weight->get(), n_edges, n_users, n_items, count->get(),
                                     space->get(), stream);
  };
  const int half = sort(nullptr);
  const int64_t kept = count->host()[0];
  const Built by_user(n_users, kept, weighted), by_item(n_items, kept, weighted);
  Case c;
  c.name = name;
  c.dtype = "int32";
  c.sizes = std::to_string(n_edges) + " edges of " + std::to_string(n_users) + " x " + std::to_string(n_items);
  c.bytes = moved * static_cast<double>(n_edges);
  c.work = static_cast<double>(n_edges);
  c.unit = "edges";
  c.predicted_us = predicted;
  c.run = [=](void* stream) {
    sort(stream);
    cuda::csr_of_sorted(n_edges, kept, half, n_users, n_items, by_user.indptr->get(), by_user.indices->get(),
                        by_user.weight->get(), space->get(), stream);
    const Csr csr{by_user.indptr->get(), by_user.indices->get(), by_user.weight->get(), n_users, n_items};
    cuda::transpose(csr, kept, by_item.indptr->get(), by_item.indices->get(), by_item.weight->get(), space->get(),
                    stream);
  };
  cases.add(c);
}

const Registered builds(36, "build graph", [](Cases& cases) {
  const World& w = cases.world;
  add_build(cases, "build_graph", w.n_edges(), w.n_users(), w.n_items(), false, 188, 0);
  add_build(cases, "build_graph, weights", w.n_edges(), w.n_users(), w.n_items(), true, 296, 0);
});

const Registered large_build(81, "build a large graph", [](Cases& cases) {
  constexpr const char* name = "build_graph, 100 M edges";
  if (!cases.wants(std::string(name) + " int32")) return;  // 4 GB
  add_build(cases, name, sized(100000000, 700), sized(6000000, 90), sized(4000000, 60), false, 236, 8000);
});

}  // namespace
}  // namespace fgr::gpu
