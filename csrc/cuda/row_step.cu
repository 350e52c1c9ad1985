#include "cuda/adam_row.cuh"
#include "fgr/row_step.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

// A hop numbers the nodes of both sides, own rows first here, so tables of the columns start that many rows earlier.
template <class T>
Hop<T, acc_t<T>, true> hop_of(const RowHop<T>& r, const RowSpace<T>& space) {
  const int64_t n_own = r.csr.n_rows;
  const auto from = [n_own](auto* table, int64_t width) { return table == nullptr ? table : table - n_own * width; };
  Hop<T, acc_t<T>, true> h;
  h.graph = {r.csr, {nullptr, nullptr, nullptr, r.csr.n_cols, n_own}, r.schedule};
  h.x = r.col_slot != nullptr ? r.x : from(r.x, r.dim);
  h.col_scale = from(r.col_scale, 1);
  h.col_slot = from(r.col_slot, 1);
  h.gain = r.gain;
  h.left = r.left;
  h.out = r.out;
  h.beta = r.beta;
  h.base = r.base;
  h.base_slot = r.base_slot;
  h.last_node = n_own;
  h.partial = space.partial;
  h.dim = r.dim;
  h.whole_dim = r.whole_dim;
  return h;
}

__global__ void places_kernel(const int32_t* rows, int64_t n, int32_t* place, int32_t* count) {
  const int64_t i = global_thread();
  if (i == 0) *count = static_cast<int32_t>(n);
  if (i < n) place[rows[i]] = static_cast<int32_t>(i);
}

__global__ void positives_kernel(OwnUsers own, BatchLaw law, const int32_t* active, int64_t n_active,
                                 const int64_t* seed, const int64_t* offset, int64_t batch, int64_t* users,
                                 int64_t* pos) {
  const int64_t b = global_thread();
  if (b >= batch) return;
  const UserItem p = own_positive(own.r, law, own.first_user, own.edges_before, own.n_edges, active, n_active,
                                  static_cast<uint64_t>(*seed), *offset + b);
  users[b] = p.user;
  pos[b] = p.item;
}

}  // namespace

template <class T>
void row_hop(const RowHop<T>& r, const int32_t* rows, int64_t n, T* y, void* workspace, void* stream) {
  const RowSpace<T> space(workspace, r.csr.n_rows, r.schedule, r.dim);
  Hop<T, acc_t<T>, true> h = hop_of(r, space);
  if (rows != nullptr) {
    check(cudaMemsetAsync(space.place, -1, static_cast<size_t>(r.csr.n_rows) * sizeof(int32_t),
                          static_cast<cudaStream_t>(stream)),
          "row_hop");
    launch("row_hop", places_kernel, blocks_for(n, block_threads), block_threads, 0, stream, rows, n, space.place,
           space.count);
    h.rows = rows;
    h.row_slot = space.place;
    h.n_rows = space.count;
    h.most_rows = n;
  }
  hop("row_hop", h, StoreRow<T>{y, r.dim}, aligned(y), stream);
}

template <class T>
void row_update(const RowHop<T>& r, const RowTable<T>& table, const AdamOptions& adam, const double* lr,
                const int64_t* step, void* workspace, void* stream) {
  using A = acc_t<T>;
  const RowSpace<T> space(workspace, r.csr.n_rows, r.schedule, r.dim);
  auto* rates = reinterpret_cast<AdamRates<A>*>(space.rates);
  launch("row_update", rates_kernel<A>, 1, 1, 0, stream, adam, lr, step, rates);
  StepModel<T> model{};
  model.dim = r.dim;
  model.emb = table.emb;
  model.exp_avg = table.exp_avg;
  model.exp_avg_sq = table.exp_avg_sq;
  model.shadow = table.shadow;
  model.right = table.right;
  const bool wide = aligned(table.emb) && aligned(table.exp_avg) && aligned(table.exp_avg_sq) && aligned(table.shadow);
  hop("row_update", hop_of(r, space), AdamRow<T>{model, rates}, wide, stream);
}

void own_positives(const OwnUsers& own, BatchLaw law, const int32_t* active, int64_t n_active, const int64_t* seed,
                   const int64_t* offset, int64_t batch, int64_t* users, int64_t* pos, void* stream) {
  launch("own_positives", positives_kernel, blocks_for(batch, block_threads), block_threads, 0, stream, own, law,
         active, n_active, seed, offset, batch, users, pos);
}

#define FGR_INSTANTIATE(T)                                                                                             \
  template void row_hop<T>(const RowHop<T>&, const int32_t*, int64_t, T*, void*, void*);                               \
  template void row_update<T>(const RowHop<T>&, const RowTable<T>&, const AdamOptions&, const double*, const int64_t*, \
                              void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
