// The in-batch softmax by products on tensor cores: of float and bf16.
#pragma once

#include <cmath>

#include "cuda/softmax.cuh"
#include "cuda/split_product.cuh"

namespace fgr::cuda {

// What makes a softmax of a row's scores: factor 2^(score - highest). Of a part of a row, factor is the sum of these
// powers.
struct alignas(8) RowOfScores {
  float highest, factor;
};

// Beyond the last row there are some that make nothing of their scores: as far as tiles reach, and what is loaded a
// slice early.
__host__ __device__ constexpr int64_t rows_and_more(int64_t rows) {
  constexpr int64_t tile = SplitTile<64>::m;
  return (rows + split_depth + tile - 1) / tile * tile;
}

// The workspace.
struct SplitSpace {
  using Side = SoftmaxSide<float, Halves>;
  Arena arena;
  int64_t pitch, scores_pitch, parts_pitch;  // of rows of a side, and of scores
  double* row_loss;                          // [batch]
  Side users, items;                         // unit [batch, pitch] times unit_scale
  float* scores;                             // [rows_at_once, scores_pitch]
  RowOfScores *parts, *row_of;               // [rows_at_once, parts_pitch] of 64 columns each, and [rows_at_once]

  SplitSpace(void* workspace, int64_t batch, int64_t dim)
      : arena{reinterpret_cast<uintptr_t>(workspace)},
        pitch(whole_slices(dim)),
        scores_pitch(whole_slices(batch)),
        parts_pitch(blocks_for(batch, 64)),
        row_loss(arena.take<double>(batch)),
        users(side(batch, dim, rows_at_once(batch), batch)),
        items(side(batch, dim, batch, rows_at_once(batch))),
        scores(arena.take<float>(rows_at_once(batch) * scores_pitch)),
        parts(arena.take<RowOfScores>(rows_at_once(batch) * parts_pitch)),
        row_of(arena.take<RowOfScores>(rows_and_more(rows_at_once(batch)))) {}

