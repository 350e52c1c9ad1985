#include "cuda/panel_sums.cuh"
#include "fgr/l2_loss.h"

namespace fgr::cuda {
namespace {

// The square of what id n has in a column.
template <class T>
struct Square {
  const T* emb;
  int64_t n_rows, dim;
  const int64_t* ids;

  __device__ double operator()(int64_t n, int64_t c) const {
    const int64_t id = checked_id(ids[n], -1, n_rows, "ids", "l2_loss");
    const double x = id < 0 ? 0.0 : static_cast<double>(load(emb[id * dim + c]));
    return x * x;
  }
};

}  // namespace

template <class T>
void l2_loss(const T* emb, int64_t n_rows, int64_t dim, const int64_t* ids, int64_t n, double* panels, acc_t<T>* loss,
             void* workspace, void* stream) {
  panel_sums("l2_loss", n, dim, Square<T>{emb, n_rows, dim, ids}, static_cast<double*>(workspace), panels, 0.5, loss,
             false, stream);
}

#define FGR_INSTANTIATE(T) \
  template void l2_loss<T>(const T*, int64_t, int64_t, const int64_t*, int64_t, double*, acc_t<T>*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
