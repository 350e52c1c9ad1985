#include "fgr/sample.h"

#include <algorithm>
#include <cstring>

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

constexpr int64_t draw_cost = 64;  // operations of a random number and of looking up what it chose
constexpr int block = 16;          // samples whose random numbers are made together

// positive_by_edge of t = first + (0 .. n), n <= block: the permutation's walk and the search for the row go on for all
// of them at once, so that they wait for memory together.
void positives_by_edge(const Csr& r, int64_t n_edges, uint64_t seed, int64_t first, int n, UserItem* out) {
  const int64_t epoch = first / n_edges;
  if ((first + n - 1) / n_edges != epoch) {
    for (int i = 0; i < n; ++i) out[i] = positive_by_edge(r, n_edges, seed, first + i);
    return;
  }
  const Permutation permutation(seed, static_cast<uint64_t>(epoch), n_edges);
  uint64_t x[block] = {}, edge[block] = {};
  int lane[block], walking = n;
  for (int i = 0; i < n; ++i) {
    x[i] = static_cast<uint64_t>(first + i - epoch * n_edges);
    lane[i] = i;
  }
  while (walking > 0) {
    level().permutation_steps(permutation, block, x);
    int left = 0;
    for (int i = 0; i < walking; ++i) {
      if (x[i] < permutation.n) {
        edge[lane[i]] = x[i];
        __builtin_prefetch(r.indices + x[i]);
      } else {
        x[left] = x[i];
        lane[left++] = lane[i];
      }
    }
    walking = left;
  }
  int64_t row[block] = {};  // the largest whose edges do not begin behind the edge
  for (int64_t rows = r.n_rows; rows > 1;) {
    const int64_t half = rows / 2;
    for (int i = 0; i < block; ++i) {
      row[i] += r.indptr[row[i] + half] <= static_cast<int64_t>(edge[i]) ? half : 0;
    }
    rows -= half;
  }
  for (int i = 0; i < n; ++i) out[i] = {row[i], r.indices[edge[i]]};
}

// positive_by_user likewise.
void positives_by_user(const Csr& r, const int32_t* active, int64_t n_active, uint64_t seed, int64_t first, int n,
                       UserItem* out) {
  RandomPair bits[2][block];
  for (const uint32_t draw : {0u, 1u}) {
    level().random_pairs(seed, Stream::positive, static_cast<uint64_t>(first), draw, block, bits[draw]);
  }
  for (int i = 0; i < n; ++i) {
    const int64_t rank = uniform_below(bits[0][i].first, n_active);
    out[i].user = active == nullptr ? rank : active[rank];
  }
  for (int i = 0; i < n; ++i) {
    const int64_t begin = r.indptr[out[i].user], degree = r.indptr[out[i].user + 1] - begin;
    out[i].item = begin + uniform_below(bits[1][i].first, degree);
    __builtin_prefetch(r.indices + out[i].item);
  }
  for (int i = 0; i < n; ++i) out[i].item = r.indices[out[i].item];
}

// negative_item of the users of t = first + (0 .. n), n <= block, into every stride-th place of out.
void negatives_of(const Csr& r, const UserItem* positives, uint64_t seed, int64_t first, uint32_t draw, int n,
                  int64_t* out, int64_t stride) {
  RandomPair bits[block];
  level().random_pairs(seed, Stream::negative_of_batch, static_cast<uint64_t>(first), draw, block, bits);
  for (int i = 0; i < n; ++i) {
    const int64_t begin = r.indptr[positives[i].user], n_seen = r.indptr[positives[i].user + 1] - begin;
    const int64_t n_unseen = r.n_cols - n_seen;
    out[i * stride] =
        n_unseen <= 0 ? -1 : nth_unseen(r.indices + begin, n_seen, uniform_below(bits[i].first, n_unseen));
  }
}

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
  parallel_for((batch + block - 1) / block, block * (8 + n_neg) * draw_cost, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin * block; b < std::min(batch, end * block); b += block) {
      const int n = static_cast<int>(std::min<int64_t>(block, batch - b));
      UserItem p[block];
      if (law == BatchLaw::by_edge) {
        positives_by_edge(r, n_edges, key, first + b, n, p);
      } else {
        positives_by_user(r, active, n_active, key, first + b, n, p);
      }
      for (int i = 0; i < n; ++i) {
        users[b + i] = p[i].user;
        pos[b + i] = p[i].item;
      }
      for (int64_t j = 0; j < n_neg; ++j) {
        negatives_of(r, p, key, first + b, static_cast<uint32_t>(j), n, neg + b * n_neg + j, n_neg);
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
