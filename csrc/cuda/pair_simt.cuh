// Negatives that a batch shares, by multiply-adds without tensor cores.
#pragma once

#include "cuda/pair_loss.cuh"

namespace fgr::cuda {

// First: neg_coef gets the scores, which are a product. A block makes a tile of them, a thread the scores of one
// negative. Where products of halves can be made (findings, null: they are not wanted) all kernels are done at once.
constexpr int score_rows = 16, score_depth = 16;

template <class T>
__global__ void __launch_bounds__(pair_block) scores_kernel(PairArgs<T> a, const PairFindings* findings) {
  if (findings != nullptr && are_fit(findings)) return;
  using A = acc_t<T>;
  FGR_SHARED(A, users, [score_depth][score_rows]);
  FGR_SHARED(A, items, [pair_block][score_depth + 1]);
  const int64_t m = a.batch.n_neg, tiles = (m + pair_block - 1) / pair_block;
  const int64_t b0 = blockIdx.x / tiles * score_rows, j0 = blockIdx.x % tiles * pair_block;
  A sum[score_rows] = {};
  for (int64_t c0 = 0; c0 < a.dim; c0 += score_depth) {
    for (int i = static_cast<int>(threadIdx.x); i < score_rows * score_depth; i += pair_block) {
      const int r = i / score_depth, c = i % score_depth;
      users[c][r] = b0 + r < a.batch.batch && c0 + c < a.dim
                        ? load(a.user_emb[checked_id(a.batch.users[b0 + r], 0, a.n_users, "users") * a.dim + c0 + c])
                        : A(0);
    }
#pragma unroll 8
    for (int i = static_cast<int>(threadIdx.x); i < pair_block * score_depth; i += pair_block) {
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

// Second the coefficients. Third: out[r, :] (+)= sum over k of the coefficient of (r, k) times the embedding ids[k]. A
// block makes gradient_rows rows of 32 columns, a lane a column; its warps share out k in equal parts, whose sums are
// added in order.
constexpr int gradient_rows = 16, gradient_warps = 8;

template <bool of_negatives, class T>
__global__ void __launch_bounds__(gradient_warps* warp)
    gradient_kernel(const T* emb, const int64_t* ids, int64_t dim, int64_t n_rows, int64_t n_terms,
                    const acc_t<T>* coef, acc_t<T>* out, const PairFindings* findings) {
  if (findings != nullptr && are_fit(findings)) return;
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

template <class T>
void launch_simt_scores(const PairArgs<T>& a, const PairFindings* findings, void* stream) {
  launch("pair_loss", scores_kernel<T>, blocks_for(a.batch.batch, score_rows) * blocks_for(a.batch.n_neg, pair_block),
         pair_block, 0, stream, a, findings);
}
template <class T>
void launch_simt_gradients(const PairArgs<T>& a, acc_t<T>* neg_rows, const PairFindings* findings, void* stream) {
  const PairBatch& of = a.batch;
  const int64_t column_tiles = blocks_for(a.dim, warp);
  launch("pair_loss", gradient_kernel<false, T>, blocks_for(of.batch, gradient_rows) * column_tiles,
         gradient_warps * warp, 0, stream, a.item_emb, of.neg, a.dim, of.batch, of.n_neg, a.neg_coef, a.user_rows,
         findings);
  launch("pair_loss", gradient_kernel<true, T>, blocks_for(of.n_neg, gradient_rows) * column_tiles,
         gradient_warps * warp, 0, stream, a.user_emb, of.users, a.dim, of.n_neg, of.batch, a.neg_coef, neg_rows,
         findings);
}

template <class T>
void pair_simt(const PairArgs<T>& a, acc_t<T>* loss, acc_t<T>* neg_rows, void* stream) {
  launch_simt_scores<T>(a, nullptr, stream);
  launch("pair_loss", coefficients_kernel<T, 1>, blocks_for(a.batch.batch, pair_block / warp), pair_block, 0, stream, a,
         PairScores{});
  launch_simt_gradients<T>(a, neg_rows, nullptr, stream);
  launch("pair_loss", ordered_sum<acc_t<T>>, 1, 256, 0, stream, a.row_loss, a.batch.batch, 1.0, loss, false);
}

}  // namespace fgr::cuda
