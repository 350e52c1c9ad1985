#include "fgr/l2_loss.h"

#include "cpu/panel_sums.h"

namespace fgr::cpu {

template <class T>
void l2_loss(const T* emb, int64_t n_rows, int64_t dim, const int64_t* ids, int64_t n, double* panels, acc_t<T>* loss,
             void* workspace, int threads) {
  check_ids("ids", ids, n, -1, n_rows);
  const auto row = [&](int64_t i) {
    const T* e = ids[i] < 0 ? nullptr : emb + ids[i] * dim;
    return RowProduct<T>{e, e, 1.0};
  };
  panel_sums<T>(n, dim, row, static_cast<double*>(workspace), panels, threads);
  *loss = static_cast<acc_t<T>>(0.5 * sum_in_order(panels, column_panels(dim)));
}

#define FGR_INSTANTIATE(T) \
  template void l2_loss<T>(const T*, int64_t, int64_t, const int64_t*, int64_t, double*, acc_t<T>*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
