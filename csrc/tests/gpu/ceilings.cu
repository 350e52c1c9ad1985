// What this card can do at most, measured by kernels that share nothing with those of the package.
#include <algorithm>
#include <array>

#include "cuda/device.cuh"
#include "tests/gpu/replay.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

constexpr int block_threads = 256;
constexpr int in_flight = 8;  // gathers of a thread

#if defined(FGR_EMULATE)
struct alignas(16) Word {
  unsigned x, y, z, w;
};
struct alignas(16) Four {
  int x, y, z, w;
};
#else
using Word = uint4;  // 16 bytes an access
using Four = int4;
#endif

__global__ void __launch_bounds__(block_threads) copy_kernel(const Word* from, Word* to, int64_t n) {
  constexpr int each = 4;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * block_threads * each + threadIdx.x;
  Word held[each] = {};
#pragma unroll
  for (int k = 0; k < each; ++k) {
    if (first + k * block_threads < n) held[k] = from[first + k * block_threads];
  }
#pragma unroll
  for (int k = 0; k < each; ++k) {
    if (first + k * block_threads < n) to[first + k * block_threads] = held[k];
  }
}

// Rows of 16 * lanes bytes, a group of lanes a row; eight rows in flight, the next eight indices read meanwhile. What
// was read is only needed so that it must be read.
template <int lanes>
__global__ void __launch_bounds__(block_threads, 4)
    gather_kernel(const Word* table, const Four* indices, int64_t n_eights, Word* out) {
  const int64_t group = cuda::global_thread() / lanes;
  const int64_t groups = static_cast<int64_t>(gridDim.x) * (block_threads / lanes);
  const unsigned part = threadIdx.x % lanes;
  if (group >= n_eights) return;
  Word sum = {};
  Four low = indices[2 * group], high = indices[2 * group + 1];
  for (int64_t e = group; e < n_eights; e += groups) {
    const int at[in_flight] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    Word row[in_flight];
#pragma unroll
    for (int k = 0; k < in_flight; ++k) row[k] = table[static_cast<int64_t>(at[k]) * lanes + part];
    const int64_t next = e + groups < n_eights ? e + groups : e;
    low = indices[2 * next];
    high = indices[2 * next + 1];
#pragma unroll
    for (int k = 0; k < in_flight; ++k) {
      sum.x ^= row[k].x;
      sum.y ^= row[k].y;
      sum.z ^= row[k].z;
      sum.w ^= row[k].w;
    }
  }
  if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x5bd1e995u) *out = sum;  // once in 2^32, which the compiler cannot know
}

constexpr int chains = 16;
__global__ void __launch_bounds__(block_threads) fma_kernel(int rounds, float a, float b, float* out) {
  float x[chains];
#pragma unroll
  for (int k = 0; k < chains; ++k) x[k] = static_cast<float>(threadIdx.x + k);
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int k = 0; k < chains; ++k) x[k] = x[k] * a + b;
  }
  float sum = 0;
#pragma unroll
  for (int k = 0; k < chains; ++k) sum += x[k];
  if (sum == -1.0f) *out = sum;
}

__global__ void empty_kernel() {}
void launch_empty(void* stream) { cuda::launch("empty", empty_kernel, 1, 32, 0, stream); }

const Registered copies(0, "copy", [](Cases& cases) {
  const int64_t n = sized(int64_t{1} << 26, 1 << 10);  // of 16 bytes: 1 GiB
  auto from = uniform<float>(4 * n, 1), to = empty<float>(4 * n);
  Case c;
  c.name = "copy";
  c.variant = "kernel";
  c.sizes = "1 GiB";
  c.data = "HBM";
  c.bytes = 32.0 * static_cast<double>(n);
  c.predicted_us = c.bytes / 3.0e6;
  c.run = [=](void* stream) {
    cuda::launch("copy", copy_kernel, cuda::blocks_for(n, 4 * block_threads), block_threads, 0, stream,
                 reinterpret_cast<const Word*>(from->get()), reinterpret_cast<Word*>(to->get()), n);
  };
  cases.add(c);
#if !defined(FGR_EMULATE)
  c.variant = "memcpy";
  c.run = [=](void* stream) {
    check(cudaMemcpyAsync(to->get(), from->get(), static_cast<size_t>(from->bytes()), cudaMemcpyDeviceToDevice,
                          static_cast<cudaStream_t>(stream)),
          "cudaMemcpyAsync");
  };
  cases.add(c);
#endif
});

