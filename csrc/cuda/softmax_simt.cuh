// The in-batch softmax by products without tensor cores, of any type: of double always.
#pragma once

#include "cuda/product.cuh"
#include "cuda/softmax.cuh"

namespace fgr::cuda {

// A product of m x n is summed over k in parts of this length: as many parts as make 2^21 results, which are 256 tiles,
// of at least 64 terms. It follows from the sizes alone, so that sums have the same bits on every device.
inline int64_t part_length(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t results = 1 << 21, least = 64, multiple = 16;
  const int64_t parts = std::max<int64_t>(results / std::max<int64_t>(m * n, 1), 1);
  return std::max(blocks_for(blocks_for(k, parts), multiple) * multiple, least);
}

// The workspace.
template <class A>
struct SimtSpace {
  using Side = SoftmaxSide<A, A>;
  Arena arena;
  double* row_loss;   // [batch]
  Side users, items;  // unit [batch, dim]
  A* scores;          // [rows_at_once, batch]

  SimtSpace(void* workspace, int64_t batch, int64_t dim)
      : arena{reinterpret_cast<uintptr_t>(workspace)},
        row_loss(arena.take<double>(batch)),
        users(side(batch, dim, rows_at_once(batch), batch)),
        items(side(batch, dim, batch, rows_at_once(batch))),
        scores(arena.take<A>(rows_at_once(batch) * batch)) {}

 private:
  Side side(int64_t batch, int64_t dim, int64_t rows, int64_t terms) {
    return Side(arena, batch * dim, batch, rows, dim, terms, part_length(rows, dim, terms));
  }
};

template <class T>
__global__ void unit_kernel(SoftmaxRows<T> users, SoftmaxRows<T> items, int64_t batch, int64_t dim,
                            SoftmaxSide<acc_t<T>, acc_t<T>> user_side, SoftmaxSide<acc_t<T>, acc_t<T>> item_side) {
  using A = acc_t<T>;
  if (global_warp() >= 2 * batch) return;
  const bool user = global_warp() < batch;
  const int64_t b = user ? global_warp() : global_warp() - batch;
  const SoftmaxRows<T> from = user ? users : items;
  const SoftmaxSide<A, A> to = user ? user_side : item_side;
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

// The scores go through memory, as many rows at once as an L2 holds: 6 batch^2 dim operations, where recomputing them
// for each gradient would take 10.
template <class T>
void softmax_simt(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                  const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                  acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* item_rows, void* workspace, void* stream) {
  using A = acc_t<T>;
  constexpr int per_block = softmax_block / warp;
  const char* op = "softmax_loss";
  const SimtSpace<A> s(workspace, batch, dim);
  const A inv_t = static_cast<A>(1 / options.temperature);
  const A grad_scale = batch > 0 ? inv_t / static_cast<A>(batch) : A(0);
  launch(op, unit_kernel<T>, blocks_for(2 * batch, per_block), softmax_block, 0, stream,
         SoftmaxRows<T>{user_emb, n_users, users}, SoftmaxRows<T>{item_emb, n_items, pos}, batch, dim, s.users,
         s.items);
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
    launch_fold(op, s.users, of_users.c_part, stream);
    if (last) launch_fold(op, s.items, of_items.c_part, stream);
    launch(op, project_kernel<A, A>, blocks_for(last ? rows + batch : rows, per_block) + (last ? 1 : 0), softmax_block,
           0, stream, s.users, s.items, s.row_loss, batch, dim, dim, A(1), first, rows, last, user_rows, item_rows,
           loss);
  }
  if (batch == 0) check(cudaMemsetAsync(loss, 0, sizeof(A), static_cast<cudaStream_t>(stream)), op);
}

}  // namespace fgr::cuda
