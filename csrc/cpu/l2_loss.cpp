#include "fgr/l2_loss.h"

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

template <class T>
void l2_loss(const T* emb, int64_t n_rows, int64_t dim, const int64_t* ids, int64_t n, acc_t<T>* loss, void* workspace,
             int threads) {
  check_ids("ids", ids, n, -1, n_rows);
  double* row = static_cast<double*>(workspace);
  parallel_for(n, dim, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* e = emb + std::max<int64_t>(ids[i], 0) * dim;
      row[i] = ids[i] < 0 ? 0.0 : static_cast<double>(kernels<T>().dot(e, e, dim));
    }
  });
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += row[i];
  *loss = static_cast<acc_t<T>>(0.5 * sum);
}

#define FGR_INSTANTIATE(T) \
  template void l2_loss<T>(const T*, int64_t, int64_t, const int64_t*, int64_t, acc_t<T>*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
