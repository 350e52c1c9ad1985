// The parts of a training step that act on some rows alone, for processes that share rows out (core/grid.py): with the
// kernels of train_step, to the bit, on the rows of one side that a process holds.
#pragma once

#include "common/arena.h"
#include "common/sampling.h"
#include "fgr/adam_step.h"
#include "fgr/types.h"

namespace fgr {

// y[i, :] = out[i] * (gain * left[i] * sum_e weight[e] * col_scale[indices[e]] * x[indices[e], :] + beta * base[i, :])
// Null left, out, col_scale, gain, beta or weight count as 1; null base or csr.indptr as 0.
template <class T>
struct RowHop {
  using A = acc_t<T>;
  Csr csr;                 // own rows; the columns are all nodes of the other side
  Schedule schedule;       // of own rows
  const T* x;              // [csr.n_cols, dim], or compact rows, where col_slot [csr.n_cols] says which, < 0: none
  int64_t dim, whole_dim;  // of rows of which x, base and the results are some columns: it decides a device's sums
  const A* col_scale;      // [csr.n_cols]; null with col_slot
  const int32_t* col_slot;
  const A *gain, *beta;  // [1]
  const A *left, *out;   // [csr.n_rows]
  const A* base;         // [csr.n_rows, dim], or compact, by base_slot [csr.n_rows]
  const int32_t* base_slot;
};

// What a hop's result is the gradient of: arrays [csr.n_rows, dim], updated in place by Adam; shadow, where given,
// becomes T(right * emb), right [csr.n_rows] or null (= 1).
template <class T>
struct RowTable {
  acc_t<T>*emb, *exp_avg, *exp_avg_sq;
  T* shadow;
  const acc_t<T>* right;
};

// The users [first_user, first_user + r.n_rows) of a graph of n_edges edges, edges_before of which are of users before.
struct OwnUsers {
  Csr r;
  int64_t first_user, edges_before, n_edges;
};

// row_hop: y [n, dim] of the own rows rows[0 .. n), ascending, or of all of them (n = csr.n_rows) where rows is null.
// row_update: Adam's step with the hop as gradient; lr [1], step [1] as of train_step.
// own_positives: users, pos [batch] of sample_batch (of which the arguments are) where the user is own, -1 elsewhere.
// The same bits for any number of threads. Ids are not checked. Workspace: a device's, for both; the CPU needs none.
template <class T>
struct RowSpace {
  acc_t<T>* partial;  // [n_split, dim]
  int32_t *place, *count;
  double* rates;  // [8]
  int64_t bytes;

  RowSpace(void* workspace, int64_t n_rows, const Schedule& schedule, int64_t dim) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    partial = arena.take<acc_t<T>>(schedule.n_split * dim);
    place = arena.take<int32_t>(n_rows);
    count = arena.take<int32_t>(1);
    rates = arena.take<double>(8);
    bytes = arena.used;
  }
};
namespace cpu {
template <class T>
int64_t row_step_workspace_bytes(int64_t, const Schedule&, int64_t) {
  return 0;
}
template <class T>
void row_hop(const RowHop<T>& hop, const int32_t* rows, int64_t n, T* y, void* workspace, int threads);
template <class T>
void row_update(const RowHop<T>& hop, const RowTable<T>& table, const AdamOptions& adam, const double* lr,
                const int64_t* step, void* workspace, int threads);
void own_positives(const OwnUsers& own, BatchLaw law, const int32_t* active, int64_t n_active, const int64_t* seed,
                   const int64_t* offset, int64_t batch, int64_t* users, int64_t* pos, int threads);
}  // namespace cpu
namespace cuda {
template <class T>
int64_t row_step_workspace_bytes(int64_t n_rows, const Schedule& schedule, int64_t dim) {
  return RowSpace<T>(nullptr, n_rows, schedule, dim).bytes;
}
template <class T>
void row_hop(const RowHop<T>& hop, const int32_t* rows, int64_t n, T* y, void* workspace, void* stream);
template <class T>
void row_update(const RowHop<T>& hop, const RowTable<T>& table, const AdamOptions& adam, const double* lr,
                const int64_t* step, void* workspace, void* stream);
void own_positives(const OwnUsers& own, BatchLaw law, const int32_t* active, int64_t n_active, const int64_t* seed,
                   const int64_t* offset, int64_t batch, int64_t* users, int64_t* pos, void* stream);
}  // namespace cuda

}  // namespace fgr
