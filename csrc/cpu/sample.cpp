#include "fgr/sample.h"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

constexpr int64_t draw_cost = 64;  // operations of a random number and of looking up what it chose

}  // namespace

void sample_negatives(const Csr& r, const int64_t* cumulative, const int64_t* users, int64_t n_rows, int64_t n_draws,
                      const Draws& draws, int64_t* out, int threads) {
  check_ids("users", users, n_rows, 0, r.n_rows);
  const int64_t cost = n_draws * draw_cost * (cumulative != nullptr ? 4 : 1);
  parallel_for(n_rows, cost, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t j = 0; j < n_draws; ++j) {
        out[b * n_draws + j] = drawn_negative(r, cumulative, users[b], draws, b, static_cast<uint32_t>(j));
      }
    }
  });
}

void unseen_mask(const Csr& r, const int64_t* users, int64_t n_rows, const int64_t* items, const int64_t* order,
                 int64_t n, uint8_t* out, int threads) {
  check_ids("users", users, n_rows, 0, r.n_rows);
  check_ids("items", items, order != nullptr ? n : n_rows * n, -1, r.n_cols);
  constexpr int64_t search = 16;
  const int64_t degree = r.n_rows > 0 ? r.indptr[r.n_rows] / r.n_rows : 0;
  parallel_for(n_rows, order != nullptr ? n + degree * search : n * search, threads, [&](int64_t begin, int64_t end) {
    uint8_t* first = out + begin * n;  // shared items: every row begins as this one
    if (order != nullptr) {
      for (int64_t k = 0; k < n; ++k) first[order[k]] = items[k] >= 0;
      for (int64_t b = begin + 1; b < end; ++b) std::memcpy(out + b * n, first, static_cast<size_t>(n));
    }
    for (int64_t b = begin; b < end; ++b) {
      uint8_t* row = out + b * n;
      if (order == nullptr) {
        for (int64_t j = 0; j < n; ++j) row[j] = items[b * n + j] >= 0 && !has_edge(r, users[b], items[b * n + j]);
        continue;
      }
      for (int64_t e = r.indptr[users[b]]; e < r.indptr[users[b] + 1]; ++e) {
        mask_item(items, order, n, r.indices[e], row);
      }
    }
  });
}

void sample_batch(const Csr& r, int64_t n_edges, BatchLaw law, const int32_t* active, int64_t n_active,
                  const int64_t* seed, const int64_t* offset, int64_t batch, int64_t n_neg, int64_t* users,
                  int64_t* pos, int64_t* neg, int threads) {
  check_ids("offset", offset, 1, 0, INT64_MAX - batch);
  const uint64_t key = static_cast<uint64_t>(*seed);
  const int64_t first = *offset;
  parallel_for(batch, (8 + n_neg) * draw_cost, threads, [&](int64_t begin, int64_t end) {
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

void sample_listed(const int32_t* lists, const int32_t* counts, int64_t n_lists, int64_t width, const int64_t* rows,
                   int64_t n_rows, int64_t n_draws, const int64_t* seed, const int64_t* offset, int64_t* out,
                   int threads) {
  check_ids("rows", rows, n_rows, 0, n_lists);
  check_ids("offset", offset, 1, 0, INT64_MAX - n_rows);
  for (int64_t b = 0; b < n_rows; ++b) {
    if (counts[rows[b]] < 0 || counts[rows[b]] > width) {
      throw std::out_of_range("counts: " + std::to_string(counts[rows[b]]) + " at position " + std::to_string(rows[b]) +
                              " is outside [0, " + std::to_string(width) + "], the places of a list");
    }
  }
  const uint64_t key = static_cast<uint64_t>(*seed);
  parallel_for(n_rows, n_draws * draw_cost, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t j = 0; j < n_draws; ++j) {
        out[b * n_draws + j] = listed_item(lists + rows[b] * width, counts[rows[b]], key,
                                           static_cast<uint64_t>(*offset + b), static_cast<uint32_t>(j));
      }
    }
  });
}

void uniform_rows(const int64_t* ids, int64_t n_rows, int64_t dim, const int64_t* seed, const int64_t* step,
                  int64_t place, float* out, int threads) {
  const uint64_t key = static_cast<uint64_t>(*seed);
  const int64_t t = *step, n_blocks = (dim + 3) / 4;
  parallel_for(n_rows, n_blocks * draw_cost, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t block = 0; block < n_blocks; ++block) {
        const Uniform4 u = uniform4(key, t, place, ids[b], block, n_blocks);
        const int64_t first = 4 * block;
        std::copy_n(u.v, std::min<int64_t>(4, dim - first), out + b * dim + first);
      }
    }
  });
}

}  // namespace fgr::cpu
