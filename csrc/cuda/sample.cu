#include "cuda/device.cuh"
#include "fgr/sample.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

__global__ void negatives_kernel(Csr r, const int64_t* cumulative, const int64_t* users, int64_t n_rows,
                                 int64_t n_draws, Draws draws, int64_t* out) {
  const int64_t i = global_thread();
  if (i >= n_rows * n_draws) return;
  const int64_t b = i / n_draws, j = i % n_draws;
  const int64_t user = checked_id(users[b], 0, r.n_rows, "users");
  out[i] = drawn_negative(r, cumulative, user, draws, b, static_cast<uint32_t>(j));
}

// Items of a row's own: a thread an item.
__global__ void own_mask_kernel(Csr r, const int64_t* users, int64_t n_rows, const int64_t* items, int64_t n,
                                uint8_t* out) {
  const int64_t i = global_thread();
  if (i >= n_rows * n) return;
  const int64_t user = checked_id(users[i / n], 0, r.n_rows, "users"),
                item = checked_id(items[i], -1, r.n_cols, "items");
  out[i] = item >= 0 && !has_edge(r, user, item);
}

// Shared items: a warp a row, whose lanes share out the row's items and then its edges.
__global__ void shared_mask_kernel(Csr r, const int64_t* users, int64_t n_rows, const int64_t* items,
                                   const int64_t* order, int64_t n, uint8_t* out) {
  const int64_t b = global_warp();
  if (b >= n_rows) return;
  const int64_t user = checked_id(users[b], 0, r.n_rows, "users");
  uint8_t* row = out + b * n;
  for (int64_t k = lane(); k < n; k += warp) row[order[k]] = checked_id(items[k], -1, r.n_cols, "items") >= 0;
  __syncwarp(full_mask);
  for (int64_t e = r.indptr[user] + lane(); e < r.indptr[user + 1]; e += warp) {
    mask_item(items, order, n, r.indices[e], row);
  }
}

// A thread a sample: the positive, then its negatives.
__global__ void batch_kernel(Csr r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                             const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                             int64_t* pos, int64_t* neg) {
  const int64_t b = global_thread();
  if (b >= batch) return;
  const uint64_t key = static_cast<uint64_t>(*seed);
  const int64_t t = checked_id(*offset, 0, INT64_MAX - batch, "offset") + b;
  const UserItem p =
      law == BatchLaw::by_edge ? positive_by_edge(r, n_edges, key, t) : positive_by_user(r, active, n_active, key, t);
  users[b] = p.user;
  pos[b] = p.item;
  for (int64_t j = 0; j < n_neg; ++j) {
    neg[b * n_neg + j] =
        negative_item(r, p.user, key, Stream::negative_of_batch, static_cast<uint64_t>(t), static_cast<uint32_t>(j));
  }
}

__global__ void listed_kernel(const int32_t* lists, const int32_t* counts, int64_t n_lists, int64_t width,
                              const int64_t* rows, int64_t n_rows, int64_t n_draws, const int64_t* seed,
                              const int64_t* offset, int64_t* out) {
  const int64_t i = global_thread();
  if (i >= n_rows * n_draws) return;
  const int64_t b = i / n_draws, row = checked_id(rows[b], 0, n_lists, "rows");
  const int64_t count = checked_id(counts[row], 0, width + 1, "counts");
  const int64_t element = checked_id(*offset, 0, INT64_MAX - n_rows, "offset") + b;
  out[i] = listed_item(lists + row * width, count, static_cast<uint64_t>(*seed), static_cast<uint64_t>(element),
                       static_cast<uint32_t>(i % n_draws));
}

__global__ void uniform_kernel(const int64_t* ids, int64_t n_rows, int64_t dim, const int64_t* seed,
                               const int64_t* step, int64_t place, float* out) {
  const int64_t at = global_thread(), n_blocks = (dim + 3) / 4;
  if (at >= n_rows * n_blocks) return;
  const int64_t b = at / n_blocks, block = at % n_blocks;
  const Uniform4 u = uniform4(static_cast<uint64_t>(*seed), *step, place, ids[b], block, n_blocks);
  for (int64_t c = 4 * block, j = 0; j < 4 && c < dim; ++c, ++j) out[b * dim + c] = u.v[j];
}

}  // namespace

void sample_negatives(const Csr& r, const int64_t* cumulative, const int64_t* users, int64_t n_rows, int64_t n_draws,
                      const Draws& draws, int64_t* out, void* stream) {
  launch("sample_negatives", negatives_kernel, blocks_for(n_rows * n_draws, block_threads), block_threads, 0, stream, r,
         cumulative, users, n_rows, n_draws, draws, out);
}

void unseen_mask(const Csr& r, const int64_t* users, int64_t n_rows, const int64_t* items, const int64_t* order,
                 int64_t n, uint8_t* out, void* stream) {
  if (order == nullptr) {
    launch("unseen_mask", own_mask_kernel, blocks_for(n_rows * n, block_threads), block_threads, 0, stream, r, users,
           n_rows, items, n, out);
  } else {
    launch("unseen_mask", shared_mask_kernel, blocks_for(n_rows * warp, block_threads), block_threads, 0, stream, r,
           users, n_rows, items, order, n, out);
  }
}

void sample_batch(const Csr& r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                  const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                  int64_t* pos, int64_t* neg, void* stream) {
  launch("sample_batch", batch_kernel, blocks_for(batch, block_threads), block_threads, 0, stream, r, n_edges, law,
         active, n_active, seed, offset, batch, n_neg, users, pos, neg);
}

void sample_listed(const int32_t* lists, const int32_t* counts, int64_t n_lists, int64_t width, const int64_t* rows,
                   int64_t n_rows, int64_t n_draws, const int64_t* seed, const int64_t* offset, int64_t* out,
                   void* stream) {
  launch("sample_listed", listed_kernel, blocks_for(n_rows * n_draws, block_threads), block_threads, 0, stream, lists,
         counts, n_lists, width, rows, n_rows, n_draws, seed, offset, out);
}

void uniform_rows(const int64_t* ids, int64_t n_rows, int64_t dim, const int64_t* seed, const int64_t* step,
                  int64_t place, float* out, void* stream) {
  launch("uniform_rows", uniform_kernel, blocks_for(n_rows * ((dim + 3) / 4), block_threads), block_threads, 0, stream,
         ids, n_rows, dim, seed, step, place, out);
}

}  // namespace fgr::cuda
