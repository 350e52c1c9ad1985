#include "cuda/hop.cuh"
#include "fgr/half_hop.h"

namespace fgr::cuda {

template <class T>
void half_hop(const Bipartite& graph, Side side, const T* x, int64_t dim, const acc_t<T>* left, const acc_t<T>* right,
              const T* base, T* y, void* workspace, void* stream) {
  const int64_t n_users = graph.users.n_rows;
  const bool to_users = side == Side::users;
  const int64_t first = to_users ? 0 : n_users, other = to_users ? n_users : 0;
  // A hop numbers the nodes of both sides, so tables of one side start that many rows earlier; an empty one is null.
  const auto from = [](auto* table, int64_t row) { return table == nullptr ? table : table - row; };
  Hop<T> h;
  h.graph = graph;
  h.x = from(x, other * dim);
  h.col_scale = from(right, other);
  h.left = from(left, first);
  h.base = from(base, first * dim);
  h.partial = static_cast<acc_t<T>*>(workspace);
  h.first_node = first;
  h.last_node = to_users ? n_users : graph.n_nodes();
  h.dim = dim;
  hop("half_hop", h, StoreRow<T>{from(y, first * dim), dim}, aligned(y), stream);
}

#define FGR_INSTANTIATE(T)                                                                                             \
  template void half_hop<T>(const Bipartite&, Side, const T*, int64_t, const acc_t<T>*, const acc_t<T>*, const T*, T*, \
                            void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
