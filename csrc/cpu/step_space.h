// What a training step works in, and how the nodes of its batch get rows there.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>

#include "common/arena.h"
#include "cpu/panel_sums.h"
#include "cpu/radix_sort.h"
#include "fgr/scatter_rows.h"
#include "fgr/train_step.h"

namespace fgr::cpu {

// What one step needs. Compact arrays hold one row per distinct node of the batch, in ascending order of nodes.
template <class T>
struct StepSpace {
  using A = acc_t<T>;
  T* layer;         // [n_nodes, dim], from two hops on
  int64_t* n_rows;  // [2] compact rows of users, which come first, and of all
  int32_t* slot;    // [n_nodes] compact row of a node, or -1
  int32_t* rows;    // [most] the node of a compact row, counted within its half
  T* z;             // [most, dim] the compact rows of the model's output, where no others have columns of them
  T* scaled_seed;   // [most, dim] T(left * dL/dz): what the first hop backwards gathers
  A* seed;          // [most, dim] dL/dz
  A* direct;        // [most, dim] the part of dL/dE that takes no hop: alphas[0] * seed + the ridge penalty's
  int64_t *users, *pos, *neg;   // the batch, as compact rows
  A *user_rows, *item_rows;     // [batch, whole_dim] what the losses give; item_rows: softmax only
  A *pos_coef, *neg_coef;       // [batch], [batch, n_neg]
  A* bias;                      // [batch] of the positives: softmax only
  A* neg_rows;                  // [n_neg, whole_dim], shared negatives only
  int32_t *order, *first;       // [batch positions], [most + 1]: the positions of a compact row, ascending
  double* ridge;                // [panels]
  double* ridge_blocks;         // [panel_blocks(most), panels]
  double* squares;              // [most, panels] of a row's gradient, without a hop only
  uint64_t *keys, *spare_keys;  // [batch positions]
  char* loss_space;

  int64_t bytes;

  StepSpace(void* workspace, int64_t n_nodes, int64_t dim, int64_t whole_dim, int64_t n_alphas, int64_t batch,
            int64_t n_neg, bool shared) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    const int64_t negatives = (shared ? 1 : batch) * n_neg, positions = 2 * batch + negatives;
    check_positions(positions, n_nodes);
    const int64_t most = std::min(positions, n_nodes), hops = n_alphas - 1;
    layer = arena.take<T>(hops >= 2 ? n_nodes * dim : 0);
    n_rows = arena.take<int64_t>(2);
    slot = arena.take<int32_t>(n_nodes);
    rows = arena.take<int32_t>(most);
    z = arena.take<T>(whole_dim == dim ? most * dim : 0);
    scaled_seed = arena.take<T>(most * dim);
    seed = arena.take<A>(most * dim);
    direct = arena.take<A>(most * dim);
    users = arena.take<int64_t>(batch);
    pos = arena.take<int64_t>(batch);
    neg = arena.take<int64_t>(negatives);
    user_rows = arena.take<A>(batch * whole_dim);
    item_rows = arena.take<A>(n_neg == 0 ? batch * whole_dim : 0);
    pos_coef = arena.take<A>(batch);
    neg_coef = arena.take<A>(batch * n_neg);
    bias = arena.take<A>(n_neg == 0 ? batch : 0);
    neg_rows = arena.take<A>(shared ? n_neg * whole_dim : 0);
    order = arena.take<int32_t>(positions);
    first = arena.take<int32_t>(most + 1);
    ridge = arena.take<double>(column_panels(dim));
    ridge_blocks = arena.take<double>(panel_blocks(most) * column_panels(dim));
    squares = arena.take<double>(hops == 0 ? most * column_panels(dim) : 0);
    keys = arena.take<uint64_t>(positions);
    spare_keys = arena.take<uint64_t>(positions);
    const int64_t softmax = n_neg == 0 ? softmax_loss_workspace_bytes(batch, whole_dim, sizeof(A)) : 0;
    const int64_t pairs = pair_loss_workspace_bytes(batch, n_neg, whole_dim, shared, sizeof(A));
    loss_space = arena.take<char>(std::max(softmax, pairs));
    bytes = arena.used;
  }

  // Numbers the distinct nodes of the batch, in whose order users stand before items, and sorts its positions by them:
  // by the nodes alone, so that nothing is as long as the graph.
  void number(const PairBatch& batch, int64_t n_users) {
    const int64_t n = batch.batch, negatives = batch.n_neg_rows() * batch.n_neg;
    int64_t count = 0;
    const auto add = [&](int64_t node, int64_t position) {
      keys[count++] = static_cast<uint64_t>(node) << 32 | static_cast<uint64_t>(position);
    };
    for (int64_t b = 0; b < n; ++b) add(batch.users[b], b);
    for (int64_t b = 0; b < n; ++b) add(n_users + batch.pos[b], n + b);
    for (int64_t j = 0; j < negatives; ++j) {
      neg[j] = -1;
      if (batch.neg[j] >= 0) add(n_users + batch.neg[j], 2 * n + j);
    }
    radix_sort(keys, spare_keys, count, [](uint64_t key) { return key >> 32; });
    int64_t numbered = 0, of_users = 0, last = -1;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t node = static_cast<int64_t>(keys[i] >> 32), p = static_cast<int64_t>(keys[i] & 0xffffffffu);
      if (node != last) {
        of_users += node < n_users;
        rows[numbered] = static_cast<int32_t>(node < n_users ? node : node - n_users);
        first[numbered++] = static_cast<int32_t>(i);
        last = node;
      }
      order[i] = static_cast<int32_t>(p);
      (p < n ? users[p] : p < 2 * n ? pos[p - n] : neg[p - 2 * n]) = numbered - 1;
    }
    first[numbered] = static_cast<int32_t>(count);
    n_rows[0] = of_users;
    n_rows[1] = numbered;
  }

  // The row of every node of the graph, for hops.
  void fill_slots(int64_t n_users, int64_t n_nodes) {
    std::memset(slot, -1, static_cast<size_t>(n_nodes) * sizeof(int32_t));
    for (int64_t r = 0; r < n_rows[1]; ++r) slot[rows[r] + (r < n_rows[0] ? 0 : n_users)] = static_cast<int32_t>(r);
  }
};

using Clock = std::chrono::steady_clock;

// Adds the time since the last call to *where.
struct Stopwatch {
  Clock::time_point last = Clock::now();
  void lap(double* where) {
    const Clock::time_point now = Clock::now();
    *where += std::chrono::duration<double>(now - last).count();
    last = now;
  }
};

}  // namespace fgr::cpu
