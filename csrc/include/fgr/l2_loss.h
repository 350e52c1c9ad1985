// loss = 1/2 sum_n |emb[ids[n]]|^2: the ridge penalty on the rows of a batch, repeated rows counted as often as they
// occur.
#pragma once

#include "common/column_panels.h"

namespace fgr {

// emb [n_rows, dim]; ids [n], in [0, n_rows) or -1 (skipped); loss [1], overwritten. panels [column_panels(dim)],
// overwritten: sum_n |emb[ids[n]]|^2 over each panel of columns, whose sum in order is twice the loss. The CPU throws
// std::out_of_range for an id out of range; CUDA fails an assertion. Its gradient is scatter_rows(ids, src = emb,
// src_index = ids).
inline int64_t l2_loss_workspace_bytes(int64_t n, int64_t dim) {
  return panel_blocks(n) * column_panels(dim) * static_cast<int64_t>(sizeof(double));
}
namespace cpu {
template <class T>
void l2_loss(const T* emb, int64_t n_rows, int64_t dim, const int64_t* ids, int64_t n, double* panels, acc_t<T>* loss,
             void* workspace, int threads);
}
namespace cuda {
template <class T>
void l2_loss(const T* emb, int64_t n_rows, int64_t dim, const int64_t* ids, int64_t n, double* panels, acc_t<T>* loss,
             void* workspace, void* stream);
}

}  // namespace fgr