template <int lanes>
void add_gather(Cases& cases, const std::string& order, const Shared<float>& table, int64_t n_rows,
                std::vector<int32_t> indices) {
  indices.resize(indices.size() / in_flight * in_flight);
  auto rows = holding(indices);
  auto out = empty<float>(4);
  const int64_t n_eights = rows->size() / in_flight, row_bytes = 16 * lanes;
  const double table_bytes = static_cast<double>(n_rows * row_bytes);
  Case c;
  c.name = "gather " + std::to_string(std::lround(table_bytes / 1e6)) + " MB, " + order;
  c.dtype = lanes == 16 ? "float32" : "bfloat16";
  c.sizes = std::to_string(row_bytes) + " bytes a row of " + std::to_string(n_rows);
  c.data = table_bytes < 50e6 ? "L2" : "HBM";
  c.work = static_cast<double>(rows->size());
  c.unit = "rows";
  c.bytes = c.work * (static_cast<double>(row_bytes) + 4);
  c.predicted_us = c.bytes / (c.data == "L2" ? 6.0e6 : 3.0e6);
  const int64_t blocks = std::min(4 * multiprocessors(), cuda::blocks_for(n_eights * lanes, block_threads));
  c.run = [=](void* stream) {
    cuda::launch("gather", gather_kernel<lanes>, blocks, block_threads, 0, stream,
                 reinterpret_cast<const Word*>(table->get()), reinterpret_cast<const Four*>(rows->get()), n_eights,
                 reinterpret_cast<Word*>(out->get()));
  };
  cases.add(c);
}

// The nodes that a hop reads, in its order.
std::vector<int32_t> hop_order(const World& world) {
  std::vector<int32_t> nodes = world.host.users.indices;
  for (int32_t& node : nodes) node += static_cast<int32_t>(world.n_users());
  nodes.insert(nodes.end(), world.host.items.indices.begin(), world.host.items.indices.end());
  return nodes;
}

template <int lanes>
void add_gathers(Cases& cases, const Shared<float>& table) {
  const World& world = cases.world;
  const std::vector<int32_t> own = hop_order(world);
  for (const int64_t megabytes : {9, 18, 36, 1000}) {
    const int64_t n_rows = std::min(megabytes * 1000000, table->bytes()) / (16 * lanes);
    std::vector<int32_t> random(own.size());
    uint64_t state = 88172645463325252u;  // xorshift (Marsaglia 2003)
    for (int32_t& row : random) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      row = static_cast<int32_t>((state >> 20) % static_cast<uint64_t>(n_rows));
    }
    add_gather<lanes>(cases, "random", table, n_rows, random);
  }
  add_gather<lanes>(cases, "the graph's order", table, world.n_nodes(), own);
}

const Registered gathers(1, "gather", [](Cases& cases) {
  auto table = uniform<float>(sized(250000000, 40000), 2);  // 1 GB
  add_gathers<16>(cases, table);
  add_gathers<8>(cases, table);
});

const Registered others(2, "nodes and FFMA", [](Cases& cases) {
  Case c;
  c.name = "30 empty nodes";
  c.dtype = "-";
  c.sizes = "a graph, one after the other";
  c.work = 30;
  c.unit = "nodes";
  c.predicted_us = 36;  // 1.0 to 1.5 us a node
  c.run = [](void* stream) {
    for (int i = 0; i < 30; ++i) launch_empty(stream);
  };
  cases.add(c);

  c = Case();
  c.name = "FFMA";
  const int64_t blocks = 8 * multiprocessors();
  const int rounds = static_cast<int>(sized(4096, 4));
  auto out = empty<float>(1);
  c.sizes = std::to_string(chains) + " chains a thread";
  c.data = "registers";
  c.work = 2.0 * static_cast<double>(blocks) * block_threads * chains * rounds;
  c.unit = "FLOP";
  c.predicted_us = c.work / (static_cast<double>(multiprocessors()) * 128 * 2 * 1980);  // at 1.98 GHz
  c.run = [=](void* stream) {
    cuda::launch("fma", fma_kernel, blocks, block_threads, 0, stream, rounds, 0.999f, 0.5f, out->get());
  };
  cases.add(c);

  c = Case();
  c.name = "launch and wait";
  c.dtype = "-";
  c.sizes = "one empty kernel, on the host's clock";
  c.measure = [](void* stream) {
    std::array<double, 101> times;
    for (double& t : times) {
      synchronize();
      const double begin = seconds_now();
      launch_empty(stream);
      synchronize();
      t = (seconds_now() - begin) * 1e6;
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  };
  cases.add(c);
  c.name = "launch";
  c.sizes = "of 1,000 empty kernels, on the host's clock";
  c.measure = [](void* stream) {
    const int n = static_cast<int>(sized(1000, 2));
    synchronize();
    const double begin = seconds_now();
    for (int i = 0; i < n; ++i) launch_empty(stream);
    const double end = seconds_now();
    synchronize();
    return (end - begin) * 1e6 / n;
  };
  cases.add(c);
});

}  // namespace
}  // namespace fgr::gpu
