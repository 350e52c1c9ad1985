// One training step of a LightGCN (or, without layers, of matrix factorization) in one call:
//   z = sum_k alphas[k] B^k E with B = diag(left) A diag(right)                            (see propagate.h)
//   L = loss(z; batch) + reg / batch * 1/2 * sum over the batch's nodes n, repeats counted, of |E_n|^2
//   E <- Adam(E, dL/dE)                                                                    (see adam_step.h)
// What makes it cheaper than its parts:
//   - the loss reads z at the batch's nodes only, so the last hop forwards computes those rows and the first hop
//   backwards
//     reads those columns (He et al.'s model at batch 2,048 on gowalla: 12 % of the edges);
//   - the last hop backwards hands each gradient row to Adam while it is in registers: there is no gradient array;
//   - nothing is allocated.
#pragma once

#include "fgr/adam_step.h"
#include "fgr/pair_loss.h"
#include "fgr/types.h"

namespace fgr {

// The first three are PairLoss's.
enum class StepLoss : int { bpr = 0, binary = 1, max_margin = 2, softmax = 3 };

// The model: A = acc_t<T>, T the type in which layers are stored between hops.
template <class T>
struct StepModel {
  int64_t dim;
  const acc_t<T>* alphas;               // [n_alphas]
  int64_t n_alphas;                     // K + 1 >= 1
  const acc_t<T>*left, *right;          // [n_nodes] or null (= 1)
  acc_t<T>*emb, *exp_avg, *exp_avg_sq;  // [n_nodes, dim], updated in place
  const acc_t<T>* item_bias;            // [n_items], the softmax's bias of an item, or null (= 0)
  T* shadow;  // [n_nodes, dim] = T(right * emb) on entry and on return; null: none is kept (T = bf16 needs one if K >=
              // 1)
};

struct StepOptions {
  StepLoss loss;
  double temperature, negative_weight;  // of the softmax
  double margin;                        // of max_margin, else 0
  double reg;
  AdamOptions adam;
};

// Seconds spent in the parts of a step, added up over calls.
struct StepTimes {
  double forward, loss, seed, backward, update;  // update: the last hop backwards with Adam
};

// batch.neg is not read for the softmax (n_neg = 0). lr [1], step [1]: t >= 1, the number of this step. loss [1],
// overwritten: L. times may be null; a device writes none. The same bits for any number of threads. The CPU throws
// std::out_of_range for an id out of range before anything is written; CUDA fails an assertion.
namespace cpu {
template <class T>
int64_t train_step_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t n_alphas, int64_t batch, int64_t n_neg,
                                   bool shared);
template <class T>
void train_step(const Bipartite& graph, const StepModel<T>& model, const PairBatch& batch, const StepOptions& options,
                const double* lr, const int64_t* step, acc_t<T>* loss, StepTimes* times, void* workspace, int threads);
}  // namespace cpu

// Every pointer is device memory, also those within `model`.
namespace cuda {
template <class T>
int64_t train_step_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t n_alphas, int64_t batch, int64_t n_neg,
                                   bool shared);
template <class T>
void train_step(const Bipartite& graph, const StepModel<T>& model, const PairBatch& batch, const StepOptions& options,
                const double* lr, const int64_t* step, acc_t<T>* loss, StepTimes* times, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
