#include "fgr/half_hop.h"

#include "cpu/hops.h"

namespace fgr::cpu {
template <class T>
void half_hop(const Bipartite& graph, Side side, const T* x, int64_t dim, const acc_t<T>* left, const acc_t<T>* right,
              const T* base, T* y, void* /*workspace*/, int threads) {
  const Csr& csr = csr_of(graph, side);
  Hop<T> hop;
  hop.indptr = csr.indptr;
  hop.indices = csr.indices;
  hop.weight = csr.weight;
  hop.col_scale = right;
  hop.x = x;
  hop.left = left;
  hop.base = base;
  hop.beta = 1;
  hop.y = y;
  hop.dim = dim;
  parallel_rows(csr.indptr, csr.n_rows, dim, threads,
                [&](int64_t begin, int64_t end) { kernels<T>().hop(hop, begin, end); });
}

#define FGR_INSTANTIATE(T)                                                                                             \
  template void half_hop<T>(const Bipartite&, Side, const T*, int64_t, const acc_t<T>*, const acc_t<T>*, const T*, T*, \
                            void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
