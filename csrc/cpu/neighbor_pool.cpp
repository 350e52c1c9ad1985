#include "fgr/neighbor_pool.h"

#include "common/bf16.h"
#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

template <class T>
void neighbor_pool(const T* x, int64_t n_rows, int64_t dim, const int64_t* ids, const acc_t<T>* weights, int64_t n,
                   int64_t width, T* out, int threads) {
  using A = acc_t<T>;
  check_ids("ids", ids, n * width, -1, n_rows);
  constexpr int64_t at_once = 256;  // columns summed at a time, on the stack
  parallel_for(n, dim * (1 + width), threads, [&](int64_t begin, int64_t end) {
    A sum[at_once];
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < dim; c += at_once) {
        const int64_t w = std::min(at_once, dim - c);
        for (int64_t k = 0; k < w; ++k) sum[k] = 0;
        for (int64_t t = i * width; t < (i + 1) * width; ++t) {
          if (ids[t] >= 0) kernels<T>().axpy(sum, weights[t], x + ids[t] * dim + c, w);
        }
        for (int64_t k = 0; k < w; ++k) store(out[i * dim + c + k], sum[k]);
      }
    }
  });
}

#define FGR_INSTANTIATE(T)                                                                                          \
  template void neighbor_pool<T>(const T*, int64_t, int64_t, const int64_t*, const acc_t<T>*, int64_t, int64_t, T*, \
                                 int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
