#include "cuda/device.cuh"
#include "fgr/pair_loss.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 128;  // four rows of the batch a block

template <class T>
struct PairArgs {
  PairLoss kind;
  double margin;
  const T* user_emb;
  int64_t n_users;
  const T* item_emb;
  int64_t n_items;
  int64_t dim;
  PairBatch batch;
  acc_t<T>*user_rows, *pos_coef, *neg_coef;
  double* row_loss;
};

// One warp a row b of the batch; the same sums in the same order as cpu/pair_loss.cpp.
template <class T>
__global__ void __launch_bounds__(block_threads) rows_kernel(PairArgs<T> a) {
  using A = acc_t<T>;
  const int64_t b = global_warp();
  if (b >= a.batch.batch) return;
  const int64_t m = a.batch.n_neg;
  const T* u = a.user_emb + checked_id(a.batch.users[b], 0, a.n_users, "users") * a.dim;
  const T* p = a.item_emb + checked_id(a.batch.pos[b], 0, a.n_items, "pos") * a.dim;
  const int64_t* neg = a.batch.neg + (a.batch.shared ? 0 : b * m);
  int64_t valid = 0;
  for (int64_t j = 0; j < m; ++j) valid += a.batch.takes(b, j);
  const A inv_batch = A(1) / static_cast<A>(a.batch.batch);
  const A weight = valid > 0 ? inv_batch / static_cast<A>(valid) : A(0);
  const A s_pos = warp_dot(u, p, a.dim);
  A* du = a.user_rows + b * a.dim;
  for (int64_t c = lane(); c < a.dim; c += warp) du[c] = 0;
  double sum = 0;
  A d_pos = 0;
  if (a.kind == PairLoss::binary) {
    sum = static_cast<double>(inv_batch * softplus(-s_pos));
    d_pos = -inv_batch * sigmoid(-s_pos);
  }
  for (int64_t j = 0; j < m; ++j) {
    A coef = 0;
    if (checked_id(neg[j], -1, a.n_items, "neg") >= 0 && a.batch.takes(b, j)) {
      const T* n = a.item_emb + neg[j] * a.dim;
      const A s_neg = warp_dot(u, n, a.dim);
      const A z = a.kind == PairLoss::binary ? s_neg : s_neg - s_pos + static_cast<A>(a.margin);
      sum += static_cast<double>(weight * pair_loss_at(a.kind, z));
      coef = weight * pair_slope_at(a.kind, z);
      if (a.kind != PairLoss::binary) d_pos -= coef;
      for (int64_t c = lane(); c < a.dim; c += warp) du[c] += coef * load(n[c]);
    }
    if (lane() == 0) a.neg_coef[b * m + j] = coef;
  }
  for (int64_t c = lane(); c < a.dim; c += warp) du[c] += d_pos * load(p[c]);
  if (lane() == 0) {
    a.pos_coef[b] = d_pos;
    a.row_loss[b] = sum;
  }
}

// Shared negatives: one warp a negative m, over the batch in order.
template <class T>
__global__ void __launch_bounds__(block_threads)
    shared_kernel(const T* user_emb, int64_t dim, PairBatch batch, const acc_t<T>* neg_coef, acc_t<T>* neg_rows) {
  const int64_t m = global_warp();
  if (m >= batch.n_neg) return;
  for (int64_t c = lane(); c < dim; c += warp) {
    acc_t<T> sum = 0;
    for (int64_t b = 0; b < batch.batch; ++b)
      sum += neg_coef[b * batch.n_neg + m] * load(user_emb[batch.users[b] * dim + c]);
    neg_rows[m * dim + c] = sum;
  }
}

}  // namespace

template <class T>
void pair_loss(PairLoss kind, double margin, const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items,
               int64_t dim, const PairBatch& batch, acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* pos_coef,
               acc_t<T>* neg_coef, acc_t<T>* neg_rows, void* workspace, void* stream) {
  constexpr int rows_per_block = block_threads / warp;
  double* row_loss = static_cast<double*>(workspace);
  const PairArgs<T> args{kind, margin, user_emb,  n_users,  item_emb, n_items,
                         dim,  batch,  user_rows, pos_coef, neg_coef, row_loss};
  launch("pair_loss", rows_kernel<T>, blocks_for(batch.batch, rows_per_block), block_threads, 0, stream, args);
  if (batch.shared) {
    launch("pair_loss", shared_kernel<T>, blocks_for(batch.n_neg, rows_per_block), block_threads, 0, stream, user_emb,
           dim, batch, neg_coef, neg_rows);
  }
  launch("pair_loss", ordered_sum<acc_t<T>>, 1, 256, 0, stream, row_loss, batch.batch, 1.0, loss, false);
}

#define FGR_INSTANTIATE(T)                                                                                      \
  template void pair_loss<T>(PairLoss, double, const T*, int64_t, const T*, int64_t, int64_t, const PairBatch&, \
                             acc_t<T>*, acc_t<T>*, acc_t<T>*, acc_t<T>*, acc_t<T>*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
