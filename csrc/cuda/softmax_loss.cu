#include <algorithm>
#include <cfloat>

#include "common/arena.h"
#include "cuda/product.cuh"
#include "fgr/softmax_loss.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 128;
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
int64_t rows_at_once(int64_t batch) {
#if defined(FGR_EMULATE)
  constexpr int64_t scores = 1 << 10;  // so that the tests' small batches take several passes
#else
  constexpr int64_t scores = 1 << 23;
#endif
  constexpr int64_t tile = 128;
  return std::min(std::max(scores / std::max<int64_t>(batch, 1) / tile * tile, tile), batch);
}

// A product of m x n is summed over k in parts of this length: as many parts as make 2^21 results, which are 256 tiles,
// of at least 64 terms. It follows from the sizes alone, so that sums have the same bits on every device.
int64_t part_length(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t results = 1 << 21, least = 64, multiple = 16;
  const int64_t parts = std::max<int64_t>(results / std::max<int64_t>(m * n, 1), 1);
  return std::max(blocks_for(blocks_for(k, parts), multiple) * multiple, least);
}

// One side of the batch.
template <class A>
struct Side {
  A* unit;       // [batch, dim] rows of norm 1
  A* inv_norm;   // [batch]
  A* sums;       // [parts, rows, dim] the gradient of unit in parts, of the rows that are summed at once
  int64_t part;  // terms of a part, and how many of these there are
  int64_t n_parts;
  int64_t step;  // from a part to the next, once they are folded
};

// The workspace.
template <class A>
struct Space {
  double* row_loss;  // [batch]
  Side<A> users, items;
  A* scores;  // [rows_at_once, batch]
  int64_t bytes;

  Space(void* workspace, int64_t batch, int64_t dim) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    const auto side = [&](int64_t rows, int64_t terms) {
      Side<A> s{};
      s.unit = arena.take<A>(batch * dim);
      s.inv_norm = arena.take<A>(batch);
      s.part = part_length(rows, dim, terms);
      s.n_parts = blocks_for(terms, s.part);
      s.step = s.n_parts > 2 * fold ? fold : 1;
      s.sums = arena.take<A>(s.n_parts * rows * dim);
      return s;
    };
    const int64_t rows = rows_at_once(batch);
    row_loss = arena.take<double>(batch);
    users = side(rows, batch);
    items = side(batch, rows);
    scores = arena.take<A>(rows * batch);
    bytes = arena.used;
  }
};

template <class T>
struct Rows {
  const T* emb;
  int64_t n;
  const int64_t* ids;
};

template <class T>
__global__ void unit_kernel(Rows<T> users, Rows<T> items, int64_t batch, int64_t dim, Side<acc_t<T>> user_side,
                            Side<acc_t<T>> item_side) {
  using A = acc_t<T>;
  if (global_warp() >= 2 * batch) return;
  const bool user = global_warp() < batch;
  const int64_t b = user ? global_warp() : global_warp() - batch;
  const Rows<T> from = user ? users : items;
  const Side<A> to = user ? user_side : item_side;
  const T* e = from.emb + checked_id(from.ids[b], 0, from.n, user ? "users" : "pos") * dim;
  const A norm = sqrt(warp_dot(e, e, dim));
  const A inv = A(1) / (norm > A(1e-12) ? norm : A(1e-12));
  for (int64_t c = lane(); c < dim; c += warp) to.unit[b * dim + c] = inv * load(e[c]);
  if (lane() == 0) to.inv_norm[b] = inv;
}

