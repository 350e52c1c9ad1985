#include "fgr/propagate.h"

#include <cstring>

#include "common/bf16.h"
#include "cpu/hops.h"
#include "cpu/panel_sums.h"

namespace fgr::cpu {
template <class T>
void propagate(const Bipartite& graph, const T* x, int64_t dim, const acc_t<T>* alphas, int64_t n_alphas,
               const acc_t<T>* left, const acc_t<T>* right, T* y, void* workspace, int threads) {
  const int64_t hops = n_alphas - 1;
  if (hops == 0) {
    const acc_t<T> a = alphas[0];
    parallel_for(graph.n_nodes() * dim, 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) store(y[i], a * load(x[i]));
    });
    return;
  }
  const PropagateSpace<T> space(workspace, graph, dim, hops > 1 ? 1 : 0);
  for (const Side end : {Side::users, Side::items}) {
    Hop<T> hop;  // the first reads x itself and applies `right` as it gathers; later ones read what is scaled already
    hop.x = x;
    hop.col_scale = right;
    hop.left = left;
    hop.base = x;
    hop.dim = dim;
    inner_hops(graph, hop, alphas, hops, right, space.layer[0], end, kernels<T>().hop, threads);
    hop.beta = alphas[0];
    hop.y = y;
    run_half(graph, hop, end, kernels<T>().hop, threads);
  }
}

template <class T>
void propagate_dots(const Bipartite& graph, const T* x, const T* g, int64_t dim, int64_t n_alphas, const acc_t<T>* left,
                    const acc_t<T>* right, double* panels, acc_t<T>* dots, void* workspace, int threads) {
  const PropagateSpace<T> space(workspace, graph, dim, 2);
  const T* power = x;
  for (int64_t k = 0; k < n_alphas; ++k) {
    if (k > 0) {
      T* out = space.layer[k % 2];
      Hop<T> hop;
      hop.col_scale = right;
      hop.x = power;
      hop.left = left;
      hop.y = out;
      hop.dim = dim;
      for (const Side side : {Side::users, Side::items}) run_half(graph, hop, side, kernels<T>().hop, threads);
      power = out;
    }
    double* sums = panels + k * column_panels(dim);
    const auto row = [&](int64_t r) { return RowProduct<T>{g + r * dim, power + r * dim, 1.0}; };
    panel_sums<T>(graph.n_nodes(), dim, row, space.dots, sums, threads);
    dots[k] = static_cast<acc_t<T>>(sum_in_order(sums, column_panels(dim)));
  }
}

#define FGR_INSTANTIATE(T)                                                                                   \
  template void propagate<T>(const Bipartite&, const T*, int64_t, const acc_t<T>*, int64_t, const acc_t<T>*, \
                             const acc_t<T>*, T*, void*, int);                                               \
  template void propagate_dots<T>(const Bipartite&, const T*, const T*, int64_t, int64_t, const acc_t<T>*,   \
                                  const acc_t<T>*, double*, acc_t<T>*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
