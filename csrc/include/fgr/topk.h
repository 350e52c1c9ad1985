// The k best columns of each row of a score matrix, columns that the row's user has seen left out.
#pragma once

#include "fgr/types.h"

namespace fgr {

// scores [n_rows, n_items]; rows [n_rows]: the user whose seen items (row of `seen`) are left out, or null: nothing is
// left out. ids [n_rows, k] int64, values [n_rows, k]: in the order of common/rank_key.h (score, then tie_key(id));
// padded with -1 and -inf where fewer than k columns remain. A NaN score ranks below everything and is left out. k >=
// 1, k may exceed n_items. The time of a row grows as n_items + k log k; the workspace, of a device only, as k.
namespace cpu {
template <class T>
int64_t topk_workspace_bytes(int64_t, int64_t, int64_t) {
  return 0;
}
template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, void* workspace, int threads);
}  // namespace cpu
namespace cuda {
template <class T>
int64_t topk_workspace_bytes(int64_t n_rows, int64_t n_items, int64_t k);
template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
