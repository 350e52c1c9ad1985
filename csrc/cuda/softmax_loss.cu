#include "cuda/softmax_simt.cuh"
#include "cuda/softmax_split.cuh"

namespace fgr::cuda {

int64_t softmax_loss_workspace_bytes(int64_t batch, int64_t dim, int64_t accumulator_size) {
  return accumulator_size == sizeof(float) ? SplitSpace(nullptr, batch, dim).arena.used
                                           : SimtSpace<double>(nullptr, batch, dim).arena.used;
}

template <class T>
void softmax_loss(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                  const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                  acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* item_rows, void* workspace, void* stream) {
  if constexpr (sizeof(acc_t<T>) == sizeof(float)) {
    softmax_split(user_emb, n_users, item_emb, n_items, dim, users, pos, batch, options, loss, user_rows, item_rows,
                  workspace, stream);
  } else {
    softmax_simt(user_emb, n_users, item_emb, n_items, dim, users, pos, batch, options, loss, user_rows, item_rows,
                 workspace, stream);
  }
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
