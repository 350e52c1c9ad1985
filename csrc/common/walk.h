// The laws of random walks: where a walker goes, and how visits are counted and ranked. Both backends run exactly this.
#pragma once

#include "common/philox.h"
#include "fgr/types.h"

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

// A bipartite graph. Nodes are numbered users first, then items.
struct WalkGraph {
  WalkHalf users, items;
  FGR_HOST_DEVICE int64_t n_nodes() const { return users.n_rows + items.n_rows; }
};

// Where a node stands: in a row of one half; its neighbours are rows of the other.
struct Place {
  const WalkHalf& here;
  const WalkHalf& there;
  int64_t first, other;  // the nodes that are row 0 of the two
  int64_t row;
  FGR_HOST_DEVICE bool has_edges() const { return here.indptr[row] < here.indptr[row + 1]; }
};
FGR_HOST_DEVICE Place place_of(const WalkGraph& g, int64_t node) {
  const int64_t n_users = g.users.n_rows;
  if (node < n_users) return {g.users, g.items, 0, n_users, node};
  return {g.items, g.users, n_users, 0, node - n_users};
}

// A probability in units of 2^-32: 0 is never, 2^32 always.
inline uint64_t restart_threshold(double restart) { return static_cast<uint64_t>(restart * 4294967296.0 + 0.5); }

struct WalkStep {
  int64_t row;  // of the other half
  bool restart;
};

// One step from a row with edges, decided by 64 random bits. bits * degree / 2^64 has the edge's rank as its whole part;
// its fraction is uniform given the rank: the upper half chooses between the edge and its alias, the lower half decides
// on a restart. An edge is off its probability by less than 2^-64 without weights and 2^-32 with them, the restart by
// at most degree * 2^-32.
FGR_HOST_DEVICE WalkStep walk_step(const WalkHalf& half, int64_t row, uint64_t bits, uint64_t threshold) {
  const int64_t begin = half.indptr[row], degree = half.indptr[row + 1] - begin;
  const int64_t e = begin + uniform_below(bits, degree);
  const uint64_t fraction = bits * static_cast<uint64_t>(degree);
  int32_t column = half.indices[e];
  if (half.alias != nullptr) {
    const uint64_t cell = half.alias[e];
    if (fraction >> 32 >= cell >> 32) column = static_cast<int32_t>(cell & 0xffffffffu);
  }
  return {column, (fraction & 0xffffffffu) < threshold};
}

// The same between nodes; a restart leads to `seed`.
FGR_HOST_DEVICE int64_t next_node(const WalkGraph& g, int64_t node, int64_t seed, uint64_t bits, uint64_t threshold) {
  const Place at = place_of(g, node);
  const WalkStep step = walk_step(at.here, at.row, bits, threshold);
  return step.restart ? seed : at.other + step.row;
}

// An entry of the open-addressing hash table of a seed's visits. tag: ~row, 0 for a free entry.
struct Visit {
  uint32_t tag;
  uint32_t count;
};

// log2 of the size of a table for at most n different rows: no more than half of it is in use.
inline int visit_table_bits(int64_t n) {
  int bits = 1;
  while ((int64_t{1} << bits) < 2 * n) ++bits;
  return bits;
}

// Where the search for a tag begins; it goes on to the next entry, and from the last to the first.
FGR_HOST_DEVICE uint32_t visit_entry(uint32_t tag, int bits) { return (tag * 0x9E3779B1u) >> (32 - bits); }

// The larger the better: more visits first, ties by row ascending, free entries (0) last.
FGR_HOST_DEVICE uint64_t visit_rank(const Visit& v) { return (static_cast<uint64_t>(v.count) << 32) | v.tag; }
FGR_HOST_DEVICE int64_t row_of_rank(uint64_t rank) { return static_cast<int64_t>(~static_cast<uint32_t>(rank)); }
FGR_HOST_DEVICE int64_t visits_of_rank(uint64_t rank) { return static_cast<int64_t>(rank >> 32); }

}  // namespace fgr