// One block a row of scores: the row's loss, and dL/dcosine = (w softmax - 1[j = b]) / (t B) in place.
template <class A, int threads>
__global__ void __launch_bounds__(threads)
    softmax_kernel(A* scores, int64_t first, int64_t batch, SoftmaxOptions<A> options, A inv_t, A grad_scale,
                   double* row_loss) {
  constexpr int at_once = 32 / sizeof(A), chunk = at_once * threads, warps = threads / warp;
  constexpr A lowest = -FLT_MAX;
  FGR_SHARED(A, tops, [warps]);
  FGR_SHARED(A, sums, [warps]);
  A* row = scores + blockIdx.x * batch;
  const int64_t own = first + blockIdx.x;
  const auto score = [&](int64_t j) { return row[j] * inv_t + (options.bias != nullptr ? options.bias[j] : A(0)); };
  // A thread has the scores of j, j + threads, ...: at_once of them. Of its first ones it keeps the exponentials.
  const auto load = [&](int64_t j, A* s) {
    const int left = static_cast<int>(batch - j < chunk ? batch - j : chunk);
#pragma unroll
    for (int e = 0; e < at_once; ++e) s[e] = e * threads < left ? score(j + e * threads) : lowest;
    return left;
  };
  A top = lowest, sum = 0;  // sum of exp(score - top)
  const auto add = [&](A* s) {
    A higher = top;
#pragma unroll
    for (int e = 0; e < at_once; ++e) higher = fmax(higher, s[e]);
    sum *= exp(top - higher);
    top = higher;
#pragma unroll
    for (int e = 0; e < at_once; ++e) sum += s[e] = exp(s[e] - top);
  };
  const auto write = [&](int64_t j, int left, const A* s, A times) {
    const int to_own = own >= j && own - j < chunk ? static_cast<int>(own - j) : -1;
#pragma unroll
    for (int e = 0; e < at_once; ++e) {
      const A gradient = s[e] * times - (e * threads == to_own ? grad_scale : A(0));
      if (e * threads < left) row[j + e * threads] = gradient;
    }
  };
  const A own_score = score(own);
  A held[at_once];
  const int64_t begin = threadIdx.x;
  const int held_left = load(begin, held);
  add(held);
  const A held_top = top;
  for (int64_t j = begin + chunk; j < batch; j += chunk) {
    A s[at_once];
    load(j, s);
    add(s);
  }
  A highest = warp_max(top);
  if (lane() == 0) tops[threadIdx.x / warp] = highest;
  __syncthreads();
  for (int w = 0; w < warps; ++w) highest = fmax(highest, tops[w]);
  sum = warp_sum(sum * exp(top - highest));
  if (lane() == 0) sums[threadIdx.x / warp] = sum;
  __syncthreads();
  sum = 0;
  for (int w = 0; w < warps; ++w) sum += sums[w];
  const A factor = static_cast<A>(options.negative_weight) * grad_scale / sum;
  write(begin, held_left, held, exp(held_top - highest) * factor);
  for (int64_t j = begin + chunk; j < batch; j += chunk) {
    A s[at_once];
    const int left = load(j, s);
#pragma unroll
    for (int e = 0; e < at_once; ++e) s[e] = exp(s[e] - highest);
    write(j, left, s, factor);
  }
  if (threadIdx.x == 0) {
    row_loss[own] =
        options.negative_weight * (log(static_cast<double>(sum)) + highest) - static_cast<double>(own_score);
  }
}

// Both sides' gradients of unit rows, in parts: products of the same scores.
template <bool packed, class A>
__global__ void __launch_bounds__(product_threads, product_blocks<packed, A>)
    gradient_kernel(Product<A> of_users, Product<A> of_items, unsigned user_blocks) {
  using T = Tile<A, true>;
  FGR_SHARED(Buffers<T>, slices);
  if (blockIdx.x < user_blocks) {
    product_tile<true, false, packed>(of_users, blockIdx.x, slices);
  } else {
    product_tile<false, false, packed>(of_items, blockIdx.x - user_blocks, slices);
  }
}

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

// The parts of a gradient, added in order and brought through the normalisation: d e = (d unit - <d unit, unit> unit) /
// norm. Of rows first, first + 1, ... of the users and, the last time, of all items; then the loss is summed too.
template <class A>
__global__ void project_kernel(Space<A> s, int64_t batch, int64_t dim, int64_t first, int64_t rows, bool last,
                               A* user_rows, A* item_rows, A* loss) {
  if (last && blockIdx.x == gridDim.x - 1) {
    return ordered_sum_of_block(s.row_loss, batch, 1.0 / static_cast<double>(batch), loss, false);
  }
  const int64_t at = global_warp();
  if (at >= rows + (last ? batch : 0)) return;
  const bool user = at < rows;
  const Side<A> side = user ? s.users : s.items;
  const int64_t r = user ? at : at - rows, b = user ? first + r : r, part = (user ? rows : batch) * dim;
  const A *sums = side.sums + r * dim, *unit = side.unit + b * dim;
  A* row = (user ? user_rows : item_rows) + b * dim;
  A along = 0;
  for (int64_t c = lane(); c < dim; c += warp) {
    A sum = 0;
#pragma unroll 8
    for (int64_t q = 0; q < side.n_parts; q += side.step) sum += sums[q * part + c];
    row[c] = sum;
    along += sum * unit[c];
  }
  along = warp_sum(along);
  for (int64_t c = lane(); c < dim; c += warp) row[c] = side.inv_norm[b] * (row[c] - along * unit[c]);
}

}  // namespace

