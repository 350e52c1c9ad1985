#include "cuda/product.cuh"
#include "fgr/softmax_loss.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 128;

// Rows of the batch whose scores are held at once: as many as 2^22 scores allow, since the products share out a GPU by
// their tiles.
int64_t rows_at_once(int64_t batch) {
#if defined(FGR_EMULATE)
  constexpr int64_t scores = 1 << 10;  // so that the tests' small batches take several passes
#else
  constexpr int64_t scores = 1 << 22;
#endif
  const int64_t rows = scores / (batch > 0 ? batch : 1);
  return rows < softmax_row_block ? softmax_row_block : rows < batch ? rows : batch;
}

// The workspace: the same parts as on the CPU, without the packed transpose.
template <class A>
struct Space {
  double* row_loss;                  // [batch]
  A *user_unit, *item_unit;          // [batch, dim]
  A *user_inv_norm, *item_inv_norm;  // [batch]
  A* scores;                         // [rows_at_once, batch]

  Space(void* workspace, int64_t batch, int64_t dim) {
    row_loss = static_cast<double*>(workspace);
    user_unit = reinterpret_cast<A*>(row_loss + batch);
    item_unit = user_unit + batch * dim;
    user_inv_norm = item_unit + batch * dim;
    item_inv_norm = user_inv_norm + batch;
    scores = item_inv_norm + batch;
  }
};

template <class T>
__global__ void unit_kernel(const T* emb, int64_t n_rows, const int64_t* ids, int64_t batch, int64_t dim,
                            acc_t<T>* unit, acc_t<T>* inv_norm) {
  using A = acc_t<T>;
  const int64_t b = global_warp();
  if (b >= batch) return;
  const T* e = emb + checked_id(ids[b], 0, n_rows, "ids") * dim;
  const A norm = sqrt(warp_dot(e, e, dim));
  const A inv = A(1) / (norm > A(1e-12) ? norm : A(1e-12));
  for (int64_t c = lane(); c < dim; c += warp) unit[b * dim + c] = inv * load(e[c]);
  if (lane() == 0) inv_norm[b] = inv;
}

// One block a row of scores: the row's loss, and dL/dcosine = (w softmax - 1[j = b]) / (t B) in place.
template <class A>
__global__ void __launch_bounds__(block_threads)
    softmax_kernel(A* scores, int64_t first, int64_t batch, SoftmaxOptions<A> options, A grad_scale, double* row_loss) {
  FGR_SHARED(A, partial, [block_threads / warp]);
  A* row = scores + blockIdx.x * batch;
  const int64_t own = first + blockIdx.x;
  const A inv_t = static_cast<A>(1 / options.temperature), weight = static_cast<A>(options.negative_weight);
  const auto score = [&](int64_t j) { return row[j] * inv_t + (options.bias != nullptr ? options.bias[j] : A(0)); };
  const A own_score = score(own);
  A top = own_score;
  for (int64_t j = threadIdx.x; j < batch; j += block_threads) top = score(j) > top ? score(j) : top;
  top = warp_max(top);
  if (lane() == 0) partial[threadIdx.x / warp] = top;
  __syncthreads();
  for (int w = 0; w < block_threads / warp; ++w) top = partial[w] > top ? partial[w] : top;
  __syncthreads();
  A sum = 0;
  for (int64_t j = threadIdx.x; j < batch; j += block_threads) sum += row[j] = exp(score(j) - top);
  sum = warp_sum(sum);
  if (lane() == 0) partial[threadIdx.x / warp] = sum;
  __syncthreads();
  sum = 0;
  for (int w = 0; w < block_threads / warp; ++w) sum += partial[w];
  for (int64_t j = threadIdx.x; j < batch; j += block_threads) {
    row[j] = row[j] * (weight * grad_scale / sum) - (j == own ? grad_scale : A(0));
  }
  if (threadIdx.x == 0) {
    row_loss[own] = options.negative_weight * (log(static_cast<double>(sum)) + top) - static_cast<double>(own_score);
  }
}

// In place, through the normalisation: d e = (d unit - <d unit, unit> unit) / norm.
template <class A>
__global__ void project_kernel(A* grad, const A* unit, const A* inv_norm, int64_t batch, int64_t dim) {
  const int64_t b = global_warp();
  if (b >= batch) return;
  const A along = warp_dot(grad + b * dim, unit + b * dim, dim);
  for (int64_t c = lane(); c < dim; c += warp) {
    grad[b * dim + c] = inv_norm[b] * (grad[b * dim + c] - along * unit[b * dim + c]);
  }
}

}  // namespace

int64_t softmax_loss_workspace_bytes(int64_t batch, int64_t dim, int64_t accumulator_size) {
  return batch * static_cast<int64_t>(sizeof(double)) +
         (2 * batch * dim + 2 * batch + rows_at_once(batch) * batch) * accumulator_size;
}

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
  const int64_t blocks = blocks_for(batch, per_block);
  launch(op, unit_kernel<T>, blocks, block_threads, 0, stream, user_emb, n_users, users, batch, dim, s.user_unit,
         s.user_inv_norm);
  launch(op, unit_kernel<T>, blocks, block_threads, 0, stream, item_emb, n_items, pos, batch, dim, s.item_unit,
         s.item_inv_norm);
  const int64_t most = rows_at_once(batch);
  for (int64_t first = 0; first < batch; first += most) {
    const int64_t rows = batch - first < most ? batch - first : most;
    const A* unit = s.user_unit + first * dim;
    product<A>(op, {unit, dim, 1}, {s.item_unit, 1, dim}, rows, batch, dim, s.scores, batch, Onto::nothing, nullptr,
               stream);
    launch(op, softmax_kernel<A>, rows, block_threads, 0, stream, s.scores, first, batch, options, grad_scale,
           s.row_loss);
    product<A>(op, {s.scores, batch, 1}, {s.item_unit, dim, 1}, rows, dim, batch, user_rows + first * dim, dim,
               Onto::nothing, nullptr, stream);
    product<A>(op, {s.scores, 1, batch}, {unit, dim, 1}, batch, dim, rows, item_rows, dim,
               first > 0 ? Onto::itself : Onto::nothing, nullptr, stream);
  }
  launch(op, project_kernel<A>, blocks, block_threads, 0, stream, user_rows, s.user_unit, s.user_inv_norm, batch, dim);
  launch(op, project_kernel<A>, blocks, block_threads, 0, stream, item_rows, s.item_unit, s.item_inv_norm, batch, dim);
  launch(op, ordered_sum<A>, 1, 256, 0, stream, s.row_loss, batch, batch > 0 ? 1.0 / static_cast<double>(batch) : 0.0,
         loss, false);
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
