// The distinct nodes of a batch, numbered in ascending order, and the batch by these numbers: batches of usual sizes by
// one block in one launch, larger ones by CUB's sort and scan.
#pragma once

#include "cuda/sort.cuh"
#include "fgr/pair_loss.h"

namespace fgr::cuda {

// A batch as nodes: positions [0, B) are its users, [B, 2B) its positives, the rest its negatives.
struct Positions {
  PairBatch batch;
  int64_t n_users, n_items;

  FGR_HOST_DEVICE int64_t count() const { return 2 * batch.batch + (batch.shared ? 1 : batch.batch) * batch.n_neg; }
  FGR_HOST_DEVICE int64_t n_nodes() const { return n_users + n_items; }
};

// What numbering leaves; a compact row is one of a distinct node.
template <class A>
struct Numbered {
  int32_t* sorted_position;    // [positions] by node, and of one node ascending; those of none last
  int32_t* slot;               // [n_nodes] compact row of a node; of others it stays what it was
  int32_t *rows, *n_rows;      // [min(positions, n_nodes)] the nodes; [1]
  int32_t* first;              // [rows + 1] where a compact row's sorted positions begin
  int64_t *users, *pos, *neg;  // the batch, as compact rows; -1: none
  A* bias;                     // [batch] of the positives, where there is an item_bias
};

// By one block: a radix sort by digits of 6 bits. An entry is one word, its node above its position where both fit 32
// bits; where not, its position, whose node is looked up.
struct BlockNumbering {
  static constexpr int threads = 1024, digit_bits = 6;

  int key_bits = 0, place_bits = 0, items = 0;  // items: entries of a thread; 0: they are too many
  bool looked_up = false;

  BlockNumbering(int64_t count, int64_t n_nodes);
  void look_up();
  size_t shared_bytes() const;
  bool fits() const;  // whether the current device takes it
};

// item_bias [n_items] or null (then no bias is written).
template <class A>
void number_by_block(const char* op, const BlockNumbering& by, const Numbered<A>& s, const Positions& p,
                     const A* item_bias, void* stream);

// By CUB, with what that needs beside. sorting.sorted_position is to be the one of what it leaves.
struct DeviceNumbering {
  Sorting sorting;
  int32_t *head, *rank;  // [positions] whether a sorted position is the first of its node; nodes so far
  void* storage;         // CUB's
  size_t storage_bytes = 0;

  DeviceNumbering(Arena& arena, int64_t count, int64_t n_nodes);
};

template <class A>
void number_by_cub(const char* op, DeviceNumbering& by, const Numbered<A>& s, const Positions& p, const A* item_bias,
                   void* stream);

}  // namespace fgr::cuda
