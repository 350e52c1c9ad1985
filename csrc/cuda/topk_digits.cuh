// The k best of a row of scores for any k: digit by digit, counts find the last of them, then a sort orders them.
#pragma once

#include "common/sampling.h"
#include "cuda/rank.cuh"
#include "fgr/types.h"

namespace fgr::cuda::by_digits {
namespace {  // each file that has a use for it has its own

constexpr int block_threads = 256;
constexpr int digit_bits = 8;
static_assert(1 << digit_bits == block_threads, "a thread a digit");

// Entries of a row in the workspace: a power of two that holds what can be found.
int64_t entries_of(int64_t n_items, int64_t k) {
  int64_t size = 1;
  while (size < k && size < n_items) size *= 2;
  return size;
}

// One row of the job: its scores and the columns that are left out, ascending.
template <class T>
struct Row {
  const T* scores;
  int64_t n_items;
  const int32_t* seen;
  int64_t n_seen;

  __device__ bool is_number(int64_t i) const { return scores[i] == scores[i]; }
  // fn(word) for the columns of [begin, end) that are not left out.
  template <class Fn>
  __device__ void for_unseen(int64_t begin, int64_t end, const Fn& fn) const {
    int64_t next = begin < end ? lower_bound(seen, n_seen, begin) : 0;
    for (int64_t i = begin; i < end; ++i) {
      if (next < n_seen && seen[next] == i) {
        ++next;
      } else if (is_number(i)) {
        fn(rank_word(scores[i], i));
      }
    }
  }
};

// count[t] becomes count[0] + ... + count[t]. All threads of the block call it, and all see the result.
__device__ void running_sums(unsigned* count) {
  for (unsigned step = 1; step < block_threads; step *= 2) {
    __syncthreads();
    const unsigned other = threadIdx.x >= step ? count[threadIdx.x - step] : 0;
    __syncthreads();
    count[threadIdx.x] += other;
  }
  __syncthreads();
}

// The k best of a row are the words up to this one. Digit by digit, counts of the words that begin as the k-th one does
// find its next digit; where all that begin so are among the k best, no more digits are needed, and where there are no
// more than k words, none.
template <class T>
__device__ rank_word_t<T> find_last(const Row<T>& row, int64_t k) {
  using Word = rank_word_t<T>;
  constexpr int bits = 8 * sizeof(rank_key_t<T>) + 32;
  FGR_SHARED(unsigned, count, [block_threads]);
  FGR_SHARED(unsigned, next_digit);
  FGR_SHARED(unsigned, next_left);
  FGR_SHARED(bool, takes_all);
  if (k > row.n_items) return no_word<T>();
  Word begins = 0;
  unsigned left = static_cast<unsigned>(k);
  for (int shift = bits - digit_bits; shift >= 0; shift -= digit_bits) {
    const int high = shift + digit_bits;
    count[threadIdx.x] = 0;
    if (threadIdx.x == 0) next_left = 0;
    __syncthreads();
    const auto add = [&](int64_t i, unsigned amount) {
      if (!row.is_number(i)) return;
      const Word word = rank_word(row.scores[i], i);
      if (high == bits || word >> high == begins >> high) {
        atomicAdd(&count[static_cast<unsigned>(word >> shift) & (block_threads - 1)], amount);
      }
    };
    for (int64_t i = threadIdx.x; i < row.n_items; i += block_threads) add(i, 1u);
    for (int64_t j = threadIdx.x; j < row.n_seen; j += block_threads) add(row.seen[j], ~0u);  // minus one
    running_sums(count);
    const unsigned less = threadIdx.x > 0 ? count[threadIdx.x - 1] : 0;
    if (less < left && count[threadIdx.x] >= left) {  // one thread at most
      next_digit = threadIdx.x;
      next_left = left - less;
      takes_all = count[threadIdx.x] == left;
    }
    __syncthreads();
    left = next_left;
    if (left == 0) return no_word<T>();
    begins |= static_cast<Word>(next_digit) << shift;
    if (takes_all) return begins | ((Word{1} << shift) - 1);
    __syncthreads();  // the counts are cleared in the next round
  }
  return begins;
}

// One block a row.
template <class T>
__global__ void __launch_bounds__(block_threads)
    topk_kernel(const T* scores, int64_t n_items, Csr seen, const int64_t* rows, int64_t k, int64_t* ids, T* values,
                rank_word_t<T>* workspace, int64_t n_entries) {
  FGR_SHARED(unsigned, count, [block_threads]);
  const int64_t b = blockIdx.x;
  Row<T> row{scores + b * n_items, n_items, nullptr, 0};
  if (rows != nullptr) {
    const int64_t user = checked_id(rows[b], 0, seen.n_rows, "rows");
    row.seen = seen.indices + seen.indptr[user];
    row.n_seen = seen.indptr[user + 1] - seen.indptr[user];
  }
  const rank_word_t<T> last = find_last(row, k);

  // A thread takes a stretch of columns, and puts what it finds behind the finds of those before it.
  const int64_t share = (n_items + block_threads - 1) / block_threads, from = threadIdx.x * share;
  const int64_t begin = from < n_items ? from : n_items, end = begin + share < n_items ? begin + share : n_items;
  unsigned mine = 0;
  row.for_unseen(begin, end, [&](rank_word_t<T> word) { mine += word <= last; });
  count[threadIdx.x] = mine;
  running_sums(count);
  rank_word_t<T>* words = workspace + b * n_entries;
  unsigned at = count[threadIdx.x] - mine;
  row.for_unseen(begin, end, [&](rank_word_t<T> word) {
    if (word <= last) words[at++] = word;
  });
  const int64_t found = count[block_threads - 1];
  for (int64_t j = found + threadIdx.x; j < n_entries; j += block_threads) words[j] = no_word<T>();
  sort<WholeBlock>(words, n_entries);
  for (int64_t j = threadIdx.x; j < k; j += block_threads) {
    const int64_t id = j < found ? id_of_word<T>(words[j]) : -1;
    ids[b * k + j] = id;
    values[b * k + j] = id >= 0 ? row.scores[id] : -static_cast<T>(INFINITY);
  }
}

template <class T>
int64_t workspace_bytes(int64_t n_rows, int64_t n_items, int64_t k) {
  return n_rows * entries_of(n_items, k) * static_cast<int64_t>(sizeof(rank_word_t<T>));
}

template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, void* workspace, void* stream) {
  launch("topk", topk_kernel<T>, n_rows, block_threads, 0, stream, scores, n_items, seen, rows, k, ids, values,
         static_cast<rank_word_t<T>*>(workspace), entries_of(n_items, k));
}

}  // namespace
}  // namespace fgr::cuda::by_digits
