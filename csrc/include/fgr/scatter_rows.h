// out[r, :] = scale * sum over n with ids[n] = r of coef[n] * src[src_index[n], :]: a reproducible scatter-add. It is
// the backward of every gather of embedding rows.
#pragma once

#include <stdexcept>
#include <string>

#include "fgr/types.h"

namespace fgr {

// Positions are kept as int32, ids as 32 bits.
inline void check_positions(int64_t n, int64_t n_out) {
  if (n <= INT32_MAX && n_out <= INT32_MAX) return;
  throw std::invalid_argument(std::to_string(n) + " ids of " + std::to_string(n_out) +
                              " rows: a call takes at most 2^31 - 1 of each; split the batch");
}

// ids [n], values in [0, n_out) or -1 (skipped); coef [n] or null (= 1); src_index [n] or null (= 0, 1, ...), values in
// [0, n_src); src [n_src, dim]; scale [1] or null (= 1); out [n_out, dim], overwritten (rows without an id give zeros).
// The terms of a row are added in the order of n, in the accumulator type of T (on a device, of more than 128 terms 16
// stretches are, and then their sums in order): the same bits for any number of threads. n < 2^31. The CPU throws
// std::out_of_range for an id out of range before anything is written; CUDA fails an assertion. S is the storage type
// of src: T itself or acc_t<T>.
namespace cpu {
int64_t scatter_rows_workspace_bytes(int64_t n, int64_t n_out);
template <class S, class T>
void scatter_rows(const int64_t* ids, const acc_t<T>* coef, const S* src, const int64_t* src_index, int64_t n,
                  int64_t n_src, int64_t dim, const acc_t<T>* scale, T* out, int64_t n_out, void* workspace,
                  int threads);
}  // namespace cpu
namespace cuda {
int64_t scatter_rows_workspace_bytes(int64_t n, int64_t n_out);
template <class S, class T>
void scatter_rows(const int64_t* ids, const acc_t<T>* coef, const S* src, const int64_t* src_index, int64_t n,
                  int64_t n_src, int64_t dim, const acc_t<T>* scale, T* out, int64_t n_out, void* workspace,
                  void* stream);
}  // namespace cuda

}  // namespace fgr
