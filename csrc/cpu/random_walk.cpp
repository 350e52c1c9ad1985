#include "fgr/random_walk.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

// Walkers that go side by side: what one waits for is fetched while the others are served. On a graph of 30 M edges 64
// make 1.5 times the steps of 16 (one core of an EPYC), on one that fits in the caches as many.
constexpr int lanes = 64;
constexpr int pair_block = 16;     // of Level::random_pairs
constexpr int64_t step_cost = 32;  // operations of a step
constexpr int64_t stretch = 256;   // steps of all walkers after which an interrupt is looked for

struct Walkers {
  int width = 0;  // how many there are
  int side[lanes];
  int64_t row[lanes];
  bool restart[lanes];  // whether the step led back to the seed instead of to row
  RandomPair bits[lanes + pair_block];
};

void draw(Walkers& w, int begin, int count, uint64_t key, Stream stream, uint64_t first, int64_t step) {
  const int n = (count + pair_block - 1) / pair_block * pair_block;
  level().random_pairs(key, stream, first, static_cast<uint32_t>(step), n, w.bits + begin);
}

// One step of all walkers, decided by one half of their bits.
void step(const WalkGraph& g, Walkers& w, uint64_t RandomPair::* half, uint64_t threshold) {
  Step steps[lanes];
  for (int i = 0; i < w.width; ++i) {
    const WalkHalf& here = g.side[w.side[i]];
    steps[i] = choose_step(here, w.row[i], w.bits[i].*half);
    __builtin_prefetch(here.indices + steps[i].edge);
    if (here.alias != nullptr) __builtin_prefetch(here.alias + steps[i].edge);
  }
  for (int i = 0; i < w.width; ++i) {
    w.row[i] = column_of(g.side[w.side[i]], steps[i]);
    w.side[i] ^= 1;
    w.restart[i] = restarts(steps[i], threshold);
    __builtin_prefetch(g.side[w.side[i]].indptr + w.row[i]);
  }
}

// Where the walk goes on after a restart. No branch: nothing could predict it.
template <class T>
void go_back_if(bool restart, T& at, T home) {
  at ^= (at ^ home) & -static_cast<T>(restart);
}

void count(Visit* table, int bits, int64_t row) {
  const uint32_t tag = visit_tag(row), last = (1u << bits) - 1;
  uint32_t at = visit_entry(tag, bits);
  while (table[at].tag != tag && table[at].tag != 0) at = (at + 1) & last;
  table[at].tag = tag;
  ++table[at].count;
}

// The best of a table to ids and weights, [top] each.
void keep_best(const WalkGraph& g, const Visit* table, int bits, int side, int64_t top, int64_t* ids, float* weights) {
  int64_t size = 0;  // ids[0, size) is a heap of ranks with the worst on top
  for (const Visit* v = table + (int64_t{1} << bits); v-- != table;) {  // from the end: there the first of ties lie
    const int64_t rank = static_cast<int64_t>(visit_rank(*v));
    if (rank == 0 || (size == top && rank < ids[0])) continue;
    if (size == top) std::pop_heap(ids, ids + size--, std::greater<>());
    ids[size++] = rank;
    std::push_heap(ids, ids + size, std::greater<>());
  }
  std::sort_heap(ids, ids + size, std::greater<>());
  int64_t sum = 0;
  for (int64_t j = 0; j < size; ++j) sum += visits_of_rank(static_cast<uint64_t>(ids[j]));
  for (int64_t j = 0; j < top; ++j) {
    const uint64_t rank = j < size ? static_cast<uint64_t>(ids[j]) : 0;
    weights[j] = visit_weight(rank, sum);
    ids[j] = j < size ? node_of(g, {side, row_of_rank(rank)}) : -1;
  }
}

// How the seeds are shared out: chunks of `grain`, in which groups of `group` have their walks go side by side, each
// seed with a table of 2^bits visits. The tables of a group stay in 64 KiB.
struct Plan {
  int bits;
  int64_t group, grain, chunks;

  Plan(int64_t n_nodes, int64_t n_seeds, int64_t n_walks, int64_t length)
      : bits(visit_table_bits(std::min(n_nodes, n_walks * length))) {
    constexpr int64_t group_entries = 1 << 13, most_chunks = 128;
    group = std::max<int64_t>(1, std::min(lanes / n_walks, group_entries >> bits));
    grain = std::max(group, (n_seeds + most_chunks - 1) / most_chunks);
    chunks = (n_seeds + grain - 1) / grain;
  }
};

}  // namespace

