// In-batch softmax on cosine scores (sampled softmax with the batch's other positives as negatives; Wu et al. 2022, "On
// the effectiveness of sampled softmax loss for item recommendation", eq. 7):
//   s(b, j) = cos(user_emb[users[b]], item_emb[pos[j]]) / t + bias[j],  loss = 1/B sum_b ( w log sum_j exp s(b, j) -
//   s(b, b) ).
#pragma once

#include "fgr/types.h"

namespace fgr {

template <class A>
struct SoftmaxOptions {
  double temperature;      // t > 0
  double negative_weight;  // w >= 0
  const A* bias;           // [batch] or null (= 0)
};

// Forward, with the gradient in compressed form (upstream gradient 1):
//   loss [1]; user_rows, item_rows [batch, dim]: dL/d user_emb[users[b]] and dL/d item_emb[pos[b]], the parts of row b,
//   already through the normalisation. A row's norm is taken as max(norm, 1e-12).
// users, pos [batch], equal ids allowed. batch = 0 gives loss 0.
// The softmax is taken with the row's maximum subtracted. Sums run in a fixed order: the same bits for any number of
// threads. The CPU throws std::out_of_range for an id out of range before anything is written; CUDA fails an assertion.

namespace cpu {
int64_t softmax_loss_workspace_bytes(int64_t batch, int64_t dim, int64_t accumulator_size);
template <class T>
void softmax_loss(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                  const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                  acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* item_rows, void* workspace, int threads);

// The same shared out among processes, each of which has all rows of the batch and answers for [first, last) of them:
// softmax_users makes the scores of these users and their gradient; what they give the items of each process goes
// there; softmax_items, on the same workspace, makes the gradient of these items and the loss. The same bits as
// softmax_loss.
template <class A>
struct SoftmaxShare {
  int64_t first, last;
  A* scores;   // exp(s(b, j) - max_j s): of softmax_users [last - first, batch], of softmax_items [batch, last - first]
  int64_t ld;  // from one row of scores to the next
  A* factor;   // [last - first] or [batch], and so
  double* row_loss;  //
  A* grad;           // [last - first, dim] user_rows or item_rows
};
template <class T>
void softmax_users(const T* user_emb, const T* item_emb, int64_t dim, const int64_t* users, const int64_t* pos,
                   int64_t batch, const SoftmaxOptions<acc_t<T>>& options, const SoftmaxShare<acc_t<T>>& share,
                   void* workspace, int threads);
template <class T>
void softmax_items(int64_t dim, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                   const SoftmaxShare<acc_t<T>>& share, acc_t<T>* loss, void* workspace, int threads);
}  // namespace cpu
namespace cuda {
int64_t softmax_loss_workspace_bytes(int64_t batch, int64_t dim, int64_t accumulator_size);

template <class T>
void softmax_loss(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                  const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                  acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* item_rows, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
