// Negatives that a batch shares, by products on tensor cores: of float and bf16. Scores U N^T, gradients C N and C^T U,
// where U and N are the rows that the batch gathers, split once, each scaled by a power of two so that the largest
// magnitude is from 2^14 to 2^15; C, the coefficients, is scaled so and split where it is multiplied.
//
// What one scale for all rows loses of a number is at most 2^-39 of the largest magnitude. Where that could be seen in
// scores, or rows have what is no finite number, pair_simt.cuh's kernels do the work: all are launched, and those whose
// turn it is not are done at once.
#pragma once

#include "common/arena.h"
#include "cuda/pair_simt.cuh"
#include "cuda/split_product.cuh"

namespace fgr::cuda {

__device__ __forceinline__ float power_of_two(int exponent) {
  const uint32_t bits = static_cast<uint32_t>(exponent + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return power;
}
// The exponent of what makes numbers of this largest magnitude fit halves.
__device__ __forceinline__ int scale_exponent(uint32_t largest) {
  constexpr int least = -100;  // of coefficients, where exponentials have all but vanished
  const int exponent = exponent_of(largest);
  return 14 - (exponent < least ? least : exponent);
}

// The workspace.
struct PairSpace {
  Arena arena;
  bool split;
  int64_t pitch, scores_pitch, user_part, item_part, user_parts, item_parts;
  double* row_loss;  // [batch]
  // Of float and shared negatives alone:
  PairFindings* findings = nullptr;                  // [1]
  uint8_t* there = nullptr;                          // [n_neg]
  Halves *users = nullptr, *items = nullptr;         // [batch, pitch] and [n_neg, pitch]
  float* scores = nullptr;                           // [batch, scores_pitch], then the coefficients
  float *user_sums = nullptr, *item_sums = nullptr;  // [user_parts, batch, pitch] and [item_parts, n_neg, pitch]

  PairSpace(void* workspace, int64_t batch, int64_t n_neg, int64_t dim, bool shared, int64_t accumulator_size)
      : arena{reinterpret_cast<uintptr_t>(workspace)},
        split(shared && accumulator_size == sizeof(float) && batch > 0 && n_neg > 0),
        pitch(whole_slices(dim)),
        scores_pitch(whole_slices(n_neg)),
        user_part(split_part_length(batch, dim, n_neg)),
        item_part(split_part_length(n_neg, dim, batch)),
        user_parts(blocks_for(n_neg, user_part)),
        item_parts(blocks_for(batch, item_part)) {
    row_loss = arena.take<double>(batch);
    if (!split) return;
    findings = arena.take<PairFindings>(1);
    there = arena.take<uint8_t>(n_neg);
    users = arena.take<Halves>(batch * pitch / Halves::size);
    items = arena.take<Halves>(n_neg * pitch / Halves::size);
    scores = arena.take<float>(batch * scores_pitch);
    user_sums = arena.take<float>(user_parts * batch * pitch);
    item_sums = arena.take<float>(item_parts * n_neg * pitch);
  }
};

// Row r of the batch's users and then of its negatives; null: -1.
template <class T>
__device__ __forceinline__ const T* gathered_row(const PairArgs<T>& a, int64_t r) {
  const int64_t j = r - a.batch.batch;
  if (j < 0) return a.user_emb + checked_id(a.batch.users[r], 0, a.n_users, "users") * a.dim;
  const int64_t id = checked_id(a.batch.neg[j], -1, a.n_items, "neg");
  return id >= 0 ? a.item_emb + id * a.dim : nullptr;
}

// The largest magnitudes, as bits, of which a maximum is the same in any order.
template <class T>
__global__ void __launch_bounds__(pair_block) largest_kernel(PairArgs<T> a, PairFindings* findings) {
  const int64_t r = global_warp();
  if (r >= a.batch.batch + a.batch.n_neg) return;
  const T* row = gathered_row(a, r);
  if (row == nullptr) return;
  uint32_t largest = 0;
#pragma unroll 4
  for (int64_t c = lane(); c < a.dim; c += warp) {
    const float x = load(row[c]);
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  largest = warp_max(largest);
  uint32_t* to = r < a.batch.batch ? &findings->users : &findings->items;
  if (lane() == 0 && largest > __ldcg(to)) atomicMax(to, largest);
}

template <class T>
__global__ void __launch_bounds__(pair_block) split_rows_kernel(PairArgs<T> a, PairSpace s) {
  const int64_t r = global_warp();
  if (r >= a.batch.batch + a.batch.n_neg) return;
  const T* row = gathered_row(a, r);
  const int64_t j = r - a.batch.batch;
  if (j >= 0 && lane() == 0) s.there[j] = row != nullptr;
  if (!are_fit(s.findings)) return;
  const float scale = power_of_two(scale_exponent(j < 0 ? s.findings->users : s.findings->items));
  auto* words =
      reinterpret_cast<uint32_t*>(j < 0 ? s.users + r * s.pitch / Halves::size : s.items + j * s.pitch / Halves::size);
  for (int64_t c = 2 * lane(); c < s.pitch; c += 2 * warp) {  // a word of high halves and one of low ones
    const float x = row != nullptr && c < a.dim ? load(row[c]) * scale : 0.0f;
    const float y = row != nullptr && c + 1 < a.dim ? load(row[c + 1]) * scale : 0.0f;
    uint32_t* at = words + c / Halves::size * Halves::size + c % Halves::size / 2;
    split(x, y, at[0], at[Halves::size / 2]);
  }
}

template <class T>
__global__ void __launch_bounds__(T::threads, T::blocks)
    split_pair_scores_kernel(SplitProduct p, const PairFindings* findings) {
  if (!are_fit(findings)) return;
  FGR_SHARED(SplitBuffers<T>, slices);
  const SplitPlace<T> at(p, blockIdx.x);
  SplitSums<T> sum = {};
  split_product_tile<true, true, SplitRows>(p, at, NoOptions{}, slices, sum);
  const float by_users = power_of_two(-scale_exponent(findings->users)),
              by_items = power_of_two(-scale_exponent(findings->items));
#pragma unroll
  for (int i = 0; i < T::warp_m / 16; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
#pragma unroll
      for (int v = 0; v < 4; ++v) sum[i][j][v] = sum[i][j][v] * by_users * by_items;
    }
  }
  store_sums<T>(p, at, sum);
}

// What a warp reads of X's slices, as SplitRows does, where X is the coefficients or their transpose.
struct CoefficientOptions {
  float scale;
};
template <class T, class X, bool along>
struct CoefficientRows {
  float scale;
  FloatRows<X, along> floats;

  __device__ __forceinline__ CoefficientRows(const CoefficientOptions& o, int64_t, int i0, int64_t)
      : scale(o.scale), floats(i0) {}
  __device__ __forceinline__ void begin() {}
  __device__ __forceinline__ void load(const uint4* slice, int i, uint32_t (&high)[4], uint32_t (&low)[4]) const {
    float x[4][2];
    floats.load(slice, i, x);
#pragma unroll
    for (int v = 0; v < 4; ++v) split(x[v][0] * scale, x[v][1] * scale, high[v], low[v]);
  }
};

// Both gradients in parts, of products of the same coefficients.
template <class T>
__global__ void __launch_bounds__(T::threads, T::blocks)
    split_pair_gradient_kernel(SplitProduct of_users, SplitProduct of_items, const PairFindings* findings,
                               unsigned user_blocks) {
  if (!are_fit(findings)) return;
  FGR_SHARED(SplitBuffers<T>, slices);
  const CoefficientOptions options{power_of_two(scale_exponent(findings->coefs))};
  SplitSums<T> sum = {};
  if (blockIdx.x < user_blocks) {
    const SplitPlace<T> at(of_users, blockIdx.x);
    split_product_tile<true, false, CoefficientRows>(of_users, at, options, slices, sum);
    store_sums<T>(of_users, at, sum);
  } else {
    const SplitPlace<T> at(of_items, blockIdx.x - user_blocks);
    split_product_tile<false, false, CoefficientRows>(of_items, at, options, slices, sum);
    store_sums<T>(of_items, at, sum);
  }
}

// The parts, added in order; a warp a row. user_rows have what the positives add. The last block sums the loss.
static __global__ void __launch_bounds__(pair_block)
    add_parts_kernel(PairSpace s, int64_t batch, int64_t n_neg, int64_t dim, float* user_rows, float* neg_rows,
                     float* loss) {
  if (blockIdx.x == gridDim.x - 1) return ordered_sum_of_block(s.row_loss, batch, 1.0, loss, false);
  const int64_t at = global_warp();
  if (at >= batch + n_neg || !are_fit(s.findings)) return;
  const bool user = at < batch;
  const int64_t r = user ? at : at - batch, n_parts = user ? s.user_parts : s.item_parts;
  const int64_t part = (user ? batch : n_neg) * s.pitch;
  const float* sums = (user ? s.user_sums : s.item_sums) + r * s.pitch;
  float* to = (user ? user_rows : neg_rows) + r * dim;
  const float by_coefs = power_of_two(-scale_exponent(s.findings->coefs));
  const float by_rows = power_of_two(-scale_exponent(user ? s.findings->items : s.findings->users));
  for (int64_t c = lane(); c < dim; c += warp) {
    float sum = 0;
#pragma unroll 8
    for (int64_t q = 0; q < n_parts; ++q) sum += sums[q * part + c];
    sum = sum * by_coefs * by_rows;
    to[c] = user ? to[c] + sum : sum;
  }
}

template <class T>
void launch_pair_scores(const SplitProduct& p, const PairFindings* findings, void* stream) {
  launch("pair_loss", split_pair_scores_kernel<T>, blocks_of<T>(p), T::threads, 0, stream, p, findings);
}
template <class T>
void launch_pair_gradient(const SplitProduct& of_users, const SplitProduct& of_items, const PairFindings* findings,
                          void* stream) {
  const int64_t user_blocks = blocks_of<T>(of_users);
  launch("pair_loss", split_pair_gradient_kernel<T>, user_blocks + blocks_of<T>(of_items), T::threads, 0, stream,
         of_users, of_items, findings, static_cast<unsigned>(user_blocks));
}

template <class T>
void pair_split(const PairArgs<T>& a, const PairSpace& s, float* loss, float* neg_rows, void* stream) {
#if defined(FGR_EMULATE)
  constexpr int64_t enough = 3;     // so that the tests' small products are of both kinds of tiles
  constexpr int64_t long_row = 64;  // and their rows of both lengths
#else
  constexpr int64_t enough = 132;
  constexpr int64_t long_row = 256;  // of coefficients, whose threads then are a block
#endif
  using Narrow = SplitTile<64>;
  using Wide = SplitTile<128>;
  constexpr int per_block = pair_block / warp;
  const char* op = "pair_loss";
  const int64_t batch = a.batch.batch, m = a.batch.n_neg, rows = batch + m;
  check(cudaMemsetAsync(s.findings, 0, sizeof(PairFindings), static_cast<cudaStream_t>(stream)), op);
  launch(op, largest_kernel<T>, blocks_for(rows, per_block), pair_block, 0, stream, a, s.findings);
  launch(op, split_rows_kernel<T>, blocks_for(rows, per_block), pair_block, 0, stream, a, s);
  const SplitProduct of_scores{s.users, s.pitch, s.items,  s.pitch,        batch,
                               m,       a.dim,   s.scores, s.scores_pitch, std::max<int64_t>(a.dim, 1)};
  blocks_of<Wide>(of_scores) >= enough ? launch_pair_scores<Wide>(of_scores, s.findings, stream)
                                       : launch_pair_scores<Narrow>(of_scores, s.findings, stream);
  launch_simt_scores<T>(a, s.findings, stream);
  const PairScores scores{s.findings, s.there, s.scores, s.scores_pitch};
  if (m > long_row) {
    launch(op, coefficients_kernel<T, per_block>, batch, pair_block, 0, stream, a, scores);
  } else {
    launch(op, coefficients_kernel<T, 1>, blocks_for(batch, per_block), pair_block, 0, stream, a, scores);
  }
  const auto* coefs = reinterpret_cast<const Halves*>(s.scores);
  SplitProduct of_users{coefs, s.scores_pitch, s.items, s.pitch, batch, a.dim, m, s.user_sums, s.pitch, s.user_part};
  of_users.c_part = batch * s.pitch;
  SplitProduct of_items{coefs, s.scores_pitch, s.users, s.pitch, m, a.dim, batch, s.item_sums, s.pitch, s.item_part};
  of_items.c_part = m * s.pitch;
  a.dim <= Narrow::n ? launch_pair_gradient<Narrow>(of_users, of_items, s.findings, stream)
                     : launch_pair_gradient<Wide>(of_users, of_items, s.findings, stream);
  launch_simt_gradients<T>(a, neg_rows, s.findings, stream);
  launch(op, add_parts_kernel, blocks_for(rows, per_block) + 1, pair_block, 0, stream, s, batch, m, a.dim, a.user_rows,
         neg_rows, loss);
}

}  // namespace fgr::cuda
