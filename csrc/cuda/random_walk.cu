#include "cuda/device.cuh"
#include "fgr/random_walk.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

constexpr int places_at_once = 8;  // of a trace, that a warp writes together: an even number, two to a draw
constexpr uint32_t nowhere = 0xffffffffu;

// column_of, past the L1: an edge is seldom met again there, the ends of the rows are.
__device__ __forceinline__ int64_t column_through_l2(const WalkHalf& half, const Step& step) {
  const int32_t column = __ldcg(half.indices + step.edge);
  return half.alias == nullptr ? column : chosen_column(column, __ldcg(half.alias + step.edge), step);
}

// A thread a trace. A warp keeps some places of its traces in shared memory and writes them row by row: traces of a
// warp lie apart, and a store of one place of each would take a sector for each.
__global__ void __launch_bounds__(block_threads)
    walk_kernel(WalkGraph g, const int64_t* nodes, int64_t n_seeds, int64_t length, uint64_t threshold,
                const int64_t* seed, int64_t* out) {
  FGR_SHARED(uint32_t, block_places, [block_threads][places_at_once + 1]);
  const int64_t s = global_thread(), first = s - lane(), key = *seed;
  uint32_t (*places)[places_at_once + 1] = block_places + threadIdx.x / warp * warp;
  const int traces = static_cast<int>(n_seeds - first < warp ? n_seeds - first : warp);
  const int64_t node = s < n_seeds ? checked_id(nodes[s], 0, g.n_nodes(), "nodes") : 0;
  const Place home = place_of(g, node);
  const bool moves = s < n_seeds && has_edges(g, home);
  Place at = home;
  RandomPair bits{};
  for (int64_t from = 0; from <= length; from += places_at_once) {
    const int n = static_cast<int>(length + 1 - from < places_at_once ? length + 1 - from : places_at_once);
    for (int k = 0; k < n; ++k) {
      const int64_t t = from + k - 1;
      if (moves && t >= 0) {
        if (k % 2 == 1) {
          bits = random_pair(static_cast<uint64_t>(key), Stream::walk, static_cast<uint64_t>(s),
                             static_cast<uint32_t>(t / 2));
        }
        const WalkHalf half = half_of(g, at.side);
        const Step step = choose_step(half, at.row, k % 2 == 1 ? bits.first : bits.second);
        at = restarts(step, threshold) ? home : Place{at.side ^ 1, column_through_l2(half, step)};
      }
      places[lane()][k] = moves || t < 0 ? static_cast<uint32_t>(node_of(g, at)) : nowhere;
    }
    __syncwarp(full_mask);
    for (int i = lane(); i < traces * places_at_once; i += warp) {
      const int trace = i / places_at_once, k = i % places_at_once;
      const uint32_t place = places[trace][k < n ? k : 0];
      if (k < n) out[(first + trace) * (length + 1) + from + k] = place != nowhere ? int64_t{place} : -1;
    }
    __syncwarp(full_mask);
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

// Moves the entries in use to the front, in any order, and counts them. There is room: `*used` is never above what
// all threads have read.
__device__ void pack_visits(Visit* table, uint32_t entries, unsigned* used) {
  for (uint32_t first = 0; first < entries; first += blockDim.x) {
    const uint32_t e = first + threadIdx.x;
    const Visit visit = e < entries ? table[e] : Visit{0, 0};
    __syncthreads();
    const unsigned in_use = __ballot_sync(full_mask, visit.tag != 0);
    unsigned at = 0;
    if (lane() == 0) at = atomicAdd(used, static_cast<unsigned>(__popc(in_use)));
    at = __shfl_sync(full_mask, at, 0) + static_cast<unsigned>(__popc(in_use & ((1u << lane()) - 1)));
    if (visit.tag != 0) table[at] = visit;
  }
  __syncthreads();
}

// Best first: a bitonic sort by the block. The order in which entries were made does not matter, ranks being different.
// A warp's pairs lie in the same 64 entries as long as they are no more than 32 apart.
__device__ void sort_visits(Visit* table, uint32_t n) {
  int bits = 0;
  while ((uint32_t{1} << bits) < n) ++bits;
  const uint32_t pairs = (uint32_t{1} << bits) / 2;
  for (uint32_t e = n + threadIdx.x; e < 2 * pairs; e += blockDim.x) table[e] = {0, 0};
  __syncthreads();
  for (int run = 1; run <= bits; ++run) {
    for (int apart = run - 1; apart >= 0; --apart) {
      const uint32_t stride = uint32_t{1} << apart;
      for (uint32_t i = threadIdx.x; i < pairs; i += blockDim.x) {
        const uint32_t low = 2 * i - (i & (stride - 1)), high = low + stride;
        const Visit a = table[low], b = table[high];
        if ((visit_rank(a) < visit_rank(b)) == ((low >> run & 1) == 0)) {
          table[low] = b;
          table[high] = a;
        }
      }
      const int next = apart > 0 ? apart - 1 : run;
      if (apart <= 5 && next <= 5) {
        __syncwarp(full_mask);
      } else {
        __syncthreads();
      }
    }
  }
  __syncthreads();
}

// A block a seed at a time, a thread a walk. A block's table has 2^bits entries, in shared memory or in `tables`.
template <bool in_shared>
__global__ void __launch_bounds__(block_threads)
    neighbors_kernel(WalkGraph g, const int64_t* nodes, int64_t n_seeds, int64_t n_walks, int64_t length,
                     uint64_t threshold, int64_t top, const int64_t* seed, int64_t* ids, float* weights, int bits,
                     Visit* tables) {
  FGR_SHARED(unsigned, used);  // entries of the table
  FGR_SHARED(unsigned, sum);   // of the kept visits
  const uint32_t entries = uint32_t{1} << bits;
  Visit* table;
  if constexpr (in_shared) {
    table = shared_memory<Visit>();
  } else {
    table = tables + (static_cast<int64_t>(blockIdx.x) << bits);
  }
  const uint64_t key = static_cast<uint64_t>(*seed);
  for (int64_t s = blockIdx.x; s < n_seeds; s += gridDim.x) {
    for (uint32_t e = threadIdx.x; e < entries; e += blockDim.x) table[e] = {0, 0};
    if (threadIdx.x == 0) sum = used = 0;
    __syncthreads();
    const int64_t node = checked_id(nodes[s], 0, g.n_nodes(), "nodes");
    const Place home = place_of(g, node);
    const WalkHalf here = half_of(g, home.side), there = half_of(g, home.side ^ 1);
    for (int64_t w = threadIdx.x; w < n_walks && has_edges(g, home); w += blockDim.x) {
      const uint64_t element = static_cast<uint64_t>(node) << 32 | static_cast<uint64_t>(w);
      int64_t row = home.row;
      for (int64_t k = 0; k < length; ++k) {
        const RandomPair draw = random_pair(key, Stream::walk_of_node, element, static_cast<uint32_t>(k));
        const int64_t middle = column_through_l2(here, choose_step(here, row, draw.first));
        const Step back = choose_step(there, middle, draw.second);
        row = column_through_l2(there, back);
        if (row != home.row) count(table, bits, row);
        if (restarts(back, threshold)) row = home.row;
      }
    }
    __syncthreads();
    pack_visits(table, entries, &used);
    sort_visits(table, used);
    const int64_t kept = top < used ? top : used;
    for (int64_t j = threadIdx.x; j < kept; j += blockDim.x) atomicAdd(&sum, table[j].count);
    __syncthreads();
    for (int64_t j = threadIdx.x; j < top; j += blockDim.x) {
      const uint64_t rank = j < kept ? visit_rank(table[j]) : 0;
      ids[s * top + j] = rank != 0 ? node_of(g, {home.side, row_of_rank(rank)}) : -1;
      weights[s * top + j] = visit_weight(rank, sum);
    }
    __syncthreads();  // table, used and sum are written again for the next seed
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
  launch("random_walk_neighbors", plan.shared ? neighbors_kernel<true> : neighbors_kernel<false>, plan.blocks,
         plan.threads, plan.shared ? static_cast<size_t>(plan.table_bytes()) : 0, stream, graph, nodes, n_seeds,
         n_walks, length, restart_threshold(restart), top, seed, ids, weights, plan.bits,
         plan.shared ? nullptr : static_cast<Visit*>(workspace));
}

}  // namespace fgr::cuda
