// Samplers. The laws stand in common/sampling.h; both backends run that code, so the numbers are the same.
#pragma once

#include "common/sampling.h"
#include "fgr/types.h"

namespace fgr {

// out[b, j] = the j-th negative of users[b], uniform over the items the user has no edge to, or -1 if there is none:
// negative_item(r, users[b], *seed, Stream::negative, element = b, draw = j). users [n_rows], out [n_rows, n_draws],
// seed [1]. The CPU throws std::out_of_range for a user out of range before anything is written; CUDA traps.
//
// sample_batch: row b of the batch is the sample number t = *offset + b of the stream that the seed names.
//   by edge: positive_by_edge(r, n_edges, *seed, t); by user: positive_by_user(r, active, n_active, *seed, t).
//   neg[b, j] = negative_item(r, user, *seed, Stream::negative_of_batch, element = t, draw = j).
// users, pos [batch], neg [batch, n_neg], n_neg may be 0; seed, offset [1], *offset >= 0. Needs at least one edge.
enum class BatchLaw : int { by_edge = 0, by_user = 1 };

namespace cpu {
void sample_negatives(const Csr& r, const int64_t* users, int64_t n_rows, int64_t n_draws, const int64_t* seed,
                      int64_t* out, int threads);
void sample_batch(const Csr& r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                  const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                  int64_t* pos, int64_t* neg, int threads);
}  // namespace cpu
namespace cuda {
void sample_negatives(const Csr& r, const int64_t* users, int64_t n_rows, int64_t n_draws, const int64_t* seed,
                      int64_t* out, void* stream);
void sample_batch(const Csr& r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                  const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                  int64_t* pos, int64_t* neg, void* stream);
}  // namespace cuda

}  // namespace fgr
