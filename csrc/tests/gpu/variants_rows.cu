// scatter_rows with a warp a row of the result, however many terms it has; neighbor_pool by scatter_rows.
#include "cuda/sort.cuh"
#include "fgr/neighbor_pool.h"
#include "fgr/scatter_rows.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

constexpr int block_threads = 128;

__global__ void keys_kernel(const int64_t* ids, int64_t n, uint32_t* key, int32_t* position) {
  const int64_t i = cuda::global_thread();
  if (i >= n) return;
  key[i] = static_cast<uint32_t>(ids[i]);
  position[i] = static_cast<int32_t>(i);
}

__global__ void __launch_bounds__(block_threads) segments_kernel(const uint32_t* key, const int32_t* position,
                                                                 int64_t n, const float* src, int64_t dim, float* out) {
  const int64_t first = cuda::global_warp();
  if (first >= n || (first > 0 && key[first - 1] == key[first])) return;
  const uint32_t id = key[first];
  for (int64_t c = cuda::lane(); c < dim; c += cuda::warp) {
    float sum = 0;
    for (int64_t i = first; i < n && key[i] == id; ++i) sum += src[position[i] * dim + c];
    out[static_cast<int64_t>(id) * dim + c] = sum;
  }
}

void scatter_rows(const int64_t* ids, const float* src, int64_t n, int64_t dim, float* out, int64_t n_out,
                  void* workspace, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  cuda::check(cudaMemsetAsync(out, 0, static_cast<size_t>(n_out * dim) * sizeof *out, s), "scatter_rows");
  Arena arena{reinterpret_cast<uintptr_t>(workspace)};
  cuda::Sorting sorting(arena, n, n_out);
  cuda::launch("scatter_rows", keys_kernel, cuda::blocks_for(n, 256), 256, 0, stream, ids, n, sorting.key,
               sorting.position);
  sorting.sort(stream);
  cuda::launch("scatter_rows", segments_kernel, cuda::blocks_for(n, block_threads / cuda::warp), block_threads, 0,
               stream, sorting.sorted_key, sorting.sorted_position, n, src, dim, out);
}

const Registered variants(92, "variants of scatter_rows, neighbor_pool", [](Cases& cases) {
  constexpr int64_t dim = 64;
  const World& w = cases.world;
  const int64_t n_nodes = w.n_nodes(), n = n_nodes * dim;
  auto nodes = holding(w.nodes_of(w.batch(sized(2048, 16), 1)));
  const int64_t count = nodes->size();
  auto one = holding(std::vector<int64_t>(static_cast<size_t>(count), 7));
  auto rows = uniform<float>(count * dim, 7), out = empty<float>(n), want = empty<float>(n);
  auto space = workspace(cuda::scatter_rows_workspace_bytes(count, n_nodes));
  Case c;
  for (const auto& [name, ids] : {std::pair{"scatter_rows of a batch", nodes}, {"scatter_rows of one row", one}}) {
    c.name = name;
    c.variant = "a warp a row";
    c.sizes = std::to_string(count) + " rows, d=64";
    c.run = [=, ids = ids](void* stream) {
      scatter_rows(ids->get(), rows->get(), count, dim, out->get(), n_nodes, space->get(), stream);
    };
    c.check = [=, ids = ids] {
      cuda::scatter_rows<float, float>(ids->get(), nullptr, rows->get(), nullptr, count, count, dim, nullptr,
                                       want->get(), n_nodes, space->get(), nullptr);
      synchronize();
      return differs(*out, *want, 1e-5);
    };
    cases.add(c);
  }

  const int64_t n_lists = w.n_items(), width = sized(50, 5), n_terms = n_lists * width;
  std::vector<int64_t> listed, list_of;
  for (int64_t t = 0; t < n_terms; ++t) listed.push_back(t * 7919 % n_nodes), list_of.push_back(t / width);
  auto ids = holding(listed), lists = holding(list_of);
  auto emb = uniform<float>(n, 8), weights = uniform<float>(n_terms, 18), pooled = empty<float>(n_lists * dim),
       direct = empty<float>(n_lists * dim);
  auto sort_space = workspace(cuda::scatter_rows_workspace_bytes(n_terms, n_lists));
  c.name = "neighbor_pool";
  c.variant = "by scatter_rows";
  c.sizes = std::to_string(n_lists) + " x " + std::to_string(width) + " rows of " + std::to_string(n_nodes) + ", d=64";
  c.run = [=](void* stream) {
    cuda::scatter_rows<float, float>(lists->get(), weights->get(), emb->get(), ids->get(), n_terms, n_nodes, dim,
                                     nullptr, pooled->get(), n_lists, sort_space->get(), stream);
  };
  c.check = [=] {
    cuda::neighbor_pool<float>(emb->get(), n_nodes, dim, ids->get(), weights->get(), n_lists, width, direct->get(),
                               nullptr);
    synchronize();
    return differs(*pooled, *direct, 1e-5);
  };
  cases.add(c);
});

}  // namespace
}  // namespace fgr::gpu
