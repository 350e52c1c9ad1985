#include "cuda/device.cuh"
#include "fgr/random_walk.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

// A thread a trace.
__global__ void walk_kernel(WalkGraph g, const int64_t* nodes, int64_t n_seeds, int64_t length, uint64_t threshold,
                            const int64_t* seed, int64_t* out) {
  const int64_t s = global_thread();
  if (s >= n_seeds) return;
  int64_t* trace = out + s * (length + 1);
  trace[0] = checked_id(nodes[s], 0, g.n_nodes(), "nodes");
  const Place home = place_of(g, nodes[s]);
  const bool moves = has_edges(g, home);
  Place at = home;
  RandomPair bits{};
  for (int64_t t = 0; t < length; ++t) {
    if (t % 2 == 0) {
      bits = random_pair(static_cast<uint64_t>(*seed), Stream::walk, static_cast<uint64_t>(s),
                         static_cast<uint32_t>(t / 2));
    }
    if (moves) {
      const Step step = choose_step(g.side[at.side], at.row, t % 2 == 0 ? bits.first : bits.second);
      at = restarts(step, threshold) ? home : Place{at.side ^ 1, column_of(g.side[at.side], step)};
    }
    trace[t + 1] = moves ? node_of(g, at) : -1;
  }
}

__device__ void count(Visit* table, int bits, int64_t row) {
  const uint32_t tag = visit_tag(row), last = (1u << bits) - 1;
  uint32_t at = visit_entry(tag, bits);
  while (true) {
    const uint32_t held = atomicCAS(&table[at].tag, 0u, tag);
    if (held == 0 || held == tag) break;
    at = (at + 1) & last;
  }
  atomicAdd(&table[at].count, 1u);
}

// Best first: a bitonic sort by the block. The order in which entries were made does not matter, ranks being different.
__device__ void sort_visits(Visit* table, int64_t entries) {
  for (int64_t run = 2; run <= entries; run *= 2) {
    for (int64_t stride = run / 2; stride > 0; stride /= 2) {
      for (int64_t i = threadIdx.x; i < entries / 2; i += blockDim.x) {
        const int64_t low = 2 * i - (i & (stride - 1)), high = low + stride;
        const Visit a = table[low], b = table[high];
        if ((visit_rank(a) < visit_rank(b)) == ((low & run) == 0)) {
          table[low] = b;
          table[high] = a;
        }
      }
      __syncthreads();
    }
  }
}

// A block a seed at a time, a thread a walk. `tables` holds 2^bits entries for every block; null: shared memory does.
__global__ void __launch_bounds__(block_threads)
    neighbors_kernel(WalkGraph g, const int64_t* nodes, int64_t n_seeds, int64_t n_walks, int64_t length,
                     uint64_t threshold, int64_t top, const int64_t* seed, int64_t* ids, float* weights, int bits,
                     Visit* tables) {
  FGR_SHARED(unsigned, sum);  // of the kept visits
  const int64_t entries = int64_t{1} << bits;
  Visit* table = tables != nullptr ? tables + blockIdx.x * entries : shared_memory<Visit>();
  for (int64_t s = blockIdx.x; s < n_seeds; s += gridDim.x) {
    for (int64_t e = threadIdx.x; e < entries; e += blockDim.x) table[e] = {0, 0};
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    const int64_t node = checked_id(nodes[s], 0, g.n_nodes(), "nodes");
    const Place home = place_of(g, node);
    const WalkHalf here = g.side[home.side], there = g.side[home.side ^ 1];
    for (int64_t w = threadIdx.x; w < n_walks && has_edges(g, home); w += blockDim.x) {
      const uint64_t element = static_cast<uint64_t>(node) << 32 | static_cast<uint64_t>(w);
      int64_t row = home.row;
      for (int64_t k = 0; k < length; ++k) {
        const RandomPair draw =
            random_pair(static_cast<uint64_t>(*seed), Stream::walk_of_node, element, static_cast<uint32_t>(k));
        const int64_t middle = column_of(here, choose_step(here, row, draw.first));
        const Step back = choose_step(there, middle, draw.second);
        row = column_of(there, back);
        if (row != home.row) count(table, bits, row);
        if (restarts(back, threshold)) row = home.row;
      }
    }
    __syncthreads();
    sort_visits(table, entries);
    const int64_t kept = top < entries ? top : entries;
    for (int64_t j = threadIdx.x; j < kept; j += blockDim.x) atomicAdd(&sum, table[j].count);
    __syncthreads();
    for (int64_t j = threadIdx.x; j < top; j += blockDim.x) {
      const uint64_t rank = j < kept ? visit_rank(table[j]) : 0;
      ids[s * top + j] = rank != 0 ? node_of(g, {home.side, row_of_rank(rank)}) : -1;
      weights[s * top + j] = visit_weight(rank, sum);
    }
    __syncthreads();  // table and sum are written again for the next seed
  }
}

// Where the tables of visits lie: in shared memory as long as a block gets them there without asking (48 KiB), else in
// the workspace, for as many blocks as it has room for.
struct Plan {
  int bits, threads;
  bool shared;
  int64_t blocks;

  Plan(int64_t n_nodes, int64_t n_seeds, int64_t n_walks, int64_t length)
      : bits(visit_table_bits(n_nodes < n_walks * length ? n_nodes : n_walks * length)), shared(bits <= 12) {
    constexpr int64_t workspace_entries = int64_t{1} << 25, most_blocks = 2048;  // 256 MiB
    const int64_t busy = n_walks > (int64_t{1} << bits) / 8 ? n_walks : (int64_t{1} << bits) / 8;
    threads = busy < block_threads ? static_cast<int>((busy + warp - 1) / warp * warp) : block_threads;
    blocks = n_seeds;
    if (!shared) {
      const int64_t room = workspace_entries >> bits > 1 ? workspace_entries >> bits : 1;
      for (const int64_t most : {room, most_blocks}) blocks = blocks < most ? blocks : most;
    }
  }
  int64_t table_bytes() const { return static_cast<int64_t>(sizeof(Visit)) << bits; }
};

}  // namespace

void random_walk(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t length, double restart,
                 const int64_t* seed, int64_t* out, void* stream) {
  launch("random_walk", walk_kernel, blocks_for(n_seeds, block_threads), block_threads, 0, stream, graph, nodes,
         n_seeds, length, restart_threshold(restart), seed, out);
}

int64_t random_walk_neighbors_workspace_bytes(int64_t n_nodes, int64_t n_seeds, int64_t n_walks, int64_t length) {
  const Plan plan(n_nodes, n_seeds, n_walks, length);
  return plan.shared ? 0 : plan.blocks * plan.table_bytes();
}

void random_walk_neighbors(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t n_walks,
                           int64_t length, double restart, int64_t top, const int64_t* seed, int64_t* ids,
                           float* weights, void* workspace, void* stream) {
  const Plan plan(graph.n_nodes(), n_seeds, n_walks, length);
  launch("random_walk_neighbors", neighbors_kernel, plan.blocks, plan.threads,
         plan.shared ? static_cast<size_t>(plan.table_bytes()) : 0, stream, graph, nodes, n_seeds, n_walks, length,
         restart_threshold(restart), top, seed, ids, weights, plan.bits,
         plan.shared ? nullptr : static_cast<Visit*>(workspace));
}

}  // namespace fgr::cuda
