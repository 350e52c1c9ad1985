// What the ways to make a loss on pairs of scores share.
#pragma once

#include "cuda/device.cuh"
#include "fgr/pair_loss.h"

namespace fgr::cuda {

constexpr int pair_block = 128;  // threads of a block whose warps have rows of their own

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

// What products of halves need to know (pair_split.cuh), and whether they can be made.
struct PairFindings {
  uint32_t users, items;  // bits of the largest magnitude in rows of the batch: of what is no number the largest of all
  uint32_t coefs;         // of the largest coefficient that is finite
};
__device__ __forceinline__ int exponent_of(uint32_t bits) { return bits == 0 ? 0 : static_cast<int>(bits >> 23) - 127; }
// All numbers are finite, none of the largest so large or small that scales are none; and scores of small rows are not
// off by what those of large ones have: that is 2^-39 of the largest magnitudes' product for each term.
__device__ __forceinline__ bool are_fit(const PairFindings* findings) {
  constexpr int most = 60, most_of_scores = 12;
  const int users = exponent_of(findings->users), items = exponent_of(findings->items);
  return users >= -most && users <= most && items >= -most && items <= most && users + items <= most_of_scores;
}

// A row's scores, where they are not in its coefficients' place.
struct PairScores {
  PairFindings* findings = nullptr;
  const uint8_t* there = nullptr;  // [n_neg] whether a shared negative is not -1
  float* scores = nullptr;         // [batch, pitch], if findings are fit
  int64_t pitch = 0;
};

// The sum over the warps of a row, in order; every thread gets it.
template <int row_warps, class A>
__device__ __forceinline__ A row_sum(A x) {
  x = warp_sum(x);
  if constexpr (row_warps > 1) {
    FGR_SHARED(A, parts, [row_warps]);
    __syncthreads();  // what was there has been read
    if (lane() == 0) parts[threadIdx.x / warp] = x;
    __syncthreads();
    x = parts[0];
    for (int w = 1; w < row_warps; ++w) x += parts[w];
  }
  return x;
}

// Shared negatives, when their scores are known: a row's loss, its coefficients, beside neg_coef in the place of scores
// that are elsewhere, and what its positive adds to user_rows. A warp a row, or a block.
template <class T, int row_warps>
__global__ void __launch_bounds__(pair_block) coefficients_kernel(PairArgs<T> a, PairScores s) {
  using A = acc_t<T>;
  static_assert(row_warps == 1 || row_warps == pair_block / warp);
  constexpr int threads = row_warps * warp, at_once = 4;
  const int64_t b = global_thread() / threads;
  if (b >= a.batch.batch) return;
  const int64_t m = a.batch.n_neg, first = threadIdx.x % threads;
  const T* u = a.user_emb + checked_id(a.batch.users[b], 0, a.n_users, "users") * a.dim;
  const T* p = a.item_emb + checked_id(a.batch.pos[b], 0, a.n_items, "pos") * a.dim;
  A* coefs_of_row = a.neg_coef + b * m;
  A* scores = coefs_of_row;
  bool elsewhere = false;
  if constexpr (sizeof(A) == sizeof(float)) {
    elsewhere = s.findings != nullptr && are_fit(s.findings);
    if (elsewhere) scores = s.scores + b * s.pitch;
  }
  const uint8_t* mask = a.batch.mask != nullptr ? a.batch.mask + b * m : nullptr;
  const auto takes = [&](int64_t j) {  // neither load waits for the other
    const bool there = s.there != nullptr ? s.there[j] != 0 : a.batch.neg[j] >= 0;
    const bool unmasked = mask == nullptr || mask[j] != 0;
    return there & unmasked;
  };
  int valid = 0;
#pragma unroll 4
  for (int64_t j = first; j < m; j += threads) valid += takes(j);
  valid = row_sum<row_warps>(valid);
  const A inv_batch = A(1) / static_cast<A>(a.batch.batch);
  const A weight = valid > 0 ? inv_batch / static_cast<A>(valid) : A(0);
  const A s_pos = warp_dot(u, p, a.dim), margin = static_cast<A>(a.margin);
  const bool binary = a.kind == PairLoss::binary, hinge = a.kind == PairLoss::max_margin;
  double sum = 0;
  A coefs = 0, highest = 0;
  for (int64_t j0 = first; j0 < m; j0 += at_once * threads) {
    A score[at_once];
    bool taken[at_once];
#pragma unroll
    for (int e = 0; e < at_once; ++e) {
      const int64_t j = j0 + e * threads;
      taken[e] = j < m && takes(j);
      score[e] = j < m ? scores[j] : A(0);
    }
#pragma unroll
    for (int e = 0; e < at_once; ++e) {
      const int64_t j = j0 + e * threads;
      const A z = binary ? score[e] : score[e] - s_pos + margin;
      A slope, value;  // which share an exponential
      if (hinge) {
        slope = pair_slope_at(PairLoss::max_margin, z);
        value = pair_loss_at(PairLoss::max_margin, z);
      } else {
        slope = sigmoid(z);
        value = softplus(z);
      }
      const A coef = taken[e] ? weight * slope : A(0);
      sum += static_cast<double>(taken[e] ? weight * value : A(0));
      coefs += coef;
      if (coef > highest && coef < A(HUGE_VALF)) highest = coef;
      if (j >= m) continue;
      coefs_of_row[j] = coef;
      if (elsewhere) scores[j] = coef;
    }
  }
  sum = row_sum<row_warps>(sum);
  coefs = row_sum<row_warps>(coefs);
  const A d_pos = binary ? -inv_batch * sigmoid(-s_pos) : -coefs;
  if (binary) sum += static_cast<double>(inv_batch * softplus(-s_pos));
  for (int64_t c = first; c < a.dim; c += threads) a.user_rows[b * a.dim + c] = d_pos * load(p[c]);
  if constexpr (sizeof(A) == sizeof(float)) {
    if (elsewhere) {
      highest = warp_max(highest);
      uint32_t bits;
      memcpy(&bits, &highest, sizeof bits);
      if (lane() == 0 && bits > __ldcg(&s.findings->coefs)) atomicMax(&s.findings->coefs, bits);
    }
  }
  if (first == 0) {
    a.pos_coef[b] = d_pos;
    a.row_loss[b] = sum;
  }
}

}  // namespace fgr::cuda