 private:
  Side side(int64_t batch, int64_t dim, int64_t rows, int64_t terms) {
    return Side(arena, batch * pitch / Halves::size, batch, rows, pitch, terms, split_part_length(rows, dim, terms));
  }
};

template <class T>
__global__ void split_units_kernel(SoftmaxRows<T> users, SoftmaxRows<T> items, int64_t batch, int64_t dim,
                                   int64_t pitch, SoftmaxSide<float, Halves> user_side,
                                   SoftmaxSide<float, Halves> item_side) {
  if (global_warp() >= 2 * batch) return;
  const bool user = global_warp() < batch;
  const int64_t b = user ? global_warp() : global_warp() - batch;
  const SoftmaxRows<T> from = user ? users : items;
  const SoftmaxSide<float, Halves> to = user ? user_side : item_side;
  const T* e = from.emb + checked_id(from.ids[b], 0, from.n, user ? "users" : "pos") * dim;
  const float norm = sqrt(warp_dot(e, e, dim));
  const float inv = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
  auto* words = reinterpret_cast<uint32_t*>(to.unit + b * pitch / Halves::size);
  for (int64_t c = 2 * lane(); c < pitch; c += 2 * warp) {  // a word of high halves and one of low ones
    const float x = c < dim ? inv * load(e[c]) * unit_scale : 0.0f;
    const float y = c + 1 < dim ? inv * load(e[c + 1]) * unit_scale : 0.0f;
    uint32_t* at = words + c / Halves::size * Halves::size + c % Halves::size / 2;
    split(x, y, at[0], at[Halves::size / 2]);
  }
  if (lane() == 0) to.inv_norm[b] = inv;
}

constexpr float log2_e = 1.44269504088896340736f;
constexpr double log_2 = 0.69314718055994530942;
__device__ __forceinline__ float exp2_of(float x) {
#if defined(FGR_EMULATE)
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

__device__ __forceinline__ void store_row(RowOfScores* to, RowOfScores row) {
  uint2 word;
  memcpy(&word, &row, sizeof word);
  __stcg(reinterpret_cast<uint2*>(to), word);
}

// Scores in logarithms of base 2: sum * times + bias log2 e, -infinity where a row has ended. And what every 64 columns
// of a row, which are a warp's, add to its softmax: parts [rows, parts_pitch].
template <class T>
__global__ void __launch_bounds__(T::threads, T::blocks)
    split_scores_kernel(SplitProduct p, const float* bias, float times, RowOfScores* parts, int64_t parts_pitch) {
  FGR_SHARED(SplitBuffers<T>, slices);
  const SplitPlace<T> at(p, blockIdx.x);
  SplitSums<T> sum = {};
  split_product_tile<true, true, SplitRows>(p, at, NoOptions{}, slices, sum);
  const int64_t row0 = at.m0 + at.row_of_warp() + lane() / 4, column0 = at.n0 + at.column_of_warp();
  if (column0 >= p.n) return;
  const int64_t column = column0 + lane() % 4 * 2;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const bool there = column + 8 * j + e < p.n;
      const float plus = there ? (bias != nullptr ? bias[column + 8 * j + e] * log2_e : 0.0f) : -HUGE_VALF;
#pragma unroll
      for (int r = 0; r < T::warp_m / 8; ++r) {
        float& x = sum[r / 2][j][r % 2 * 2 + e];
        x = x * times + plus;
      }
    }
  }
  store_sums<T>(p, at, sum);
#pragma unroll
  for (int r = 0; r < T::warp_m / 8; ++r) {
    float highest = -FLT_MAX, total = 0;
    const auto each = [&](const auto& fn) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        fn(sum[r / 2][j][r % 2 * 2]);
        fn(sum[r / 2][j][r % 2 * 2 + 1]);
      }
    };
    each([&](float x) { highest = fmaxf(highest, x); });
    highest = fmaxf(highest, __shfl_xor_sync(full_mask, highest, 1));
    highest = fmaxf(highest, __shfl_xor_sync(full_mask, highest, 2));
    each([&](float x) { total += exp2_of(x - highest); });
    total += __shfl_xor_sync(full_mask, total, 1);
    total += __shfl_xor_sync(full_mask, total, 2);
    const int64_t row = row0 + 8 * r;
    if (lane() % 4 == 0 && row < p.m) store_row(parts + row * parts_pitch + column0 / 64, {highest, total});
  }
}

// One warp a row of scores: its loss, and what makes the softmax, times `scale`, of its scores.
static __global__ void rows_of_scores_kernel(const float* scores, int64_t pitch, const RowOfScores* parts,
                                             int64_t n_parts, int64_t first, int64_t rows, double weight, double scale,
                                             RowOfScores* to, double* row_loss) {
  const int64_t r = global_warp();
  if (r >= rows) {
    if (r < rows_and_more(rows) && lane() == 0) store_row(to + r, {0, 0});
    return;
  }
  float top = -FLT_MAX, sum = 0;
  for (int64_t q = lane(); q < n_parts; q += warp) {
    const RowOfScores part = parts[r * n_parts + q];
    const float higher = fmaxf(top, part.highest);
    sum = sum * exp2_of(top - higher) + part.factor * exp2_of(part.highest - higher);
    top = higher;
  }
  const float highest = warp_max(top);
  sum = warp_sum(sum * exp2_of(top - highest));
  if (lane() > 0) return;
  store_row(to + r, {highest, static_cast<float>(weight * scale) / sum});
  const double own = scores[r * pitch + first + r];
  row_loss[first + r] = (weight * (log2(static_cast<double>(sum)) + highest) - own) * log_2;
}

