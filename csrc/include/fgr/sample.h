// Samplers. The laws stand in common/sampling.h; both backends run that code, so the numbers are the same.
#pragma once

#include "common/sampling.h"
#include "fgr/types.h"

namespace fgr {

// sample_negatives: out[b, j] = the j-th negative of users[b], an item that the user has no edge to, or -1 if there is
// none. cumulative null: uniform, negative_item(..., element = *offset + b, draw = first + j); else in proportion to
// weights, weighted_negative. users [n_rows], out [n_rows, n_draws], cumulative [n_cols]; seed, offset [1].
//
// unseen_mask: out[b, j] = 1 where users[b] has no edge to item j of the row, 0 where it has, or the item is -1. out
// [n_rows, n], a byte each. Items of their own, [n_rows, n], are looked up one by one; shared ones, [1, n], come sorted
// with `order` (sorted place -> j), and each row looks up its edges among them: B d log n steps instead of B n log d.
//
// The CPU throws std::out_of_range for an id out of range before anything is written; CUDA fails an assertion.
//
// sample_batch: row b of the batch is the sample number t = *offset + b of the stream that the seed names.
//   by edge: positive_by_edge(r, n_edges, *seed, t); by user: positive_by_user(r, active, n_active, *seed, t).
//   neg[b, j] = negative_item(r, user, *seed, Stream::negative_of_batch, element = t, draw = j).
// users, pos [batch], neg [batch, n_neg], n_neg may be 0; seed, offset [1], 0 <= *offset < 2^63 - 1 - batch, checked
// like ids. Needs at least one edge.
//
// sample_listed: out[b, j] is uniform over list = rows[b] of candidates, lists[list, 0 .. counts[list]), or -1 where
// that is empty: position uniform_below(random_u64(*seed, Stream::listed, element = *offset + b, draw = j),
// counts[list]). lists [n_lists, width], counts [n_lists] in [0, width], rows [n_rows], out [n_rows, n_draws]; seed,
// offset [1]. Ids of rows, the counts of these rows and the offset are checked as above.
//
// uniform_rows: out[b, c] = uniform4(*seed, *step, place, id = ids[b], block = c / 4, n_blocks = ceil(dim / 4)).v[c %
// 4]. ids [n_rows], >= 0, each times n_blocks below 2^63; out [n_rows, dim]; seed, step [1], *step in [0, 2^32), place
// in [0, 2^24). A row does not depend on where it stands in ids.
namespace cpu {
void sample_negatives(const Csr& r, const int64_t* cumulative, const int64_t* users, int64_t n_rows, int64_t n_draws,
                      const Draws& draws, int64_t* out, int threads);
void unseen_mask(const Csr& r, const int64_t* users, int64_t n_rows, const int64_t* items, const int64_t* order,
                 int64_t n, uint8_t* out, int threads);
void sample_batch(const Csr& r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                  const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                  int64_t* pos, int64_t* neg, int threads);
void sample_listed(const int32_t* lists, const int32_t* counts, int64_t n_lists, int64_t width, const int64_t* rows,
                   int64_t n_rows, int64_t n_draws, const int64_t* seed, const int64_t* offset, int64_t* out,
                   int threads);
void uniform_rows(const int64_t* ids, int64_t n_rows, int64_t dim, const int64_t* seed, const int64_t* step,
                  int64_t place, float* out, int threads);
}  // namespace cpu
namespace cuda {
void sample_negatives(const Csr& r, const int64_t* cumulative, const int64_t* users, int64_t n_rows, int64_t n_draws,
                      const Draws& draws, int64_t* out, void* stream);
void unseen_mask(const Csr& r, const int64_t* users, int64_t n_rows, const int64_t* items, const int64_t* order,
                 int64_t n, uint8_t* out, void* stream);
void sample_batch(const Csr& r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                  const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                  int64_t* pos, int64_t* neg, void* stream);
void sample_listed(const int32_t* lists, const int32_t* counts, int64_t n_lists, int64_t width, const int64_t* rows,
                   int64_t n_rows, int64_t n_draws, const int64_t* seed, const int64_t* offset, int64_t* out,
                   void* stream);
void uniform_rows(const int64_t* ids, int64_t n_rows, int64_t dim, const int64_t* seed, const int64_t* step,
                  int64_t place, float* out, void* stream);
}  // namespace cuda

}  // namespace fgr
