// The laws of random walks: where a walker goes, and how visits are counted and ranked. Both backends run exactly this.
#pragma once

#include "common/philox.h"
#include "common/tie.h"

namespace fgr {

// One half of the graph as a walker sees it. Rows below 2^31.
//   alias [n_edges], null: all edges weigh the same. Walker's table of every row (1977, "An efficient method for
//   generating discrete random variables with general distributions"), a cell holding threshold << 32 | column: of the
//   2^32 ways to land on edge e, `threshold` lead to indices[e] and the others to `column`.
struct WalkHalf {
  const int64_t* indptr;
  const int32_t* indices;
  const uint64_t* alias;
  int64_t n_rows;
};

// A bipartite graph: side 0 users, side 1 items. A walker changes sides with every step.
struct WalkGraph {
  WalkHalf side[2];
  FGR_HOST_DEVICE int64_t n_nodes() const { return side[0].n_rows + side[1].n_rows; }
};

// A node as a row of its side. Nodes are numbered users first, then items.
struct Place {
  int side;
  int64_t row;
};
FGR_HOST_DEVICE Place place_of(const WalkGraph& g, int64_t node) {
  const int64_t n_users = g.side[0].n_rows;
  return node < n_users ? Place{0, node} : Place{1, node - n_users};
}
FGR_HOST_DEVICE int64_t node_of(const WalkGraph& g, const Place& at) {
  return at.row + (at.side == 0 ? 0 : g.side[0].n_rows);
}
// Chosen member by member, so that a kernel need not copy the graph to have an address to count from.
FGR_HOST_DEVICE WalkHalf half_of(const WalkGraph& g, int side) {
  const WalkHalf &users = g.side[0], &items = g.side[1];
  return {side == 0 ? users.indptr : items.indptr, side == 0 ? users.indices : items.indices,
          side == 0 ? users.alias : items.alias, side == 0 ? users.n_rows : items.n_rows};
}
FGR_HOST_DEVICE bool has_edges(const WalkGraph& g, const Place& at) {
  const int64_t* row = half_of(g, at.side).indptr + at.row;
  return row[0] < row[1];
}

// A probability in units of 2^-32: 0 is never, 2^32 always.
inline uint64_t restart_threshold(double restart) { return static_cast<uint64_t>(restart * 4294967296.0 + 0.5); }

// One step from a row with edges, decided by 64 random bits. bits * degree / 2^64 has the edge's rank as its whole
// part; its fraction is uniform given the rank: the upper half chooses between the edge and its alias, the lower half
// decides on a restart. An edge is off its probability by less than 2^-64 without weights and 2^-32 with them, the
// restart by at most degree * 2^-32.
struct Step {
  int64_t edge;
  uint64_t fraction;
};
FGR_HOST_DEVICE Step choose_step(const WalkHalf& half, int64_t row, uint64_t bits) {
  const int64_t begin = half.indptr[row], degree = half.indptr[row + 1] - begin;
  return {begin + uniform_below(bits, degree), bits * static_cast<uint64_t>(degree)};
}
FGR_HOST_DEVICE int32_t chosen_column(int32_t column, uint64_t cell, const Step& step) {
  return step.fraction >> 32 < cell >> 32 ? column : static_cast<int32_t>(cell & 0xffffffffu);
}
FGR_HOST_DEVICE int64_t column_of(const WalkHalf& half, const Step& step) {
  const int32_t column = half.indices[step.edge];
  return half.alias == nullptr ? column : chosen_column(column, half.alias[step.edge], step);
}
FGR_HOST_DEVICE bool restarts(const Step& step, uint64_t threshold) {
  return (step.fraction & 0xffffffffu) < threshold;
}

// An entry of the open-addressing hash table of a seed's visits, moved as one word. tag: ~tie_key(row), 0 for a free
// entry.
struct alignas(8) Visit {
  uint32_t tag;
  uint32_t count;
};

// log2 of the size of a table for at most n different rows: no more than half of it is in use.
inline int visit_table_bits(int64_t n) {
  int bits = 1;
  while ((int64_t{1} << bits) < 2 * n) ++bits;
  return bits;
}

FGR_HOST_DEVICE uint32_t visit_tag(int64_t row) { return ~tie_key(static_cast<uint32_t>(row)); }
// Where the search for a tag begins; it goes on to the next entry, and from the last to the first.
FGR_HOST_DEVICE uint32_t visit_entry(uint32_t tag, int bits) { return tag >> (32 - bits); }

// The larger the better: more visits first, ties by tie_key(row) ascending, free entries (0) last.
FGR_HOST_DEVICE uint64_t visit_rank(const Visit& v) { return (static_cast<uint64_t>(v.count) << 32) | v.tag; }
FGR_HOST_DEVICE int64_t row_of_rank(uint64_t rank) { return id_of_tie(~static_cast<uint32_t>(rank)); }
FGR_HOST_DEVICE int64_t visits_of_rank(uint64_t rank) { return static_cast<int64_t>(rank >> 32); }
// Its share of the visits that are kept.
FGR_HOST_DEVICE float visit_weight(uint64_t rank, int64_t sum) {
  return rank == 0 ? 0.0f : static_cast<float>(static_cast<double>(visits_of_rank(rank)) / static_cast<double>(sum));
}

}  // namespace fgr
