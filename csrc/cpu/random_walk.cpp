#include "fgr/random_walk.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

constexpr int lanes = 16;              // walkers that go side by side, so that their cache misses overlap
constexpr int64_t most_tables = 128;   // seeds are cut into that many chunks, each with a table of visits

int table_bits(int64_t n_nodes, int64_t n_visits) { return visit_table_bits(std::min(n_nodes, n_visits)); }

// Double step `draw` of walkers [first, first + width): from rows of one half to rows of the same.
void double_step(const Place& home, uint64_t key, uint64_t first, uint32_t draw, uint64_t threshold, int width,
                 WalkStep* walkers) {
  RandomPair bits[lanes];
  for (int i = 0; i < width; ++i) {
    bits[i] = random_pair(key, Stream::walk_of_node, first + static_cast<uint64_t>(i), draw);
  }
  for (int i = 0; i < width; ++i) {
    walkers[i] = walk_step(home.here, walkers[i].restart ? home.row : walkers[i].row, bits[i].first, 0);
  }
  for (int i = 0; i < width; ++i) walkers[i] = walk_step(home.there, walkers[i].row, bits[i].second, threshold);
}

void count(Visit* table, int bits, int64_t row) {
  const uint32_t tag = ~static_cast<uint32_t>(row), last = (1u << bits) - 1;
  uint32_t at = visit_entry(tag, bits);
  while (table[at].tag != tag && table[at].tag != 0) at = (at + 1) & last;
  table[at].tag = tag;
  ++table[at].count;
}

// The best of a table to ids and weights, [top] each.
void keep_best(const Visit* table, int bits, int64_t first, int64_t top, int64_t* ids, float* weights) {
  // ids[0, size) is a heap of ranks with the worst on top.
  int64_t size = 0;
  for (const Visit* v = table; v != table + (int64_t{1} << bits); ++v) {
    const int64_t rank = static_cast<int64_t>(visit_rank(*v));
    if (size < top && rank != 0) {
      ids[size++] = rank;
      std::push_heap(ids, ids + size, std::greater<>());
    } else if (size == top && rank > ids[0]) {
      std::pop_heap(ids, ids + size, std::greater<>());
      ids[size - 1] = rank;
      std::push_heap(ids, ids + size, std::greater<>());
    }
  }
  std::sort_heap(ids, ids + size, std::greater<>());
  int64_t sum = 0;
  for (int64_t j = 0; j < size; ++j) sum += visits_of_rank(static_cast<uint64_t>(ids[j]));
  for (int64_t j = 0; j < top; ++j) {
    const uint64_t rank = j < size ? static_cast<uint64_t>(ids[j]) : 0;
    weights[j] = j < size ? static_cast<float>(static_cast<double>(visits_of_rank(rank)) / static_cast<double>(sum)) : 0;
    ids[j] = j < size ? first + row_of_rank(rank) : -1;
  }
}

}  // namespace

void random_walk(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t length, double restart,
                 const int64_t* seed, int64_t* out, int threads) {
  check_ids("nodes", nodes, n_seeds, 0, graph.n_nodes());
  const uint64_t key = static_cast<uint64_t>(*seed), threshold = restart_threshold(restart);
  parallel_for((n_seeds + lanes - 1) / lanes, 4, threads, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      int64_t element[lanes], node[lanes];
      int width = 0;  // walkers that can move
      for (int64_t s = group * lanes; s < std::min(n_seeds, (group + 1) * lanes); ++s) {
        int64_t* row = out + s * (length + 1);
        row[0] = nodes[s];
        if (place_of(graph, nodes[s]).has_edges()) {
          node[width] = nodes[s];
          element[width++] = s;
        } else {
          std::fill(row + 1, row + length + 1, int64_t{-1});
        }
      }
      RandomPair bits[lanes];
      for (int64_t t = 0; t < length; ++t) {
        for (int i = 0; i < width && t % 2 == 0; ++i) {
          bits[i] = random_pair(key, Stream::walk, static_cast<uint64_t>(element[i]), static_cast<uint32_t>(t / 2));
        }
        for (int i = 0; i < width; ++i) {
          node[i] = next_node(graph, node[i], nodes[element[i]], t % 2 == 0 ? bits[i].first : bits[i].second, threshold);
          out[element[i] * (length + 1) + t + 1] = node[i];
        }
      }
    }
  });
}

int64_t random_walk_neighbors_workspace_bytes(int64_t n_nodes, int64_t n_seeds, int64_t n_visits) {
  return (std::min(n_seeds, most_tables) << table_bits(n_nodes, n_visits)) * static_cast<int64_t>(sizeof(Visit));
}

void random_walk_neighbors(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t n_walks,
                           int64_t length, double restart, int64_t top, const int64_t* seed, int64_t* ids,
                           float* weights, void* workspace, int threads) {
  check_ids("nodes", nodes, n_seeds, 0, graph.n_nodes());
  const uint64_t key = static_cast<uint64_t>(*seed), threshold = restart_threshold(restart);
  const int bits = table_bits(graph.n_nodes(), n_walks * length);
  const int64_t grain = (n_seeds + most_tables - 1) / most_tables;
  parallel_for(n_seeds, grain, threads, [&](int64_t begin, int64_t end) {
    Visit* table = static_cast<Visit*>(workspace) + ((begin / grain) << bits);
    for (int64_t s = begin; s < end; ++s) {
      std::memset(table, 0, sizeof(Visit) << bits);
      const Place home = place_of(graph, nodes[s]);
      for (int64_t w = 0; w < n_walks && home.has_edges(); w += lanes) {
        const int width = static_cast<int>(std::min<int64_t>(lanes, n_walks - w));
        const uint64_t first = static_cast<uint64_t>(nodes[s]) << 32 | static_cast<uint64_t>(w);
        WalkStep walkers[lanes];
        for (int i = 0; i < width; ++i) walkers[i] = {home.row, false};
        for (int64_t k = 0; k < length; ++k) {
          double_step(home, key, first, static_cast<uint32_t>(k), threshold, width, walkers);
          for (int i = 0; i < width; ++i) {
            if (walkers[i].row != home.row) count(table, bits, walkers[i].row);
          }
        }
      }
      keep_best(table, bits, home.first, top, ids + s * top, weights + s * top);
    }
  });
}

}  // namespace fgr::cpu
