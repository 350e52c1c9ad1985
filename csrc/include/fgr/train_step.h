// One training step of a LightGCN (or, without layers, of matrix factorization) in one call:
//   z = sum_k alphas[k] B^k E with B = diag(left) A diag(right)                            (see propagate.h)
//   L = loss(z; batch) + reg / batch * 1/2 * sum over the batch's nodes n, repeats counted, of |E_n|^2
//   E <- Adam(E, dL/dE)                                                                    (see adam_step.h)
// or, without layers, another optimizer's step, of the batch's rows alone.
// What makes it cheaper than its parts:
//   - the loss reads z at the batch's nodes only, so the last hop forwards computes those rows and the first hop
//   backwards
//     reads those columns (He et al.'s model at batch 2,048 on gowalla: 12 % of the edges);
//   - the last hop backwards hands each gradient row to Adam while it is in registers: there is no gradient array;
//   - nothing is allocated.
#pragma once

#include "fgr/adam_step.h"
#include "fgr/pair_loss.h"
#include "fgr/softmax_loss.h"
#include "fgr/types.h"

namespace fgr {

// The first three are PairLoss's.
enum class StepLoss : int { bpr = 0, binary = 1, max_margin = 2, softmax = 3 };

// adam moves every row. The others, for n_alphas = 1 alone, move and read the rows of the batch's nodes only, whatever
// the size of the graph; with g = dL/dE of such a row in step t, the ridge's part in it:
//   lazy_adam  m = b1^(t - s) m + (1 - b1) g;  v = b2^(t - s) v + (1 - b2) g^2, s the step that the row was in before,
//              then as Adam: so the moments are those of Adam whose gradients were 0 meanwhile, and the moves of these
//              steps are left out
//   adagrad    a += mean of g^2 over the row;  e -= lr / (sqrt(a) + eps) * g
//   sgd        e -= lr * g
// Weight decay is that of these rows, a part of g.
enum class StepOptimizer : int { adam = 0, lazy_adam = 1, adagrad = 2, sgd = 3 };

// The model: A = acc_t<T>, T the type in which layers are stored between hops.
template <class T>
struct StepModel {
  int64_t dim;
  const acc_t<T>* alphas;       // [n_alphas]
  int64_t n_alphas;             // K + 1 >= 1
  const acc_t<T>*left, *right;  // [n_nodes] or null (= 1)
  // [n_nodes, dim], updated in place; the state of lazy_adam is exp_avg [n_nodes, 2, dim], both moments of a row side
  // by side, that of adagrad exp_avg [n_nodes], its a
  acc_t<T>*emb, *exp_avg, *exp_avg_sq;
  const acc_t<T>* item_bias;  // [n_items], the softmax's bias of an item, or null (= 0)
  T* shadow;  // [n_nodes, dim] = T(right * emb) on entry and on return; null: none is kept (T = bf16 needs one if K >=
              // 1)
  int64_t* last_step = nullptr;  // [n_nodes] of lazy_adam: the step that a row was in before, 0 if none
};

// The parts of a step, one after the other. They share a workspace, so that a call may run some of them and a later one
// those that follow; nothing else may be done with the workspace in between.
enum StepPart : unsigned {
  step_number = 1,   // the batch's distinct nodes, numbered; on a device also what the update reads of lr and step
  step_forward = 2,  // their rows of z, and the ridge's panels
  step_loss = 4,     // the loss and its gradient, of whole rows
  step_seed = 8,     // the gradient of the rows, in this process's columns
  step_update = 16,  // the hops backwards with Adam
  step_all = 31,
  step_softmax_users = 32,  // these two, softmax_users and softmax_items, in the place of step_loss; on the CPU
  step_softmax_items = 64,
  // These three in the place of step_forward, on a device: the hops forwards but the last, which read no more of the
  // batch than its size, so that step_number may run beside them; the last; the ridge's panels.
  step_inner = 128,
  step_last = 256,
  step_ridge = 512,
};

// Processes may share the columns out: each has model.dim of whole_dim, from first_column on, which is a multiple of
// column_panel. They exchange the rows of z between step_forward and step_loss, and nothing else. The default is one
// process, whose columns are all, in one call.
template <class T>
struct StepShare {
  unsigned parts = step_all;
  int64_t whole_dim = 0;  // 0: model.dim
  int64_t first_column = 0;
  T* own_z = nullptr;             // [rows, model.dim] what step_forward leaves
  double* own_ridge = nullptr;    // [column_panels(model.dim)] and of the ridge: sum over the nodes of |E_n|^2
  const T* z = nullptr;           // [rows, whole_dim] all processes' own_z side by side, for step_loss and step_seed
  const double* ridge = nullptr;  // [column_panels(whole_dim)] and own_ridge; not read where reg = 0
  T* scaled_seed = nullptr;    // [rows, model.dim] what step_seed leaves for hops of the caller's own: T(left * dL/dz),
  acc_t<T>* seed = nullptr;    // dL/dz
  acc_t<T>* direct = nullptr;  // and alphas[0] * dL/dz with the ridge's gradient; null: where step_update finds them
  // Where the softmax is shared out: what its parts take and leave; then, for step_seed, what they left of this
  // process's columns, [batch, model.dim].
  cpu::SoftmaxShare<acc_t<T>> softmax = {};
  const acc_t<T>*user_rows = nullptr, *item_rows = nullptr;
  // Of adagrad, where step_update is another call than step_seed: the squares of the gradient's rows that step_seed
  // leaves, [rows, column_panels(model.dim)], and those of all processes for step_update, [rows,
  // column_panels(whole_dim)].
  double* own_squares = nullptr;
  const double* squares = nullptr;
};

struct StepOptions {
  StepLoss loss;
  double temperature, negative_weight;  // of the softmax
  double margin;                        // of max_margin, else 0
  double reg;
  AdamOptions adam;  // of which adagrad has eps
  StepOptimizer optimizer = StepOptimizer::adam;
};

// Seconds spent in the parts of a step, added up over calls.
struct StepTimes {
  double forward, loss, seed, backward, update;  // update: the last hop backwards with Adam
};

// Returns how many rows the batch's nodes have; a device, which cannot know, the most that they may have:
// min(positions, n_nodes). A gathered row beyond the last may hold anything. batch.neg is not read for the softmax
// (n_neg = 0). lr [1], step [1]: t >= 1, the number of this step. loss [1], overwritten: L. times may be null; a device
// writes none. The same bits for any number of threads. The CPU throws std::out_of_range for an id out of range before
// anything is written; CUDA fails an assertion.
namespace cpu {
template <class T>
int64_t train_step_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t whole_dim, int64_t n_alphas,
                                   int64_t batch, int64_t n_neg, bool shared);
template <class T>
int64_t train_step(const Bipartite& graph, const StepModel<T>& model, const StepShare<T>& share, const PairBatch& batch,
                   const StepOptions& options, const double* lr, const int64_t* step, acc_t<T>* loss, StepTimes* times,
                   void* workspace, int threads);
}  // namespace cpu

// Every pointer is device memory, also those within `model`.
namespace cuda {
template <class T>
int64_t train_step_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t whole_dim, int64_t n_alphas,
                                   int64_t batch, int64_t n_neg, bool shared);
template <class T>
int64_t train_step(const Bipartite& graph, const StepModel<T>& model, const StepShare<T>& share, const PairBatch& batch,
                   const StepOptions& options, const double* lr, const int64_t* step, acc_t<T>* loss, StepTimes* times,
                   void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
