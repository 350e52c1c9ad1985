#include "fgr/topk.h"

#include <algorithm>
#include <limits>

#include "common/rank_key.h"
#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

constexpr int64_t heap_most = 512;  // of k: beyond, selecting by digits is faster
constexpr int digit_bits = 11;

// One row of the job: its scores and the columns that are left out, ascending.
template <class T>
struct Row {
  const T* scores;
  int64_t n_items;
  const int32_t *seen, *seen_end;

  // Whether column i stands before column j, which is no NaN.
  bool is_better(int64_t i, int64_t j) const {
    return scores[i] > scores[j] || (scores[i] == scores[j] && tie(i) < tie(j));
  }
  static uint32_t tie(int64_t i) { return tie_key(static_cast<uint32_t>(i)); }

  // fn(i) for every column in ascending order that is not left out.
  template <class Fn>
  void for_unseen(const Fn& fn) const {
    int64_t begin = 0;
    for (const int32_t* next = seen; begin < n_items; ++next) {
      const int64_t end = next != seen_end ? *next : n_items;
      for (int64_t i = begin; i < end; ++i) fn(i);
      begin = end + 1;
      if (next == seen_end) break;
    }
  }
};

// The k best, in order, into id; returns how many there are. id is a heap of the best so far with the worst on top.
template <class T>
int64_t by_heap(const Row<T>& row, int64_t k, int64_t* id) {
  const T* scores = row.scores;
  const auto better = [&](int64_t i, int64_t j) { return row.is_better(i, j); };
  int64_t size = 0;
  row.for_unseen([&](int64_t i) {
    if (size == k) {
      if (!row.is_better(i, id[0])) return;
      std::pop_heap(id, id + size, better);
      id[size - 1] = i;
      std::push_heap(id, id + size, better);
    } else if (scores[i] == scores[i]) {
      id[size++] = i;
      std::push_heap(id, id + size, better);
    }
  });
  std::sort_heap(id, id + size, better);
  return size;
}

// The same for a large k. Digit by digit, counts of the keys that begin as the k-th one does find the next digit of it;
// then those before it, and of those equal to it the first by a heap, are sorted.
template <class T>
int64_t by_digits(const Row<T>& row, int64_t k, int64_t* id) {
  using Key = rank_key_t<T>;
  constexpr int bits = 8 * sizeof(Key);
  Key kth = 0;       // its digits so far
  int64_t left = k;  // the rank, from 1, that is looked for among the keys that begin so
  for (int shift = bits; shift > 0;) {
    const int high = shift, width = std::min(digit_bits, shift);
    shift -= width;
    int32_t count[1 << digit_bits] = {};
    const Key mask = (Key(1) << width) - 1;
    const auto add = [&](int64_t i, int32_t amount) {
      const Key key = rank_key(row.scores[i]);
      if (high < bits && key >> high != kth >> high) return;
      count[key >> shift & mask] += row.scores[i] == row.scores[i] ? amount : 0;
    };
    for (int64_t i = 0; i < row.n_items; ++i) add(i, 1);
    for (const int32_t* next = row.seen; next != row.seen_end; ++next) add(*next, -1);
    Key digit = 0;
    while (digit <= mask && count[digit] < left) left -= count[digit++];
    if (digit > mask) {  // fewer than k in all
      kth = static_cast<Key>(~Key(0));
      left = 0;
      break;
    }
    kth |= digit << shift;
  }
  const auto better = [&](int64_t i, int64_t j) { return row.is_better(i, j); };
  int64_t *equal = id + (k - left), *end_of_equal = equal;  // with the worst on top
  int64_t size = 0;
  row.for_unseen([&](int64_t i) {
    const Key key = rank_key(row.scores[i]);
    if (row.scores[i] != row.scores[i] || key > kth || (key == kth && left == 0)) return;
    if (key < kth) {
      id[size++] = i;
      return;
    }
    if (end_of_equal == id + k) {
      if (!better(i, *equal)) return;
      std::pop_heap(equal, end_of_equal--, better);
    }
    *end_of_equal++ = i;
    std::push_heap(equal, end_of_equal, better);
  });
  size += end_of_equal - equal;
  if constexpr (bits == 32) {  // one word each, which sorts three times as fast as ids that look up scores
    constexpr uint64_t sign = uint64_t{1} << 63;
    for (int64_t j = 0; j < size; ++j) id[j] = static_cast<int64_t>(rank_word(row.scores[id[j]], id[j]) ^ sign);
    std::sort(id, id + size);
    for (int64_t j = 0; j < size; ++j) id[j] = id_of_word<T>(static_cast<uint64_t>(id[j]) ^ sign);
  } else {
    std::sort(id, id + size, better);
  }
  return size;
}

}  // namespace

template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, void*, int threads) {
  if (rows != nullptr) check_ids("rows", rows, n_rows, 0, seen.n_rows);
  parallel_for(n_rows, 2 * n_items, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      Row<T> row{scores + b * n_items, n_items, nullptr, nullptr};
      if (rows != nullptr) {
        row.seen = seen.indices + seen.indptr[rows[b]];
        row.seen_end = seen.indices + seen.indptr[rows[b] + 1];
      }
      int64_t* id = ids + b * k;
      T* value = values + b * k;
      const int64_t size = k <= heap_most ? by_heap(row, k, id) : by_digits(row, k, id);
      for (int64_t j = 0; j < k; ++j) {
        value[j] = j < size ? row.scores[id[j]] : -std::numeric_limits<T>::infinity();
        if (j >= size) id[j] = -1;
      }
    }
  });
}

template void topk<float>(const float*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, float*, void*,
                          int);
template void topk<double>(const double*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, double*,
                           void*, int);

}  // namespace fgr::cpu
