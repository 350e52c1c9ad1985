#include "fgr/build.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

struct Pair {
  int32_t key, value;
};

// Keys whose edges are put in place at a time, each key a stream of writes: their lines and starts stay in an L2 of 1
// MiB. Beyond most_blocks of them the blocks grow instead, for the first pass has a stream for each.
constexpr int64_t block_keys = 1 << 13, most_blocks = 1 << 11;
constexpr int64_t most_of_a_stretch = 1 << 22, rows_of_a_look = 1 << 16;  // edges, rows: some milliseconds
// Pairs that lie beside the result at a time: 2^26 (512 MiB), an eighth of all, or a block that is larger. All edges
// are gone through once for each such round.
constexpr int64_t grains_of_a_round = 1 << 10, most_rounds = 8;

// Stable counting sort of edges by key, in two passes that write where the cache holds it: to blocks of keys, then by
// key within a block, as many blocks in a round as have few enough edges. each(t, n, fn) calls fn(key, value, weight)
// for every edge of the t-th of n stretches, in order.
//   indptr [n_keys + 1], values [n_edges], weights [n_edges] or null: overwritten. The result does not depend on
//   threads.
template <class Each>
void sort_by_key(const Each& each, int64_t n_edges, int64_t n_keys, int64_t* indptr, int32_t* values, float* weights,
                 int threads) {
  int shift = 0;
  while ((int64_t{1} << shift) < block_keys || (n_keys >> shift) >= most_blocks) ++shift;
  const int64_t blocks = (n_keys + (int64_t{1} << shift) - 1) >> shift;
  const int64_t most = std::max<int64_t>(threads, n_edges / most_of_a_stretch);
  const int64_t stretches = std::clamp<int64_t>(n_edges / grain(), 1, std::max<int64_t>(most, 1));
  std::vector<int64_t> at(static_cast<size_t>(stretches * blocks));  // of [stretch, block]: edges, then where they go
  const auto in_parallel = [&](const auto& fn) {
    parallel_for(stretches, n_edges / stretches, threads, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) fn(t, at.data() + t * blocks);
    });
  };
  in_parallel([&](int64_t t, int64_t* count) {
    each(t, stretches, [&](int64_t key, int64_t, float) { ++count[key >> shift]; });
  });
  const std::vector<int64_t> first = first_of_parts(at, stretches, blocks);

  // Rounds of blocks, and the pairs of the largest one.
  const int64_t most_pairs = std::max(grain() * grains_of_a_round, n_edges / most_rounds);
  std::vector<int64_t> rounds{0};
  int64_t room = 0;
  while (rounds.back() < blocks) {
    const int64_t* begin = &first[static_cast<size_t>(rounds.back())];
    const int64_t* end = std::upper_bound(begin + 2, first.data() + blocks + 1, *begin + most_pairs) - 1;
    rounds.push_back(end - first.data());
    room = std::max(room, *end - *begin);
  }
  const std::unique_ptr<Pair[]> pairs(new Pair[static_cast<size_t>(room)]);
  const std::unique_ptr<float[]> pair_weights(weights != nullptr ? new float[static_cast<size_t>(room)] : nullptr);

  indptr[0] = 0;
  for (size_t round = 0; round + 1 < rounds.size(); ++round) {
    const int64_t from_block = rounds[round], to_block = rounds[round + 1];
    const int64_t base = first[static_cast<size_t>(from_block)], n = first[static_cast<size_t>(to_block)] - base;
    in_parallel([&](int64_t t, int64_t* to) {
      each(t, stretches, [&](int64_t key, int64_t value, float weight) {
        const int64_t block = key >> shift;
        if (block < from_block || block >= to_block) return;
        const int64_t e = to[block]++ - base;
        pairs[static_cast<size_t>(e)] = {static_cast<int32_t>(key), static_cast<int32_t>(value)};
        if (weights != nullptr) pair_weights[static_cast<size_t>(e)] = weight;
      });
    });
    const int64_t of_round = to_block - from_block;
    parallel_for(of_round, (n + (of_round << shift)) / of_round, threads, [&](int64_t begin, int64_t end) {
      for (int64_t b = from_block + begin; b < from_block + end; ++b) {
        const int64_t key = b << shift, last_key = std::min(n_keys, (b + 1) << shift);
        const Pair *from = pairs.get() + (first[static_cast<size_t>(b)] - base),
                   *to = pairs.get() + (first[static_cast<size_t>(b) + 1] - base);
        // indptr[k + 1] counts key k's edges, then is where its next one goes, and so in the end where it stops.
        std::memset(indptr + key + 1, 0, static_cast<size_t>(last_key - key) * sizeof(int64_t));
        const auto each_pair = [&](const auto& fn) {  // false: interrupted
          for (const Pair* p = from; p != to;) {
            if (interrupted()) return false;
            for (const Pair* stop = p + std::min<int64_t>(to - p, most_of_a_stretch); p != stop; ++p) fn(p);
          }
          return true;
        };
        if (!each_pair([&](const Pair* p) { ++indptr[p->key + 1]; })) return;
        int64_t next = first[static_cast<size_t>(b)];
        for (int64_t k = key; k < last_key; ++k) {
          const int64_t count = indptr[k + 1];
          indptr[k + 1] = next;
          next += count;
        }
        const bool done = each_pair([&](const Pair* p) {
          const int64_t e = indptr[p->key + 1]++;
          values[e] = p->value;
          if (weights != nullptr) weights[e] = pair_weights[static_cast<size_t>(p - pairs.get())];
        });
        if (!done) return;
      }
    });
  }
}

}  // namespace

