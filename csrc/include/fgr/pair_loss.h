// The losses on pairs of scores, s(u, i) = <user_emb[u], item_emb[i]>. For row b: u = users[b], p = pos[b], its
// negatives n = neg[b, :] (or the one row neg[0, :] that the batch shares), V_b = how many of them are not -1 and not
// masked.
//   bpr:    loss = 1/B sum_b 1/V_b sum_n softplus(s(u, n) - s(u, p))                       (Rendle et al. 2009)
//   binary: loss = 1/B sum_b softplus(-s(u, p)) + 1/B sum_b 1/V_b sum_n softplus(s(u, n))  (two separate means)
//   max_margin: loss = 1/B sum_b 1/V_b sum_n max(0, s(u, n) - s(u, p) + margin)            (Ying et al. 2018, eq. 1)
// where a sum over no negatives is 0.
#pragma once

#include "common/loss_math.h"
#include "fgr/types.h"

namespace fgr {

// The ids of one batch. users, pos [batch]; neg [shared ? 1 : batch, n_neg], -1 = none. mask [batch, n_neg] or null,
// with shared negatives only: 0 = none for this row. (A byte a pair; rows of ids would take eight, and a sort of all of
// them.)
struct PairBatch {
  const int64_t* users;
  const int64_t* pos;
  const int64_t* neg;
  int64_t batch;
  int64_t n_neg;
  bool shared;
  const uint8_t* mask = nullptr;
  int64_t n_neg_rows() const { return shared ? (batch > 0 ? 1 : 0) : batch; }
  // Whether row b takes its j-th negative.
  FGR_HOST_DEVICE bool takes(int64_t b, int64_t j) const {
    return neg[(shared ? 0 : b * n_neg) + j] >= 0 && (mask == nullptr || mask[b * n_neg + j] != 0);
  }
};

// Forward, with the gradient in compressed form (upstream gradient 1):
//   loss      [1]
//   user_rows [batch, dim]   dL/d user_emb[users[b]], the part of row b; on the CPU null where it is not wanted
//   pos_coef  [batch]        dL/d s(u, p)
//   neg_coef  [batch, n_neg] dL/d s(u, n), 0 where row b takes none
//   neg_rows  [n_neg, dim]   only if shared, else null: dL/d item_emb[neg[0, m]], summed over the batch in a fixed
//   order
// All are overwritten. user_emb [n_users, dim], item_emb [n_items, dim]. batch = 0 gives loss 0; n_neg may be 0.
// Workspace: on the CPU a double per row of the batch, whatever else. Sums run in a fixed order: the same bits for any
// number of threads. The CPU throws std::out_of_range for an id out of range (neg may be -1), before anything is
// written; CUDA fails an assertion.

namespace cpu {
inline int64_t pair_loss_workspace_bytes(int64_t batch, int64_t, int64_t, bool, int64_t) {
  return batch * static_cast<int64_t>(sizeof(double));
}
template <class T>
void pair_loss(PairLoss kind, double margin, const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items,
               int64_t dim, const PairBatch& batch, acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* pos_coef,
               acc_t<T>* neg_coef, acc_t<T>* neg_rows, void* workspace, int threads);
}  // namespace cpu
namespace cuda {
int64_t pair_loss_workspace_bytes(int64_t batch, int64_t n_neg, int64_t dim, bool shared, int64_t accumulator_size);
template <class T>
void pair_loss(PairLoss kind, double margin, const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items,
               int64_t dim, const PairBatch& batch, acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* pos_coef,
               acc_t<T>* neg_coef, acc_t<T>* neg_rows, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
