#include "fgr/row_step.h"

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

constexpr int64_t draw_cost = 128;  // operations of a permuted edge and of looking up whose it is

template <class T>
Hop<T, acc_t<T>> hop_of(const RowHop<T>& h) {
  Hop<T, acc_t<T>> hop;
  hop.indptr = h.csr.indptr;
  hop.indices = h.csr.indices;
  hop.weight = h.csr.weight;
  hop.col_scale = h.col_scale;
  hop.col_slot = h.col_slot;
  hop.x = h.x;
  hop.gain = h.gain != nullptr ? *h.gain : acc_t<T>(1);
  hop.left = h.left;
  hop.out = h.out;
  hop.beta = h.beta != nullptr ? *h.beta : acc_t<T>(1);
  hop.base = h.base;
  hop.base_slot = h.base_slot;
  hop.dim = h.dim;
  return hop;
}

template <class T, class Kernel>
void run_rows(const Csr& csr, int64_t dim, int threads, const Kernel& kernel) {
  if (csr.indptr == nullptr) {
    parallel_for(csr.n_rows, adam_cost * dim, threads, kernel);
  } else {
    parallel_rows(csr.indptr, csr.n_rows, dim, threads, kernel);
  }
}

}  // namespace

template <class T>
void row_hop(const RowHop<T>& h, const int32_t* rows, int64_t n, T* y, void*, int threads) {
  Hop<T, acc_t<T>> hop = hop_of(h);
  hop.rows = rows;
  hop.y = y;
  const auto run = [&](int64_t begin, int64_t end) { kernels<T>().step_hop(hop, begin, end); };
  if (rows == nullptr) {
    run_rows<T>(h.csr, h.dim, threads, run);
  } else {
    const int64_t degree = h.csr.indptr[h.csr.n_rows] / std::max<int64_t>(h.csr.n_rows, 1);
    parallel_for(n, h.dim * (1 + degree), threads, run);
  }
}

template <class T>
void row_update(const RowHop<T>& h, const RowTable<T>& table, const AdamOptions& adam, const double* lr,
                const int64_t* step, void*, int threads) {
  const AdamHop<T> hop{
      hop_of(h), table.emb, table.exp_avg, table.exp_avg_sq, table.shadow, table.right, adam_scalars(adam, *lr, *step)};
  run_rows<T>(h.csr, h.dim, threads, [&](int64_t begin, int64_t end) { kernels<T>().adam_hop(hop, begin, end); });
}

void own_positives(const OwnUsers& own, BatchLaw law, const int32_t* active, int64_t n_active, const int64_t* seed,
                   const int64_t* offset, int64_t batch, int64_t* users, int64_t* pos, int threads) {
  const uint64_t key = static_cast<uint64_t>(*seed);
  parallel_for(batch, draw_cost, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const UserItem p =
          own_positive(own.r, law, own.first_user, own.edges_before, own.n_edges, active, n_active, key, *offset + b);
      users[b] = p.user;
      pos[b] = p.item;
    }
  });
}

#define FGR_INSTANTIATE(T)                                                                                             \
  template void row_hop<T>(const RowHop<T>&, const int32_t*, int64_t, T*, void*, int);                                 \
  template void row_update<T>(const RowHop<T>&, const RowTable<T>&, const AdamOptions&, const double*, const int64_t*, \
                              void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