// What a warp reads of X's slices, as SplitRows does, where X is the scores [rows, batch] (along) or their transpose:
// it makes w softmax - 1[j = b], times `scale`, of them, and splits that. Row r's own column is first + r.
struct GradientOptions {
  const RowOfScores* rows;
  int64_t first;
  float scale;
};
template <class T, class X, bool along>
struct GradientRows {
  static constexpr int height = T::warp_m / 16;
  float scale;
  FloatRows<X, along> scores;
  int apart;  // from the slice's first column, or row, to what belongs to the warp's first row, or column
  RowOfScores row[along ? 2 * height : 4], next[4];
  const RowOfScores* from;

  __device__ __forceinline__ GradientRows(const GradientOptions& o, int64_t m0, int i0, int64_t first) : scores(i0) {
    const int g = lane() / 4, t = lane() % 4;
    scale = o.scale;
    apart = static_cast<int>((along ? m0 + o.first : m0 - o.first) - first) + split_depth;
    from = o.rows + (along ? m0 + g : first + 2 * t);
    if constexpr (along) {
#pragma unroll
      for (int r = 0; r < 2 * height; ++r) row[r] = from[8 * r];
    } else {
      load_next();
    }
  }
  __device__ __forceinline__ void load_next() {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const uint4 two = *reinterpret_cast<const uint4*>(from + 8 * e);
      memcpy(next + 2 * e, &two, sizeof two);
    }
    from += split_depth;
  }
  __device__ __forceinline__ void begin() {
    apart -= split_depth;
    if constexpr (!along) {
#pragma unroll
      for (int e = 0; e < 4; ++e) row[e] = next[e];
      load_next();
    }
  }

  __device__ __forceinline__ void load(const uint4* slice, int i, uint32_t (&high)[4], uint32_t (&low)[4]) const {
    float x[4][2];
    scores.load(slice, i, x);
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const int rows8 = v % 2, k8 = v / 2;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const RowOfScores& of = row[along ? 2 * i + rows8 : 2 * k8 + e];
        x[v][e] = exp2_of(x[v][e] - of.highest) * of.factor;
      }
    }
    // Where the slice has rows' own scores.
    if (apart > -16 * height && apart < 16) {
      const int own = apart + lane() / 4 - lane() % 4 * 2 + 16 * i;
#pragma unroll
      for (int v = 0; v < 4; ++v) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (own + v % 2 * 8 == v / 2 * 8 + e) x[v][e] -= scale;
        }
      }
    }
#pragma unroll
    for (int v = 0; v < 4; ++v) split(x[v][0], x[v][1], high[v], low[v]);
  }
};

// Both sides' gradients of unit rows, in parts: products of the same scores.
template <class T>
__global__ void __launch_bounds__(T::threads, T::blocks)
    split_gradient_kernel(SplitProduct of_users, SplitProduct of_items, GradientOptions options, unsigned user_blocks) {
  FGR_SHARED(SplitBuffers<T>, slices);
  SplitSums<T> sum = {};
  if (blockIdx.x < user_blocks) {
    const SplitPlace<T> at(of_users, blockIdx.x);
    split_product_tile<true, false, GradientRows>(of_users, at, options, slices, sum);
    store_sums<T>(of_users, at, sum);
  } else {
    const SplitPlace<T> at(of_items, blockIdx.x - user_blocks);
    split_product_tile<false, false, GradientRows>(of_items, at, options, slices, sum);
    store_sums<T>(of_items, at, sum);
  }
}

template <class T>
void launch_scores(const char* op, const SplitProduct& p, const float* bias, float times, const SplitSpace& s,
                   void* stream) {
  launch(op, split_scores_kernel<T>, blocks_of<T>(p), T::threads, 0, stream, p, bias, times, s.parts, s.parts_pitch);
}
template <class T>
void launch_gradient(const char* op, const SplitProduct& of_users, const SplitProduct& of_items,
                     const GradientOptions& options, void* stream) {
  const int64_t user_blocks = blocks_of<T>(of_users);
  launch(op, split_gradient_kernel<T>, user_blocks + blocks_of<T>(of_items), T::threads, 0, stream, of_users, of_items,
         options, static_cast<unsigned>(user_blocks));
}

