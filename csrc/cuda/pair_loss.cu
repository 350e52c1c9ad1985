#include "cuda/pair_split.cuh"

namespace fgr::cuda {
namespace {

// Negatives of each row's own: one warp a row b; over negatives the same sums in the same order as cpu/pair_loss.cpp.
template <class T>
__global__ void __launch_bounds__(pair_block) rows_kernel(PairArgs<T> a) {
  using A = acc_t<T>;
  const int64_t b = global_warp();
  if (b >= a.batch.batch) return;
  const int64_t m = a.batch.n_neg;
  const T* u = a.user_emb + checked_id(a.batch.users[b], 0, a.n_users, "users") * a.dim;
  const T* p = a.item_emb + checked_id(a.batch.pos[b], 0, a.n_items, "pos") * a.dim;
  const int64_t* neg = a.batch.neg + b * m;
  int64_t valid = 0;
  for (int64_t j = 0; j < m; ++j) valid += a.batch.takes(b, j);
  const A inv_batch = A(1) / static_cast<A>(a.batch.batch);
  const A weight = valid > 0 ? inv_batch / static_cast<A>(valid) : A(0);
  const A s_pos = warp_dot(u, p, a.dim);
  A* du = a.user_rows + b * a.dim;
  for (int64_t c = lane(); c < a.dim; c += warp) du[c] = 0;
  double sum = 0;
  double d_pos = 0;
  if (a.kind == PairLoss::binary) {
    sum = static_cast<double>(inv_batch * softplus(-s_pos));
    d_pos = static_cast<double>(-inv_batch * sigmoid(-s_pos));
  }
  for (int64_t j = 0; j < m; ++j) {
    A coef = 0;
    if (checked_id(neg[j], -1, a.n_items, "neg") >= 0 && a.batch.takes(b, j)) {
      const T* n = a.item_emb + neg[j] * a.dim;
      const A s_neg = warp_dot(u, n, a.dim);
      const A z = a.kind == PairLoss::binary ? s_neg : s_neg - s_pos + static_cast<A>(a.margin);
      sum += static_cast<double>(weight * pair_loss_at(a.kind, z));
      coef = weight * pair_slope_at(a.kind, z);
      if (a.kind != PairLoss::binary) d_pos -= static_cast<double>(coef);
      for (int64_t c = lane(); c < a.dim; c += warp) du[c] += coef * load(n[c]);
    }
    if (lane() == 0) a.neg_coef[b * m + j] = coef;
  }
  const A of_pos = static_cast<A>(d_pos);
  for (int64_t c = lane(); c < a.dim; c += warp) du[c] += of_pos * load(p[c]);
  if (lane() == 0) {
    a.pos_coef[b] = of_pos;
    a.row_loss[b] = sum;
  }
}

}  // namespace

int64_t pair_loss_workspace_bytes(int64_t batch, int64_t n_neg, int64_t dim, bool shared, int64_t accumulator_size) {
  return PairSpace(nullptr, batch, n_neg, dim, shared, accumulator_size).arena.used;
}

template <class T>
void pair_loss(PairLoss kind, double margin, const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items,
               int64_t dim, const PairBatch& batch, acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* pos_coef,
               acc_t<T>* neg_coef, acc_t<T>* neg_rows, void* workspace, void* stream) {
  const PairSpace space(workspace, batch.batch, batch.n_neg, dim, batch.shared, sizeof(acc_t<T>));
  const PairArgs<T> args{kind, margin, user_emb,  n_users,  item_emb, n_items,
                         dim,  batch,  user_rows, pos_coef, neg_coef, space.row_loss};
  if (batch.shared) {
    if constexpr (sizeof(acc_t<T>) == sizeof(float)) {
      if (space.split) return pair_split(args, space, loss, neg_rows, stream);
    }
    return pair_simt(args, loss, neg_rows, stream);
  }
  launch("pair_loss", rows_kernel<T>, blocks_for(batch.batch, pair_block / warp), pair_block, 0, stream, args);
  launch("pair_loss", ordered_sum<acc_t<T>>, 1, 256, 0, stream, space.row_loss, batch.batch, 1.0, loss, false);
}

#define FGR_INSTANTIATE(T)                                                                                      \
  template void pair_loss<T>(PairLoss, double, const T*, int64_t, const T*, int64_t, int64_t, const PairBatch&, \
                             acc_t<T>*, acc_t<T>*, acc_t<T>*, acc_t<T>*, acc_t<T>*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