void random_walk(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t length, double restart,
                 const int64_t* seed, int64_t* out, int threads) {
  check_ids("nodes", nodes, n_seeds, 0, graph.n_nodes());
  const uint64_t key = static_cast<uint64_t>(*seed), threshold = restart_threshold(restart);
  parallel_for((n_seeds + lanes - 1) / lanes, lanes * length * step_cost, threads, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * lanes; first < std::min(n_seeds, end * lanes); first += lanes) {
      const int n = static_cast<int>(std::min<int64_t>(lanes, n_seeds - first));
      Walkers w;
      Place home[lanes];
      int element[lanes];  // walker i belongs to seed first + element[i]
      for (int s = 0; s < n; ++s) {
        int64_t* trace = out + (first + s) * (length + 1);
        trace[0] = nodes[first + s];
        const Place at = place_of(graph, nodes[first + s]);
        if (!has_edges(graph, at)) {
          std::fill(trace + 1, trace + length + 1, int64_t{-1});
          continue;
        }
        home[w.width] = at;
        w.side[w.width] = at.side;
        w.row[w.width] = at.row;
        element[w.width++] = s;
      }
      for (int64_t t = 0; t < length; ++t) {
        if (t % 2 == 0) {
          draw(w, 0, n, key, Stream::walk, static_cast<uint64_t>(first), t / 2);
          for (int i = 0; i < w.width; ++i) w.bits[i] = w.bits[element[i]];
        }
        if (t % stretch == stretch - 1 && interrupted()) return;
        step(graph, w, t % 2 == 0 ? &RandomPair::first : &RandomPair::second, threshold);
        for (int i = 0; i < w.width; ++i) {
          go_back_if(w.restart[i], w.row[i], home[i].row);
          go_back_if(w.restart[i], w.side[i], home[i].side);
          out[(first + element[i]) * (length + 1) + t + 1] = node_of(graph, {w.side[i], w.row[i]});
        }
      }
    }
  });
}

int64_t random_walk_neighbors_workspace_bytes(int64_t n_nodes, int64_t n_seeds, int64_t n_walks, int64_t length) {
  const Plan plan(n_nodes, n_seeds, n_walks, length);
  return (plan.chunks * plan.group << plan.bits) * static_cast<int64_t>(sizeof(Visit));
}

void random_walk_neighbors(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t n_walks,
                           int64_t length, double restart, int64_t top, const int64_t* seed, int64_t* ids,
                           float* weights, void* workspace, int threads) {
  check_ids("nodes", nodes, n_seeds, 0, graph.n_nodes());
  const uint64_t key = static_cast<uint64_t>(*seed), threshold = restart_threshold(restart);
  const Plan plan(graph.n_nodes(), n_seeds, n_walks, length);
  const auto run_chunk = [&](int64_t chunk) {
    Visit* tables = static_cast<Visit*>(workspace) + (chunk * plan.group << plan.bits);
    int64_t steps = 0;
    const int64_t begin = chunk * plan.grain, end = std::min(n_seeds, begin + plan.grain);
    for (int64_t s = begin; s < end; s += plan.group) {
      const int n = static_cast<int>(std::min(plan.group, end - s));
      std::memset(tables, 0, (sizeof(Visit) << plan.bits) * static_cast<size_t>(n));
      for (int64_t walk = 0; walk < n_walks; walk += lanes) {
        const int share = static_cast<int>(std::min<int64_t>(lanes, n_walks - walk));  // walkers of a seed
        Walkers w;
        int64_t home[lanes];
        int owner[lanes];
        for (int j = 0; j < n; ++j) {
          const Place at = place_of(graph, nodes[s + j]);
          for (int i = 0; i < share && has_edges(graph, at); ++i, ++w.width) {
            w.side[w.width] = at.side;
            w.row[w.width] = home[w.width] = at.row;
            owner[w.width] = j;
          }
        }
        for (int64_t k = 0; k < length; ++k) {
          if (++steps % stretch == 0 && interrupted()) return;
          for (int i = 0; i < w.width; i += share) {
            const uint64_t first = static_cast<uint64_t>(nodes[s + owner[i]]) << 32 | static_cast<uint64_t>(walk);
            draw(w, i, share, key, Stream::walk_of_node, first, k);
          }
          step(graph, w, &RandomPair::first, 0);
          step(graph, w, &RandomPair::second, threshold);
          for (int i = 0; i < w.width; ++i) {
            if (w.row[i] != home[i]) count(tables + (int64_t{owner[i]} << plan.bits), plan.bits, w.row[i]);
          }
          for (int i = 0; i < w.width; ++i) go_back_if(w.restart[i], w.row[i], home[i]);
        }
      }
      for (int j = 0; j < n; ++j) {
        const int side = place_of(graph, nodes[s + j]).side;
        keep_best(graph, tables + (int64_t{j} << plan.bits), plan.bits, side, top, ids + (s + j) * top,
                  weights + (s + j) * top);
      }
    }
  };
  parallel_for(plan.chunks, plan.grain * n_walks * length * 2 * step_cost, threads, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) run_chunk(chunk);
  });
}

}  // namespace fgr::cpu
