// Weighted sums of listed rows: out[i, :] = sum over t of weights[i, t] * x[ids[i, t], :].
#pragma once

#include "fgr/types.h"

namespace fgr {

// x [n_rows, dim]; ids [n, width], values in [0, n_rows) or -1 (skipped, whatever its weight is); weights [n, width];
// out [n, dim], overwritten (lists without a row give zeros). The terms of a row are added in the order of t, in the
// accumulator type of T: the same bits for any number of threads. The CPU throws std::out_of_range for an id out of
// range before anything is written; CUDA fails an assertion, and takes rows of less than 2^31 bytes and fewer than 2^31
// of them.
namespace cpu {
template <class T>
void neighbor_pool(const T* x, int64_t n_rows, int64_t dim, const int64_t* ids, const acc_t<T>* weights, int64_t n,
                   int64_t width, T* out, int threads);
}  // namespace cpu
namespace cuda {
template <class T>
void neighbor_pool(const T* x, int64_t n_rows, int64_t dim, const int64_t* ids, const acc_t<T>* weights, int64_t n,
                   int64_t width, T* out, void* stream);
}  // namespace cuda

}  // namespace fgr