// As softmax_simt, but that the gradient of a score is made where it is multiplied, and never written.
template <class T>
void softmax_split(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                   const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<float>& options,
                   float* loss, float* user_rows, float* item_rows, void* workspace, void* stream) {
#if defined(FGR_EMULATE)
  constexpr int64_t enough = 3;  // so that the tests' small products are of both kinds of tiles
#else
  constexpr int64_t enough = 132;
#endif
  using Narrow = SplitTile<64>;
  using Wide = SplitTile<128>;
  constexpr int per_block = softmax_block / warp;
  const char* op = "softmax_loss";
  const SplitSpace s(workspace, batch, dim);
  const auto times = static_cast<float>(1 / options.temperature) * log2_e / (unit_scale * unit_scale);
  // A power of two, so that w softmax - 1[j = b], the gradient of a score times the batch, lies between -2^15 and 2^15.
  const int above = options.negative_weight > 1 ? std::ilogb(options.negative_weight) + 1 : 0;
  const double scale = std::ldexp(1.0, 15 - above);
  const auto undone = static_cast<float>(
      1 / (options.temperature * static_cast<double>(batch) * scale * static_cast<double>(unit_scale)));
  launch(op, split_units_kernel<T>, blocks_for(2 * batch, per_block), softmax_block, 0, stream,
         SoftmaxRows<T>{user_emb, n_users, users}, SoftmaxRows<T>{item_emb, n_items, pos}, batch, dim, s.pitch, s.users,
         s.items);
  const int64_t most = rows_at_once(batch);
  for (int64_t first = 0; first < batch; first += most) {
    const int64_t rows = std::min(most, batch - first);
    const Halves* unit = s.users.unit + first * s.pitch / Halves::size;
    const SplitProduct of_scores{unit,  s.pitch, s.items.unit, s.pitch,        rows,
                                 batch, dim,     s.scores,     s.scores_pitch, std::max<int64_t>(dim, 1)};
    blocks_of<Wide>(of_scores) >= enough ? launch_scores<Wide>(op, of_scores, options.bias, times, s, stream)
                                         : launch_scores<Narrow>(op, of_scores, options.bias, times, s, stream);
    launch(op, rows_of_scores_kernel, blocks_for(rows_and_more(rows), per_block), softmax_block, 0, stream,
           static_cast<const float*>(s.scores), s.scores_pitch, static_cast<const RowOfScores*>(s.parts), s.parts_pitch,
           first, rows, options.negative_weight, scale, s.row_of, s.row_loss);
    const auto* scores = reinterpret_cast<const Halves*>(s.scores);
    SplitProduct of_users{scores, s.scores_pitch, s.items.unit, s.pitch, rows,
                          dim,    batch,          s.users.sums, s.pitch, s.users.part};
    of_users.c_part = rows * s.pitch;
    SplitProduct of_items{scores, s.scores_pitch, unit, s.pitch, batch, dim, rows, s.items.sums, s.pitch, s.items.part};
    of_items.c_part = batch * s.pitch;
    of_items.s = first > 0 ? s.items.sums : nullptr;
    const GradientOptions gradient{s.row_of, first, static_cast<float>(scale)};
    dim <= Narrow::n ? launch_gradient<Narrow>(op, of_users, of_items, gradient, stream)
                     : launch_gradient<Wide>(op, of_users, of_items, gradient, stream);
    const bool last = first + rows == batch;
    launch_fold(op, s.users, of_users.c_part, stream);
    if (last) launch_fold(op, s.items, of_items.c_part, stream);
    launch(op, project_kernel<float, Halves>, blocks_for(last ? rows + batch : rows, per_block) + (last ? 1 : 0),
           softmax_block, 0, stream, s.users, s.items, s.row_loss, batch, dim, s.pitch, undone, first, rows, last,
           user_rows, item_rows, loss);
  }
  if (batch == 0) check(cudaMemsetAsync(loss, 0, sizeof(float), static_cast<cudaStream_t>(stream)), op);
}

}  // namespace fgr::cuda
