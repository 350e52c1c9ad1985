// What both ways of the in-batch softmax share.
#pragma once

#include <algorithm>
#include <cfloat>

#include "common/arena.h"
#include "cuda/split_product.cuh"
#include "fgr/softmax_loss.h"

namespace fgr::cuda {

constexpr int softmax_block = 128;  // threads of a block whose warps have rows of their own
// Threads of a row of scores, and of one longer than long_row.
#if defined(FGR_EMULATE)  // so that they take the tests' short rows in several rounds, and their few parts are folded
constexpr int row_threads = 32, long_row_threads = 64;
constexpr int64_t long_row = 512, fold = 2;
#else
constexpr int row_threads = 256, long_row_threads = 1024;
constexpr int64_t long_row = 2048,
                  fold = 16;  // parts of a gradient that are added before the others, where there are many
#endif

// Rows of the batch whose scores are held at once: 2^23 scores, which an H100's L2 still holds (twice 2^22 of them took
// it 1.7 times as long), but at least the 128 rows of a tile.
inline int64_t rows_at_once(int64_t batch) {
#if defined(FGR_EMULATE)
  constexpr int64_t scores = 1 << 10;  // so that the tests' small batches take several passes
#else
  constexpr int64_t scores = 1 << 23;
#endif
  constexpr int64_t tile = 128;
  return std::min(std::max(scores / std::max<int64_t>(batch, 1) / tile * tile, tile), batch);
}

// One side of the batch. U: its rows of norm 1.
template <class A, class U>
struct SoftmaxSide {
  U* unit;
  A* inv_norm;   // [batch]
  A* sums;       // [parts, rows, pitch] the gradient of unit in parts, of the rows that are summed at once
  int64_t part;  // terms of a part, and how many of these there are
  int64_t n_parts;
  int64_t step;  // from a part to the next, once they are folded

  SoftmaxSide(Arena& arena, int64_t unit_size, int64_t batch, int64_t rows, int64_t pitch, int64_t terms,
              int64_t terms_of_part) {
    unit = arena.take<U>(unit_size);
    inv_norm = arena.take<A>(batch);
    part = terms_of_part;
    n_parts = blocks_for(terms, part);
    step = n_parts > 2 * fold ? fold : 1;
    sums = arena.take<A>(n_parts * rows * pitch);
  }
};

template <class T>
struct SoftmaxRows {
  const T* emb;
  int64_t n;
  const int64_t* ids;
};

// Every `fold` parts become one, in the place of their first.
template <class A>
__global__ void fold_kernel(A* sums, int64_t n_parts, int64_t part) {
  const int64_t first = global_thread() / part * fold;
  if (first >= n_parts) return;
  A* to = sums + first * part + global_thread() % part;
  const int64_t last = first + fold < n_parts ? fold : n_parts - first;
  A sum = *to;
#pragma unroll 8
  for (int64_t q = 1; q < last; ++q) sum += to[q * part];
  *to = sum;
}

// What is at `at` among rows of norm 1.
template <class A>
__device__ __forceinline__ A unit_number(const A* unit, int64_t at) {
  return unit[at];
}
constexpr float unit_scale = 1 << 15;  // so that low halves of numbers to 1 keep their bits
__device__ __forceinline__ float unit_number(const Halves* unit, int64_t at) { return joined(unit, at) / unit_scale; }

// The parts of a gradient, added in order, times `scale` and brought through the normalisation: d e = (d unit - <d
// unit, unit> unit) / norm. Of rows first, first + 1, ... of the users and, the last time, of all items; then the loss
// is summed too. The rows of sums and units are `pitch` numbers apart.
template <class A, class U>
__global__ void project_kernel(SoftmaxSide<A, U> users, SoftmaxSide<A, U> items, const double* row_loss, int64_t batch,
                               int64_t dim, int64_t pitch, A scale, int64_t first, int64_t rows, bool last,
                               A* user_rows, A* item_rows, A* loss) {
  if (last && blockIdx.x == gridDim.x - 1) {
    return ordered_sum_of_block(row_loss, batch, 1.0 / static_cast<double>(batch), loss, false);
  }
  const int64_t at = global_warp();
  if (at >= rows + (last ? batch : 0)) return;
  const bool user = at < rows;
  const SoftmaxSide<A, U> side = user ? users : items;
  const int64_t r = user ? at : at - rows, b = user ? first + r : r, part = (user ? rows : batch) * pitch;
  const A* sums = side.sums + r * pitch;
  A* row = (user ? user_rows : item_rows) + b * dim;
  A along = 0;
  for (int64_t c = lane(); c < dim; c += warp) {
    A sum = 0;
#pragma unroll 8
    for (int64_t q = 0; q < side.n_parts; q += side.step) sum += sums[q * part + c];
    row[c] = sum *= scale;
    along += sum * unit_number(side.unit, b * pitch + c);
  }
  along = warp_sum(along);
  for (int64_t c = lane(); c < dim; c += warp) {
    row[c] = side.inv_norm[b] * (row[c] - along * unit_number(side.unit, b * pitch + c));
  }
}

template <class A, class U>
void launch_fold(const char* op, const SoftmaxSide<A, U>& side, int64_t part, void* stream) {
  if (side.step == 1) return;
  launch(op, fold_kernel<A>, blocks_for(blocks_for(side.n_parts, fold) * part, softmax_block), softmax_block, 0, stream,
         side.sums, side.n_parts, part);
}

}  // namespace fgr::cuda