template <class I>
void edge_bounds(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
                 float least, EdgeBounds* out, int threads) {
  *out = {};
  std::mutex joining;
  parallel_for(n_edges, 1, threads, [&](int64_t begin, int64_t end) {
    EdgeBounds own;
    for (int64_t e = begin; e < end; ++e) own.take(rows, cols, weight, e, n_edges, n_rows, n_cols, least);
    const std::lock_guard<std::mutex> lock(joining);
    out->join(own);
  });
}

template <class I>
void bucket_edges(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t* indptr,
                  int32_t* indices, float* out_weight, int threads) {
  const auto each = [&](int64_t t, int64_t n, const auto& fn) {
    for (int64_t e = n_edges * t / n; e < n_edges * (t + 1) / n; ++e) {
      fn(static_cast<int64_t>(rows[e]), static_cast<int64_t>(cols[e]), weight != nullptr ? weight[e] : 0.0f);
    }
  };
  sort_by_key(each, n_edges, n_rows, indptr, indices, out_weight, threads);
}

#define FGR_INSTANTIATE(I)                                                                                            \
  template void edge_bounds<I>(const I*, const I*, const float*, int64_t, int64_t, int64_t, float, EdgeBounds*, int); \
  template void bucket_edges<I>(const I*, const I*, const float*, int64_t, int64_t, int64_t*, int32_t*, float*, int);
FGR_INSTANTIATE(int32_t)
FGR_INSTANTIATE(int64_t)
#undef FGR_INSTANTIATE

void transpose(const Csr& in, int64_t* indptr_t, int32_t* indices_t, float* weight_t, int threads) {
  const int64_t n_edges = in.indptr[in.n_rows];
  const auto each = [&](int64_t t, int64_t n, const auto& fn) {  // rows, shared out by edges
    const auto row_at = [&](int64_t e) { return std::lower_bound(in.indptr, in.indptr + in.n_rows, e) - in.indptr; };
    for (int64_t r = row_at(n_edges * t / n), last = t + 1 == n ? in.n_rows : row_at(n_edges * (t + 1) / n); r < last;
         ++r) {
      for (int64_t e = in.indptr[r]; e < in.indptr[r + 1]; ++e) {
        fn(static_cast<int64_t>(in.indices[e]), r, weight_t != nullptr ? in.weight[e] : 0.0f);
      }
    }
  };
  sort_by_key(each, n_edges, in.n_cols, indptr_t, indices_t, weight_t, threads);
}

int64_t merge_duplicates(int64_t* indptr, int32_t* indices, float* weight, int64_t n_rows) {
  int64_t kept = 0, begin = 0;
  for (int64_t r = 0; r < n_rows; ++r) {
    if (r % rows_of_a_look == 0) throw_if_interrupted();
    const int64_t end = indptr[r + 1], row_start = kept;
    for (int64_t e = begin; e < end; ++e) {
      if (kept > row_start && indices[kept - 1] == indices[e]) {
        if (weight != nullptr) weight[kept - 1] += weight[e];
        continue;
      }
      indices[kept] = indices[e];
      if (weight != nullptr) weight[kept] = weight[e];
      ++kept;
    }
    begin = end;
    indptr[r + 1] = kept;
  }
  return kept;
}

void check_csr(const int64_t* indptr, const int32_t* indices, int64_t n_rows, int64_t n_cols, int64_t n_edges) {
  if (indptr[0] != 0 || indptr[n_rows] != n_edges) {
    throw std::invalid_argument("CSR row pointer must run from 0 to the number of edges, " + std::to_string(n_edges) +
                                ", got " + std::to_string(indptr[0]) + " to " + std::to_string(indptr[n_rows]));
  }
  for (int64_t r = 0; r < n_rows; ++r) {
    if (r % rows_of_a_look == 0) throw_if_interrupted();
    if (indptr[r + 1] < indptr[r]) {
      throw std::invalid_argument("CSR row pointer must not decrease, but row " + std::to_string(r) + " runs from " +
                                  std::to_string(indptr[r]) + " to " + std::to_string(indptr[r + 1]));
    }
  }
  for (int64_t e = 0; e < n_edges; ++e) {
    if (e % most_of_a_stretch == 0) throw_if_interrupted();
    if (indices[e] >= 0 && indices[e] < n_cols) continue;
    throw std::out_of_range("column id " + std::to_string(indices[e]) + " at edge " + std::to_string(e) +
                            " is outside [0, " + std::to_string(n_cols) + ")");
  }
}

}  // namespace fgr::cpu
