#include "fgr/sample.h"

#include "cpu/parallel.h"

namespace fgr::cpu {

void sample_negatives(const Csr& r, const int64_t* users, int64_t n_rows, int64_t n_draws, const int64_t* seed,
                      int64_t* out, int threads) {
  check_ids("users", users, n_rows, 0, r.n_rows);
  const uint64_t key = static_cast<uint64_t>(*seed);
  parallel_for(n_rows, 256, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t j = 0; j < n_draws; ++j) {
        out[b * n_draws + j] =
            negative_item(r, users[b], key, Stream::negative, static_cast<uint64_t>(b), static_cast<uint32_t>(j));
      }
    }
  });
}

void sample_batch(const Csr& r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                  const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                  int64_t* pos, int64_t* neg, int threads) {
  const uint64_t key = static_cast<uint64_t>(*seed);
  const int64_t first = *offset;
  parallel_for(batch, 256, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t t = first + b;
      const UserItem p = law == BatchLaw::by_edge ? positive_by_edge(r, n_edges, key, t)
                                                  : positive_by_user(r, active, n_active, key, t);
      users[b] = p.user;
      pos[b] = p.item;
      for (int64_t j = 0; j < n_neg; ++j) {
        neg[b * n_neg + j] = negative_item(r, p.user, key, Stream::negative_of_batch, static_cast<uint64_t>(t),
                                           static_cast<uint32_t>(j));
      }
    }
  });
}

}  // namespace fgr::cpu
