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

// Negatives of each row's own: one warp a row b; over negatives the same sums in the same order as cpu/pair_loss.cpp.
template <class T>
__global__ void __launch_bounds__(block_threads) rows_kernel(PairArgs<T> a) {
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

// Shared negatives, first: neg_coef gets the scores, which are a product. A block makes a tile of them, a thread the
// scores of one negative.
constexpr int score_rows = 16, score_depth = 16;

template <class T>
__global__ void __launch_bounds__(block_threads) scores_kernel(PairArgs<T> a) {
  using A = acc_t<T>;
  FGR_SHARED(A, users, [score_depth][score_rows]);
  FGR_SHARED(A, items, [block_threads][score_depth + 1]);
  const int64_t m = a.batch.n_neg, tiles = (m + block_threads - 1) / block_threads;
  const int64_t b0 = blockIdx.x / tiles * score_rows, j0 = blockIdx.x % tiles * block_threads;
  A sum[score_rows] = {};
  for (int64_t c0 = 0; c0 < a.dim; c0 += score_depth) {
    for (int i = static_cast<int>(threadIdx.x); i < score_rows * score_depth; i += block_threads) {
      const int r = i / score_depth, c = i % score_depth;
      users[c][r] = b0 + r < a.batch.batch && c0 + c < a.dim
                        ? load(a.user_emb[checked_id(a.batch.users[b0 + r], 0, a.n_users, "users") * a.dim + c0 + c])
                        : A(0);
    }
#pragma unroll 8
    for (int i = static_cast<int>(threadIdx.x); i < block_threads * score_depth; i += block_threads) {
      const int j = i / score_depth, c = i % score_depth;
      const int64_t id = j0 + j < m ? checked_id(a.batch.neg[j0 + j], -1, a.n_items, "neg") : -1;
      items[j][c] = id >= 0 && c0 + c < a.dim ? load(a.item_emb[id * a.dim + c0 + c]) : A(0);
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < score_depth; ++c) {
      const A item = items[threadIdx.x][c];
#pragma unroll
      for (int r = 0; r < score_rows; ++r) sum[r] += users[c][r] * item;
    }
    __syncthreads();
  }
  const int64_t j = j0 + threadIdx.x;
#pragma unroll
  for (int r = 0; r < score_rows; ++r) {
    if (j < m && b0 + r < a.batch.batch) a.neg_coef[(b0 + r) * m + j] = sum[r];
  }
}

// Second, a warp a row: its loss, its coefficients in place of the scores, and what its positive adds to user_rows.
template <class T>
__global__ void __launch_bounds__(block_threads) coefficients_kernel(PairArgs<T> a) {
  using A = acc_t<T>;
  const int64_t b = global_warp();
  if (b >= a.batch.batch) return;
  const int64_t m = a.batch.n_neg;
  const T* u = a.user_emb + checked_id(a.batch.users[b], 0, a.n_users, "users") * a.dim;
  const T* p = a.item_emb + checked_id(a.batch.pos[b], 0, a.n_items, "pos") * a.dim;
  A* row = a.neg_coef + b * m;
  int valid = 0;
  for (int64_t j = lane(); j < m; j += warp) valid += a.batch.takes(b, j);
  valid = warp_sum(valid);
  const A inv_batch = A(1) / static_cast<A>(a.batch.batch);
  const A weight = valid > 0 ? inv_batch / static_cast<A>(valid) : A(0);
  const A s_pos = warp_dot(u, p, a.dim);
  const bool binary = a.kind == PairLoss::binary;
  double sum = 0;
  A coefs = 0;
  for (int64_t j = lane(); j < m; j += warp) {
    const bool takes = a.batch.takes(b, j);
    const A z = binary ? row[j] : row[j] - s_pos + static_cast<A>(a.margin);
    const A coef = takes ? weight * pair_slope_at(a.kind, z) : A(0);
    if (takes) sum += static_cast<double>(weight * pair_loss_at(a.kind, z));
    coefs += coef;
    row[j] = coef;
  }
  sum = warp_sum(sum);
  coefs = warp_sum(coefs);
  const A d_pos = binary ? -inv_batch * sigmoid(-s_pos) : -coefs;
  if (binary) sum += static_cast<double>(inv_batch * softplus(-s_pos));
  for (int64_t c = lane(); c < a.dim; c += warp) a.user_rows[b * a.dim + c] = d_pos * load(p[c]);
  if (lane() == 0) {
    a.pos_coef[b] = d_pos;
    a.row_loss[b] = sum;
  }
}

// Third: out[r, :] (+)= sum over k of the coefficient of (r, k) times the embedding ids[k]. A block makes gradient_rows
// rows of 32 columns, a lane a column; its warps share out k in equal parts, whose sums are added in order.
constexpr int gradient_rows = 16, gradient_warps = 8;

template <bool of_negatives, class T>
__global__ void __launch_bounds__(gradient_warps* warp)
    gradient_kernel(const T* emb, const int64_t* ids, int64_t dim, int64_t n_rows, int64_t n_terms,
                    const acc_t<T>* coef, acc_t<T>* out) {
  using A = acc_t<T>;
  FGR_SHARED(A, parts, [gradient_warps][gradient_rows][warp]);
  const int64_t tiles = (dim + warp - 1) / warp;
  const int64_t r0 = blockIdx.x / tiles * gradient_rows, c = blockIdx.x % tiles * warp + lane();
  const int w = static_cast<int>(threadIdx.x / warp);
  const int64_t part = (n_terms + gradient_warps - 1) / gradient_warps, begin = w * part;
  const int64_t end = begin + part < n_terms ? begin + part : n_terms;
  const int64_t r_step = of_negatives ? 1 : n_terms, k_step = of_negatives ? n_rows : 1;
  const int rows = static_cast<int>(n_rows - r0 < gradient_rows ? n_rows - r0 : gradient_rows);
  A sum[gradient_rows] = {};
#pragma unroll 4
  for (int64_t k = begin; k < end; ++k) {
    const int64_t id = ids[k];
    const A x = id >= 0 && c < dim ? load(emb[id * dim + c]) : A(0);
    const A* at = coef + r0 * r_step + k * k_step;
#pragma unroll
    for (int r = 0; r < gradient_rows; ++r) {
      const A by = r < rows ? at[r * r_step] : A(0);
      sum[r] += of_negatives || by != A(0) ? by * x : A(0);  // a row reads nothing of the negatives it does not take
    }
  }
#pragma unroll
  for (int r = 0; r < gradient_rows; ++r) parts[w][r][lane()] = sum[r];
  __syncthreads();
  for (int r = w; r < rows; r += gradient_warps) {
    if (c >= dim) continue;
    A* to = out + (r0 + r) * dim + c;
    A total = of_negatives ? A(0) : *to;
    for (int q = 0; q < gradient_warps; ++q) total += parts[q][r][lane()];
    *to = total;
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
  const int64_t row_blocks = blocks_for(batch.batch, rows_per_block);
  if (batch.shared) {
    const int64_t m = batch.n_neg, column_tiles = blocks_for(dim, warp);
    launch("pair_loss", scores_kernel<T>, blocks_for(batch.batch, score_rows) * blocks_for(m, block_threads),
           block_threads, 0, stream, args);
    launch("pair_loss", coefficients_kernel<T>, row_blocks, block_threads, 0, stream, args);
    launch("pair_loss", gradient_kernel<false, T>, blocks_for(batch.batch, gradient_rows) * column_tiles,
           gradient_warps * warp, 0, stream, item_emb, batch.neg, dim, batch.batch, m, neg_coef, user_rows);
    launch("pair_loss", gradient_kernel<true, T>, blocks_for(m, gradient_rows) * column_tiles, gradient_warps * warp, 0,
           stream, user_emb, batch.users, dim, m, batch.batch, neg_coef, neg_rows);
  } else {
    launch("pair_loss", rows_kernel<T>, row_blocks, block_threads, 0, stream, args);
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
