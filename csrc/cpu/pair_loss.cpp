#include "fgr/pair_loss.h"

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

template <class T>
void pair_loss(PairLoss kind, double margin, const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items,
               int64_t dim, const PairBatch& batch, acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* pos_coef,
               acc_t<T>* neg_coef, acc_t<T>* neg_rows, void* workspace, int threads) {
  using A = acc_t<T>;
  check_ids("users", batch.users, batch.batch, 0, n_users);
  check_ids("pos", batch.pos, batch.batch, 0, n_items);
  check_ids("neg", batch.neg, batch.n_neg_rows() * batch.n_neg, -1, n_items);
  double* row_loss = static_cast<double*>(workspace);
  const A inv_batch = batch.batch > 0 ? A(1) / static_cast<A>(batch.batch) : A(0);
  const int64_t m = batch.n_neg;

  parallel_for(batch.batch, 2 * dim * (m + 1), threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* u = user_emb + batch.users[b] * dim;
      const T* p = item_emb + batch.pos[b] * dim;
      const int64_t* neg = batch.neg + (batch.shared ? 0 : b * m);
      int64_t valid = 0;
      for (int64_t j = 0; j < m; ++j) valid += batch.takes(b, j);
      const A weight = valid > 0 ? inv_batch / static_cast<A>(valid) : A(0);
      const A s_pos = kernels<T>().dot(u, p, dim);
      A* du = user_rows != nullptr ? user_rows + b * dim : nullptr;
      for (int64_t c = 0; du != nullptr && c < dim; ++c) du[c] = 0;
      double sum = 0;
      double d_pos = 0;  // a sum of many alike, in which a float would lose digits
      if (kind == PairLoss::binary) {
        sum = static_cast<double>(inv_batch * softplus(-s_pos));
        d_pos = static_cast<double>(-inv_batch * sigmoid(-s_pos));
      }
      for (int64_t j = 0; j < m; ++j) {
        A& coef = neg_coef[b * m + j];
        coef = 0;
        if (!batch.takes(b, j)) continue;
        const T* n = item_emb + neg[j] * dim;
        const A s_neg = kernels<T>().dot(u, n, dim);
        const A z = kind == PairLoss::binary ? s_neg : s_neg - s_pos + static_cast<A>(margin);
        sum += static_cast<double>(weight * pair_loss_at(kind, z));
        coef = weight * pair_slope_at(kind, z);
        if (kind != PairLoss::binary) d_pos -= static_cast<double>(coef);
        if (du != nullptr) kernels<T>().axpy(du, coef, n, dim);
      }
      pos_coef[b] = static_cast<A>(d_pos);
      if (du != nullptr) kernels<T>().axpy(du, pos_coef[b], p, dim);
      row_loss[b] = sum;
    }
  });
  if (batch.shared) {
    constexpr int64_t block = 8;  // negatives that share a pass over the users' rows
    parallel_for((m + block - 1) / block, block * batch.batch * dim, threads, [&](int64_t first, int64_t last) {
      const int64_t begin = first * block, end = std::min(m, last * block);
      for (int64_t i = begin * dim; i < end * dim; ++i) neg_rows[i] = 0;
      for (int64_t b = 0; b < batch.batch; ++b) {
        const T* u = user_emb + batch.users[b] * dim;
        for (int64_t j = begin; j < end; ++j) kernels<T>().axpy(neg_rows + j * dim, neg_coef[b * m + j], u, dim);
      }
    });
  }
  double total = 0;
  for (int64_t b = 0; b < batch.batch; ++b) total += row_loss[b];
  *loss = static_cast<A>(total);
}

#define FGR_INSTANTIATE(T)                                                                                      \
  template void pair_loss<T>(PairLoss, double, const T*, int64_t, const T*, int64_t, int64_t, const PairBatch&, \
                             acc_t<T>*, acc_t<T>*, acc_t<T>*, acc_t<T>*, acc_t<T>*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
