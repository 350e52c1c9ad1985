// The in-batch softmax by products on tensor cores: of float and bf16.
#pragma once

#include <cmath>

#include "cuda/softmax.cuh"
#include "cuda/split_product.cuh"

namespace fgr::cuda {

// A product of m x n is summed over k in parts of this length: as many parts as make 128 tiles (with those of the other
// side's gradient two blocks a multiprocessor of an H100), of at least 64 terms. It follows from the sizes alone.
inline int64_t split_part_length(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t enough = 128, least = 64;
  const int64_t tiles = n <= SplitTile<64>::n ? split_tiles<SplitTile<64>>(m, n) : split_tiles<SplitTile<128>>(m, n);
  const int64_t parts = std::max<int64_t>(enough / std::max<int64_t>(tiles, 1), 1);
  return std::max(whole_slices(blocks_for(k, parts)), least);
}

// The workspace.
struct SplitSpace {
  using Side = SoftmaxSide<float, Halves>;
  Arena arena;
  int64_t pitch, scores_pitch;  // of rows of a side, and of scores
  double* row_loss;             // [batch]
  Side users, items;            // unit [batch, pitch] times unit_scale
  float* scores;                // [rows_at_once, scores_pitch]

  SplitSpace(void* workspace, int64_t batch, int64_t dim)
      : arena{reinterpret_cast<uintptr_t>(workspace)},
        pitch(whole_slices(dim)),
        scores_pitch(whole_slices(batch)),
        row_loss(arena.take<double>(batch)),
        users(side(batch, dim, rows_at_once(batch), batch)),
        items(side(batch, dim, batch, rows_at_once(batch))),
        scores(arena.take<float>(rows_at_once(batch) * scores_pitch)) {}

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
  const T* e = from.emb + checked_id(from.ids[b], 0, from.n, user ? "users" : "pos", "unit_kernel") * dim;
  const float norm = sqrt(warp_dot(e, e, dim));
  const float inv = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
  auto* words = reinterpret_cast<uint32_t*>(to.unit + b * pitch / Halves::size);
  for (int64_t c = 2 * lane(); c < pitch; c += 2 * warp) {  // a word of high halves and one of low ones
    const float x = c < dim ? inv * load(e[c]) * unit_scale : 0.0f;
    const float y = c + 1 < dim ? inv * load(e[c + 1]) * unit_scale : 0.0f;
    uint32_t* at = words + c / Halves::size * Halves::size + c % Halves::size / 2;
    const uint32_t high = to_halves(x, y);
    at[0] = high;
    at[Halves::size / 2] = to_halves(x - low_half(high), y - high_half(high));
  }
  if (lane() == 0) to.inv_norm[b] = inv;
}

// One block a row of scores: the row's loss, and w softmax - 1[j = b], times `scale` and split, in place: a thread
// reads and writes eights of its own. times: what makes a sum of products of units a score.
template <int threads>
__global__ void __launch_bounds__(threads)
    split_softmax_kernel(float* scores, int64_t pitch, int64_t first, int64_t batch, SoftmaxOptions<float> options,
                         float times, float scale, double* row_loss) {
  constexpr int at_once = Halves::size, chunk = at_once * threads, warps = threads / warp;
  constexpr float lowest = -FLT_MAX;
  FGR_SHARED(float, tops, [warps]);
  FGR_SHARED(float, sums, [warps]);
  float* row = scores + blockIdx.x * pitch;
  const int64_t own = first + blockIdx.x;
  const auto bias = [&](int64_t j) { return options.bias != nullptr ? options.bias[j] : 0.0f; };
  const auto load = [&](int64_t j, float* s) {
    uint4 words[2] = {};
    if (j < pitch) {
      words[0] = *reinterpret_cast<const uint4*>(row + j);
      words[1] = *reinterpret_cast<const uint4*>(row + j + at_once / 2);
    }
    memcpy(s, words, sizeof words);
#pragma unroll
    for (int e = 0; e < at_once; ++e) s[e] = j + e < batch ? s[e] * times + bias(j + e) : lowest;
  };
  float top = lowest, sum = 0;  // sum of exp(score - top)
  const auto add = [&](float* s) {
    float higher = top;
#pragma unroll
    for (int e = 0; e < at_once; ++e) higher = fmaxf(higher, s[e]);
    sum *= exp(top - higher);
    top = higher;
#pragma unroll
    for (int e = 0; e < at_once; ++e) sum += s[e] = exp(s[e] - top);
  };
  const auto write = [&](int64_t j, float (&s)[at_once], float factor) {
    if (j >= pitch) return;
    const int to_own = own >= j && own - j < at_once ? static_cast<int>(own - j) : -1;
#pragma unroll
    for (int e = 0; e < at_once; ++e) s[e] = s[e] * factor - (e == to_own ? scale : 0.0f);
    const Halves halves = split(s);
    auto* to = reinterpret_cast<uint4*>(row + j);
    to[0] = halves.high;
    to[1] = halves.low;
  };
  const float own_score = row[own] * times + bias(own);
  float held[at_once];  // the first eight's exponentials
  const int64_t begin = static_cast<int64_t>(threadIdx.x) * at_once;
  load(begin, held);
  add(held);
  const float held_top = top;
  for (int64_t j = begin + chunk; j < batch; j += chunk) {
    float s[at_once];
    load(j, s);
    add(s);
  }
  float highest = warp_max(top);
  if (lane() == 0) tops[threadIdx.x / warp] = highest;
  __syncthreads();
  for (int w = 0; w < warps; ++w) highest = fmaxf(highest, tops[w]);
  sum = warp_sum(sum * exp(top - highest));
  if (lane() == 0) sums[threadIdx.x / warp] = sum;
  __syncthreads();
  sum = 0;
  for (int w = 0; w < warps; ++w) sum += sums[w];
  const float factor = static_cast<float>(options.negative_weight * scale) / sum;
  write(begin, held, exp(held_top - highest) * factor);
  for (int64_t j = begin + chunk; j < pitch; j += chunk) {
    float s[at_once];
    load(j, s);
#pragma unroll
    for (int e = 0; e < at_once; ++e) s[e] = exp(s[e] - highest);
    write(j, s, factor);
  }
  if (threadIdx.x == 0) {
    row_loss[own] =
        options.negative_weight * (log(static_cast<double>(sum)) + highest) - static_cast<double>(own_score);
  }
}

// Both sides' gradients of unit rows, in parts: products of the same scores.
template <class T>
__global__ void __launch_bounds__(T::threads, T::blocks)
    split_gradient_kernel(SplitProduct of_users, SplitProduct of_items, unsigned user_blocks) {
  FGR_SHARED(SplitBuffers<T>, slices);
  if (blockIdx.x < user_blocks) {
    split_product_tile<true, false, T>(of_users, blockIdx.x, slices);
  } else {
    split_product_tile<false, false, T>(of_items, blockIdx.x - user_blocks, slices);
  }
}

template <class T>
void launch_gradient(const char* op, const SplitProduct& of_users, const SplitProduct& of_items, void* stream) {
  const int64_t user_blocks = blocks_of<T>(of_users);
  launch(op, split_gradient_kernel<T>, user_blocks + blocks_of<T>(of_items), T::threads, 0, stream, of_users, of_items,
         static_cast<unsigned>(user_blocks));
}

// Goes the way of softmax_simt.
template <class T>
void softmax_split(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                   const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<float>& options,
                   float* loss, float* user_rows, float* item_rows, void* workspace, void* stream) {
  constexpr int per_block = softmax_block / warp;
  const char* op = "softmax_loss";
  const SplitSpace s(workspace, batch, dim);
  const float times = static_cast<float>(1 / options.temperature) / (unit_scale * unit_scale);
  // A power of two, so that the gradients of cosines times temperature and batch lie between -2^15 and 2^15.
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
    launch_product<true, true>(op, of_scores, stream);
    const bool long_rows = batch > long_row;
    launch(op, long_rows ? split_softmax_kernel<long_row_threads> : split_softmax_kernel<row_threads>, rows,
           long_rows ? long_row_threads : row_threads, 0, stream, s.scores, s.scores_pitch, first, batch, options,
           times, static_cast<float>(scale), s.row_loss);
    const auto* gradient = reinterpret_cast<const Halves*>(s.scores);
    SplitProduct of_users{gradient, s.scores_pitch, s.items.unit, s.pitch, rows,
                          dim,      batch,          s.users.sums, s.pitch, s.users.part};
    of_users.c_part = rows * s.pitch;
    SplitProduct of_items{gradient, s.scores_pitch, unit,         s.pitch, batch,
                          dim,      rows,           s.items.sums, s.pitch, s.items.part};
    of_items.c_part = batch * s.pitch;
    of_items.s = first > 0 ? s.items.sums : nullptr;
    dim <= SplitTile<64>::n ? launch_gradient<SplitTile<64>>(op, of_users, of_items, stream)
                            : launch_gradient<SplitTile<128>>(op, of_users, of_items, stream);
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
