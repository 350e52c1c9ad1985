#include "cuda/rank.cuh"
#include "fgr/topk.h"

namespace fgr::cuda {
namespace {

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
  __device__ int64_t first_seen_from(int64_t item) const {
    int64_t lo = 0, hi = n_seen;
    while (lo < hi) {
      const int64_t mid = lo + (hi - lo) / 2;
      if (seen[mid] < item) {
        lo = mid + 1;
      } else {
        hi = mid;
      }
    }
    return lo;
  }
  // fn(key, i) for the columns of [begin, end) in ascending order that are not left out.
  template <class Fn>
  __device__ void for_unseen(int64_t begin, int64_t end, const Fn& fn) const {
    int64_t next = begin < end ? first_seen_from(begin) : 0;
    for (int64_t i = begin; i < end; ++i) {
      if (next < n_seen && seen[next] == i) {
        ++next;
      } else if (is_number(i)) {
        fn(rank_key(scores[i]), i);
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

// The k-th best key of a row, and how many of those equal to it belong to the k best; where there are fewer than k, a
// key behind all of them. Digit by digit, counts of the keys that begin as the k-th one does find its next digit.
template <class T>
struct Threshold {
  rank_key_t<T> key;
  unsigned equal;
};
template <class T>
__device__ Threshold<T> find_threshold(const Row<T>& row, int64_t k) {
  using Key = rank_key_t<T>;
  constexpr int bits = 8 * sizeof(Key);
  FGR_SHARED(unsigned, count, [block_threads]);
  FGR_SHARED(unsigned, next_digit);
  FGR_SHARED(unsigned, next_left);
  if (k > row.n_items) return {static_cast<Key>(~Key(0)), 0};
  Key key = 0;
  unsigned left = static_cast<unsigned>(k);
  for (int shift = bits - digit_bits; shift >= 0; shift -= digit_bits) {
    const int high = shift + digit_bits;
    count[threadIdx.x] = 0;
    if (threadIdx.x == 0) next_left = 0;
    __syncthreads();
    const auto add = [&](int64_t i, unsigned amount) {
      if (!row.is_number(i)) return;
      const Key at = rank_key(row.scores[i]);
      if (high == bits || at >> high == key >> high) atomicAdd(&count[at >> shift & (block_threads - 1)], amount);
    };
    for (int64_t i = threadIdx.x; i < row.n_items; i += block_threads) add(i, 1u);
    for (int64_t j = threadIdx.x; j < row.n_seen; j += block_threads) add(row.seen[j], ~0u);  // minus one
    running_sums(count);
    const unsigned less = threadIdx.x > 0 ? count[threadIdx.x - 1] : 0;
    if (less < left && count[threadIdx.x] >= left) {  // one thread at most
      next_digit = threadIdx.x;
      next_left = left - less;
    }
    __syncthreads();
    left = next_left;
    if (left == 0) return {static_cast<Key>(~Key(0)), 0};
    key |= static_cast<Key>(next_digit) << shift;
    __syncthreads();  // the counts are cleared in the next round
  }
  return {key, left};
}

// One block a row.
template <class T>
__global__ void __launch_bounds__(block_threads)
    topk_kernel(const T* scores, int64_t n_items, Csr seen, const int64_t* rows, int64_t k, int64_t* ids, T* values,
                Entry<T>* workspace, int64_t n_entries) {
  FGR_SHARED(unsigned, less, [block_threads]);
  FGR_SHARED(unsigned, equal, [block_threads]);
  const int64_t b = blockIdx.x;
  Row<T> row{scores + b * n_items, n_items, nullptr, 0};
  if (rows != nullptr) {
    const int64_t user = checked_id(rows[b], 0, seen.n_rows, "rows");
    row.seen = seen.indices + seen.indptr[user];
    row.n_seen = seen.indptr[user + 1] - seen.indptr[user];
  }
  const Threshold<T> kth = find_threshold(row, k);

  // A thread takes a stretch of columns, so that those equal to the k-th are counted off in ascending order.
  const int64_t share = (n_items + block_threads - 1) / block_threads, from = threadIdx.x * share;
  const int64_t begin = from < n_items ? from : n_items, end = begin + share < n_items ? begin + share : n_items;
  unsigned my_less = 0, my_equal = 0;
  row.for_unseen(begin, end, [&](rank_key_t<T> key, int64_t) {
    my_less += key < kth.key;
    my_equal += key == kth.key;
  });
  less[threadIdx.x] = my_less;
  equal[threadIdx.x] = my_equal;
  running_sums(less);
  running_sums(equal);
  Entry<T>* entries = workspace + b * n_entries;
  unsigned at = less[threadIdx.x] - my_less, nth_equal = equal[threadIdx.x] - my_equal;
  const unsigned n_less = less[block_threads - 1];
  row.for_unseen(begin, end, [&](rank_key_t<T> key, int64_t i) {
    const Entry<T> entry{key, static_cast<int32_t>(i)};
    if (key < kth.key) entries[at++] = entry;
    if (key == kth.key && nth_equal < kth.equal) entries[n_less + nth_equal++] = entry;
  });
  const int64_t found = static_cast<int64_t>(n_less) + kth.equal;
  for (int64_t j = found + threadIdx.x; j < n_entries; j += block_threads) {
    entries[j] = no_entry<T>();
  }
  sort<WholeBlock>(entries, n_entries);
  for (int64_t j = threadIdx.x; j < k; j += block_threads) {
    const int64_t id = j < found ? entries[j].id : -1;
    ids[b * k + j] = id;
    values[b * k + j] = id >= 0 ? row.scores[id] : -static_cast<T>(INFINITY);
  }
}

}  // namespace

template <class T>
int64_t topk_workspace_bytes(int64_t n_rows, int64_t n_items, int64_t k) {
  return n_rows * entries_of(n_items, k) * static_cast<int64_t>(sizeof(Entry<T>));
}

template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, void* workspace, void* stream) {
  launch("topk", topk_kernel<T>, n_rows, block_threads, 0, stream, scores, n_items, seen, rows, k, ids, values,
         static_cast<Entry<T>*>(workspace), entries_of(n_items, k));
}

#define FGR_INSTANTIATE(T)                                             \
  template int64_t topk_workspace_bytes<T>(int64_t, int64_t, int64_t); \
  template void topk<T>(const T*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, T*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
