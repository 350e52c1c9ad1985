#include "cuda/device.cuh"
#include "fgr/select_negatives.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 128;  // four rows of the batch a block

template <class T>
struct SelectArgs {
  SelectOptions options;
  const T* user_emb;
  int64_t n_users;
  const T* item_emb;
  int64_t n_items, dim;
  CandidateBatch batch;
  Draws draws;
  int64_t n;
  int64_t* out;
  double* value;
};

// One warp a row: together for the products, one lane for the picks, which are few.
template <class T>
__global__ void __launch_bounds__(block_threads) select_kernel(SelectArgs<T> a) {
  const int64_t b = global_warp(), m = a.batch.m;
  if (b >= a.batch.batch) return;
  const T* u = a.user_emb + checked_id(a.batch.users[b], 0, a.n_users, "users") * a.dim;
  const bool score = a.options.law == Selection::hardest;
  const double square = score ? 0.0 : static_cast<double>(warp_dot(u, u, a.dim));
  const auto value_of = [&](int64_t item) {
    const T* i = a.item_emb + item * a.dim;
    const double dot = static_cast<double>(warp_dot(u, i, a.dim));
    return score ? dot : unit_distance(dot, square, static_cast<double>(warp_dot(i, i, a.dim)));
  };
  double* value = a.value + b * m;
  for (int64_t j = 0; j < m; ++j) {
    const int64_t item = checked_id(a.batch.rows_of_items()[b * m + j], -1, a.n_items, "candidates");
    const double v = item < 0 ? 0.0 : value_of(item);
    if (lane() == 0) value[j] = v;
  }
  const int64_t pos = checked_id(a.batch.pos[b], 0, a.n_items, "pos");
  const double d_pos = score ? 0.0 : value_of(pos);
  if (lane() == 0) pick(a.options, a.batch, value, d_pos, a.dim, a.draws, b, a.n, a.out + b * a.n);
}

}  // namespace

template <class T>
void select_negatives(const SelectOptions& options, const T* user_emb, int64_t n_users, const T* item_emb,
                      int64_t n_items, int64_t dim, const CandidateBatch& batch, const Draws& draws, int64_t n,
                      int64_t* out, void* workspace, void* stream) {
  const SelectArgs<T> args{
      options, user_emb, n_users, item_emb, n_items, dim, batch, draws, n, out, static_cast<double*>(workspace)};
  launch("select_negatives", select_kernel<T>, blocks_for(batch.batch * warp, block_threads), block_threads, 0, stream,
         args);
}

#define FGR_INSTANTIATE(T)                                                                               \
  template void select_negatives<T>(const SelectOptions&, const T*, int64_t, const T*, int64_t, int64_t, \
                                    const CandidateBatch&, const Draws&, int64_t, int64_t*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
