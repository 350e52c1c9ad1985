// The laws of the samplers: what one element of the output is, as a pure function. Both backends run exactly this.
#pragma once

#include "common/philox.h"
#include "fgr/types.h"

namespace fgr {

// The r-th (from 0) item that is not in the sorted list seen[0, n_seen), r < n_items - n_seen.
// Item seen[k] has seen[k] - k unseen items before it, so the answer is r + (number of k with seen[k] - k <= r).
FGR_HOST_DEVICE int64_t nth_unseen(const int32_t* seen, int64_t n_seen, int64_t r) {
  int64_t lo = 0;
  for (int64_t n = n_seen; n > 0;) {  // without a branch that could be foretold wrongly
    const int64_t half = (n + 1) / 2, mid = lo + half - 1;
    lo += seen[mid] - mid <= r ? half : 0;
    n -= half;
  }
  return r + lo;
}

// The first k with sorted[k] >= x, or n.
template <class T, class X>
FGR_HOST_DEVICE int64_t lower_bound(const T* sorted, int64_t n, X x) {
  int64_t lo = 0, hi = n;
  while (lo < hi) {
    const int64_t mid = lo + (hi - lo) / 2;
    if (sorted[mid] < x) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return lo;
}

FGR_HOST_DEVICE bool has_edge(const Csr& r, int64_t user, int64_t item) {
  const int32_t* seen = r.indices + r.indptr[user];
  const int64_t n_seen = r.indptr[user + 1] - r.indptr[user], at = lower_bound(seen, n_seen, item);
  return at < n_seen && seen[at] == item;
}

// Which random numbers a sampler takes: row b, draw j those of (*seed, stream, element = *offset + b, draw = first +
// j).
struct Draws {
  const int64_t* seed;
  const int64_t* offset;
  Stream stream;
  uint32_t first;
  FGR_HOST_DEVICE uint64_t bits(int64_t b, uint32_t draw) const {
    return random_u64(static_cast<uint64_t>(*seed), stream, static_cast<uint64_t>(*offset + b), first + draw);
  }
};

// Uniform over the items that the user has not seen, in one draw; -1 where there is none.
FGR_HOST_DEVICE int64_t negative_item(const Csr& r, int64_t user, uint64_t seed, Stream stream, uint64_t element,
                                      uint32_t draw) {
  const int64_t begin = r.indptr[user];
  const int64_t n_seen = r.indptr[user + 1] - begin;
  const int64_t n_unseen = r.n_cols - n_seen;
  if (n_unseen <= 0) return -1;
  const int64_t rank = uniform_below(random_u64(seed, stream, element, draw), n_unseen);
  return nth_unseen(r.indices + begin, n_seen, rank);
}

// Items drawn in proportion to integer weights: cumulative[i] = the weights of items 0 .. i, monotone, the last < 2^62.
FGR_HOST_DEVICE int64_t weight_before(const int64_t* cumulative, int64_t item) {
  return item > 0 ? cumulative[item - 1] : 0;
}

// The j-th negative by weight: an item that the user has not seen, with probability (its weight) / (the weights of all
// that the user has not seen), exactly; -1 where these are 0. Items drawn from all are thrown away while seen; after
// weighted_tries the last draw walks what the seen items leave of the weights, so the law holds whatever was thrown
// away. Takes the weighted_tries + 1 draws from j * (weighted_tries + 1) on.
constexpr uint32_t weighted_tries = 15;
FGR_HOST_DEVICE int64_t weighted_negative(const Csr& r, const int64_t* cumulative, int64_t user, const Draws& draws,
                                          int64_t b, uint32_t j) {
  const int64_t n_items = r.n_cols, total = n_items > 0 ? cumulative[n_items - 1] : 0;
  const uint32_t first = j * (weighted_tries + 1);
  const auto item_at = [&](int64_t x) { return lower_bound(cumulative, n_items, x + 1); };
  if (total <= 0) return -1;
  for (uint32_t a = 0; a < weighted_tries; ++a) {
    const int64_t item = item_at(uniform_below(draws.bits(b, first + a), total));
    if (!has_edge(r, user, item)) return item;
  }
  const int64_t begin = r.indptr[user], end = r.indptr[user + 1];
  int64_t unseen = total;
  for (int64_t e = begin; e < end; ++e) {
    unseen -= cumulative[r.indices[e]] - weight_before(cumulative, r.indices[e]);
  }
  if (unseen <= 0) return -1;
  int64_t at = uniform_below(draws.bits(b, first + weighted_tries), unseen);
  for (int64_t e = begin; e < end; ++e) {  // steps over the seen items' weights
    const int64_t before = weight_before(cumulative, r.indices[e]);
    if (at < before) break;
    at += cumulative[r.indices[e]] - before;
  }
  return item_at(at);
}

// The j-th negative of row b: uniform without `cumulative`, else by weight.
FGR_HOST_DEVICE int64_t drawn_negative(const Csr& r, const int64_t* cumulative, int64_t user, const Draws& draws,
                                       int64_t b, uint32_t j) {
  if (cumulative != nullptr) return weighted_negative(r, cumulative, user, draws, b, j);
  return negative_item(r, user, static_cast<uint64_t>(*draws.seed), draws.stream,
                       static_cast<uint64_t>(*draws.offset + b), draws.first + j);
}

// Clears the places of an item in a row of a mask over sorted items, order[k] the place of the k-th.
FGR_HOST_DEVICE void mask_item(const int64_t* sorted, const int64_t* order, int64_t n, int64_t item, uint8_t* row) {
  for (int64_t k = lower_bound(sorted, n, item); k < n && sorted[k] == item; ++k) row[order[k]] = 0;
}

// Uniform over list[0, n); -1 where n is 0.
FGR_HOST_DEVICE int64_t listed_item(const int32_t* list, int64_t n, uint64_t seed, uint64_t element, uint32_t draw) {
  return n > 0 ? list[uniform_below(random_u64(seed, Stream::listed, element, draw), n)] : -1;
}

// The row that owns edge e: the largest row with indptr[row] <= e.
FGR_HOST_DEVICE int64_t row_of_edge(const int64_t* indptr, int64_t n_rows, int64_t e) {
  int64_t lo = 0, hi = n_rows;
  while (hi - lo > 1) {
    const int64_t mid = lo + (hi - lo) / 2;
    if (indptr[mid] <= e) {
      lo = mid;
    } else {
      hi = mid;
    }
  }
  return lo;
}

// A pseudo-random permutation of [0, n), n >= 1, without a table: a six-round Feistel network on the smallest even
// number of bits that holds n, walked until it lands in the range (Black & Rogaway 2002, "Ciphers with arbitrary finite
// domains"). The walk ends: it follows a cycle that contains i itself; it takes fewer than four steps on average.
struct Permutation {
  uint64_t key, n, mask;
  int half;

  FGR_HOST_DEVICE Permutation(uint64_t seed, uint64_t epoch, int64_t size)
      : key(seed ^ (epoch * 0x9E3779B97F4A7C15u)), n(static_cast<uint64_t>(size)), half(1) {
    while ((static_cast<uint64_t>(1) << (2 * half)) < n) ++half;
    mask = (static_cast<uint64_t>(1) << half) - 1;
  }
  // One step of the walk.
  FGR_HOST_DEVICE uint64_t step(uint64_t x) const {
    uint64_t left = x >> half, right = x & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const uint64_t hi = (static_cast<uint64_t>(static_cast<uint32_t>(Stream::permutation)) << 32) | round;
      const Philox4 f = philox4x32_10(key, right, hi);
      const uint64_t next = left ^ (((static_cast<uint64_t>(f.v[1]) << 32) | f.v[0]) & mask);
      left = right;
      right = next;
    }
    return (left << half) | right;
  }
  FGR_HOST_DEVICE int64_t at(int64_t i) const {
    uint64_t x = static_cast<uint64_t>(i);
    do x = step(x);
    while (x >= n);
    return static_cast<int64_t>(x);
  }
};
FGR_HOST_DEVICE int64_t permute(uint64_t seed, uint64_t epoch, int64_t n, int64_t i) {
  return Permutation(seed, epoch, n).at(i);
}

struct UserItem {
  int64_t user;
  int64_t item;
};

// The t-th positive when edges are drawn without replacement: every n_edges consecutive values of t visit each edge
// once.
FGR_HOST_DEVICE UserItem positive_by_edge(const Csr& r, int64_t n_edges, uint64_t seed, int64_t t) {
  const int64_t epoch = t / n_edges;
  const int64_t e = permute(seed, static_cast<uint64_t>(epoch), n_edges, t - epoch * n_edges);
  return {row_of_edge(r.indptr, r.n_rows, e), r.indices[e]};
}

// The t-th positive when users are drawn: a user uniform over those with an edge, then one of the user's items,
// uniform.
//   active [n_active]: the users with at least one edge; null when that is every user.
FGR_HOST_DEVICE UserItem positive_by_user(const Csr& r, const int32_t* active, int64_t n_active, uint64_t seed,
                                          int64_t t) {
  const uint64_t element = static_cast<uint64_t>(t);
  const int64_t rank = uniform_below(random_u64(seed, Stream::positive, element, 0), n_active);
  const int64_t user = active == nullptr ? rank : active[rank];
  const int64_t begin = r.indptr[user];
  const int64_t degree = r.indptr[user + 1] - begin;
  const int64_t k = uniform_below(random_u64(seed, Stream::positive, element, 1), degree);
  return {user, r.indices[begin + k]};
}

enum class BatchLaw : int { by_edge = 0, by_user = 1 };

// The t-th positive where `r` holds the rows of users from first_user on alone, of a graph of n_edges edges, of which
// edges_before are of users before; {-1, -1} where its user is another.
FGR_HOST_DEVICE UserItem own_positive(const Csr& r, BatchLaw law, int64_t first_user, int64_t edges_before,
                                      int64_t n_edges, const int32_t* active, int64_t n_active, uint64_t seed,
                                      int64_t t) {
  if (law == BatchLaw::by_edge) {
    const int64_t epoch = t / n_edges;
    const int64_t e = permute(seed, static_cast<uint64_t>(epoch), n_edges, t - epoch * n_edges) - edges_before;
    if (e < 0 || e >= r.indptr[r.n_rows]) return {-1, -1};
    return {first_user + row_of_edge(r.indptr, r.n_rows, e), r.indices[e]};
  }
  const uint64_t element = static_cast<uint64_t>(t);
  const int64_t rank = uniform_below(random_u64(seed, Stream::positive, element, 0), n_active);
  const int64_t user = active == nullptr ? rank : active[rank], row = user - first_user;
  if (row < 0 || row >= r.n_rows) return {-1, -1};
  const int64_t begin = r.indptr[row];
  return {user,
          r.indices[begin + uniform_below(random_u64(seed, Stream::positive, element, 1), r.indptr[row + 1] - begin)]};
}

// Four columns of a row of `uniform_rows`, from column 4 * block on: 24 bits each, on [0, 1). `place` < 2^24 takes the
// bits of the counter above the stream.
struct Uniform4 {
  float v[4];
};
FGR_HOST_DEVICE Uniform4 uniform4(uint64_t seed, int64_t step, int64_t place, int64_t id, int64_t block,
                                  int64_t n_blocks) {
  const uint64_t hi = (static_cast<uint64_t>(place) << 40) | (static_cast<uint64_t>(Stream::uniform) << 32) |
                      static_cast<uint32_t>(step);
  const Philox4 r = philox4x32_10(seed, static_cast<uint64_t>(id * n_blocks + block), hi);
  Uniform4 u{};
  for (int j = 0; j < 4; ++j) u.v[j] = static_cast<float>(r.v[j] >> 8) * 0x1p-24f;
  return u;
}

}  // namespace fgr