int64_t softmax_loss_workspace_bytes(int64_t batch, int64_t dim, int64_t accumulator_size) {
  return accumulator_size == sizeof(float) ? Space<float>(nullptr, batch, dim).bytes
                                           : Space<double>(nullptr, batch, dim).bytes;
}

// The scores go through memory, as many rows at once as an L2 holds: 6 batch^2 dim operations, where recomputing them
// for each gradient would take 10.
template <class T>
void softmax_loss(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                  const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                  acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* item_rows, void* workspace, void* stream) {
  using A = acc_t<T>;
  constexpr int per_block = block_threads / warp;
  const char* op = "softmax_loss";
  const Space<A> s(workspace, batch, dim);
  const A inv_t = static_cast<A>(1 / options.temperature);
  const A grad_scale = batch > 0 ? inv_t / static_cast<A>(batch) : A(0);
  launch(op, unit_kernel<T>, blocks_for(2 * batch, per_block), block_threads, 0, stream,
         Rows<T>{user_emb, n_users, users}, Rows<T>{item_emb, n_items, pos}, batch, dim, s.users, s.items);
  const int64_t most = rows_at_once(batch);
  for (int64_t first = 0; first < batch; first += most) {
    const int64_t rows = std::min(most, batch - first);
    const A* unit = s.users.unit + first * dim;
    const Product<A> of_scores{unit, dim, s.items.unit, dim, rows, batch, dim, s.scores, batch, dim};
    launch_product<true, true>(op, of_scores, stream);
    const bool long_rows = batch > long_row;
    launch(op, long_rows ? softmax_kernel<A, long_row_threads> : softmax_kernel<A, row_threads>, rows,
           long_rows ? long_row_threads : row_threads, 0, stream, s.scores, first, batch, options, inv_t, grad_scale,
           s.row_loss);
    Product<A> of_users{s.scores, batch, s.items.unit, dim, rows, dim, batch, s.users.sums, dim, s.users.part};
    of_users.c_part = rows * dim;
    Product<A> of_items{s.scores, batch, unit, dim, batch, dim, rows, s.items.sums, dim, s.items.part};
    of_items.c_part = batch * dim;
    of_items.s = first > 0 ? s.items.sums : nullptr;
    of_items.s_pitch = dim;
    const int64_t user_blocks = blocks_of<Tile<A, true>>(of_users);
    const bool packed = in_packs<true, false>(of_users) && in_packs<false, false>(of_items);
    launch(op, packed ? gradient_kernel<true, A> : gradient_kernel<false, A>,
           user_blocks + blocks_of<Tile<A, true>>(of_items), product_threads, 0, stream, of_users, of_items,
           static_cast<unsigned>(user_blocks));
    const bool last = first + rows == batch;
    const auto folded = [&](const Side<A>& side, int64_t part) {
      if (side.step == 1) return;
      launch(op, fold_kernel<A>, blocks_for(blocks_for(side.n_parts, fold) * part, block_threads), block_threads, 0,
             stream, side.sums, side.n_parts, part);
    };
    folded(s.users, of_users.c_part);
    if (last) folded(s.items, of_items.c_part);
    launch(op, project_kernel<A>, blocks_for(last ? rows + batch : rows, per_block) + (last ? 1 : 0), block_threads, 0,
           stream, s, batch, dim, first, rows, last, user_rows, item_rows, loss);
  }
  if (batch == 0) check(cudaMemsetAsync(loss, 0, sizeof(A), static_cast<cudaStream_t>(stream)), op);
}

#define FGR_INSTANTIATE(T)                                                                                        \
  template void softmax_loss<T>(const T*, int64_t, const T*, int64_t, int64_t, const int64_t*, const int64_t*,    \
                                int64_t, const SoftmaxOptions<acc_t<T>>&, acc_t<T>*, acc_t<T>*, acc_t<T>*, void*, \
                                void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
