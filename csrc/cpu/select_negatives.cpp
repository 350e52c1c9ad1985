#include "fgr/select_negatives.h"

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

template <class T>
void select_negatives(const SelectOptions& options, const T* user_emb, int64_t n_users, const T* item_emb,
                      int64_t n_items, int64_t dim, const CandidateBatch& batch, const Draws& draws, int64_t n,
                      int64_t* out, void* workspace, int threads) {
  check_ids("users", batch.users, batch.batch, 0, n_users);
  check_ids("pos", batch.pos, batch.batch, 0, n_items);
  const int64_t* rows = batch.rows_of_items();
  check_ids(batch.rows != nullptr ? "rows" : "candidates", rows, batch.batch * batch.m, -1, n_items);
  const auto dot = [&](const T* a, const T* b) { return static_cast<double>(kernels<T>().dot(a, b, dim)); };
  parallel_for(batch.batch, 2 * dim * batch.m, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* u = user_emb + batch.users[b] * dim;
      const bool score = options.law == Selection::hardest;
      const double square = score ? 0.0 : dot(u, u);
      const auto value_of = [&](int64_t item) {
        const T* i = item_emb + item * dim;
        return score ? dot(u, i) : unit_distance(dot(u, i), square, dot(i, i));
      };
      double* value = static_cast<double*>(workspace) + b * batch.m;
      for (int64_t j = 0; j < batch.m; ++j) {
        const int64_t item = rows[b * batch.m + j];
        value[j] = item < 0 ? 0.0 : value_of(item);
      }
      pick(options, batch, value, score ? 0.0 : value_of(batch.pos[b]), dim, draws, b, n, out + b * n);
    }
  });
}

#define FGR_INSTANTIATE(T)                                                                               \
  template void select_negatives<T>(const SelectOptions&, const T*, int64_t, const T*, int64_t, int64_t, \
                                    const CandidateBatch&, const Draws&, int64_t, int64_t*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
