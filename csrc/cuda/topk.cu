#include "cuda/device.cuh"
#include "fgr/topk.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

__device__ bool has_seen(const Csr& seen, int64_t user, int64_t item) {
  int64_t lo = seen.indptr[user], hi = seen.indptr[user + 1];
  while (lo < hi) {
    const int64_t mid = lo + (hi - lo) / 2;
    if (seen.indices[mid] < item) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return lo < seen.indptr[user + 1] && seen.indices[lo] == item;
}

template <class T>
struct Best {
  T score;
  int64_t id;  // -1: none
};

// Score descending, id ascending; none is worse than everything.
template <class T>
__device__ bool better(const Best<T>& a, const Best<T>& b) {
  if (a.id < 0 || b.id < 0) return a.id >= 0;
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

// One block a row; round j finds the best candidate behind the one of round j - 1.
template <class T>
__global__ void __launch_bounds__(block_threads)
    topk_kernel(const T* scores, int64_t n_items, Csr seen, const int64_t* rows, int64_t k, int64_t* ids, T* values) {
  __shared__ Best<T> found[block_threads];
  const int64_t b = blockIdx.x;
  const T* row = scores + b * n_items;
  const int64_t user = rows != nullptr ? checked_id(rows[b], 0, seen.n_rows, "rows") : -1;
  Best<T> last{T(0), -1};
  for (int64_t j = 0; j < k; ++j) {
    Best<T> mine{T(0), -1};
    if (j == 0 || last.id >= 0) {
      for (int64_t i = threadIdx.x; i < n_items; i += block_threads) {
        const Best<T> candidate{row[i], i};
        if (row[i] != row[i] || !better(candidate, mine) || (j > 0 && !better(last, candidate))) continue;
        if (user >= 0 && has_seen(seen, user, i)) continue;
        mine = candidate;
      }
    }
    found[threadIdx.x] = mine;
    for (int half = block_threads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (threadIdx.x < static_cast<unsigned>(half) && better(found[threadIdx.x + half], found[threadIdx.x])) {
        found[threadIdx.x] = found[threadIdx.x + half];
      }
    }
    __syncthreads();
    last = found[0];
    __syncthreads();  // found is written again in the next round
    if (threadIdx.x == 0) {
      ids[b * k + j] = last.id;
      values[b * k + j] = last.id >= 0 ? last.score : -static_cast<T>(INFINITY);
    }
  }
}

}  // namespace

template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, void* stream) {
  launch("topk", topk_kernel<T>, n_rows, block_threads, 0, stream, scores, n_items, seen, rows, k, ids, values);
}

template void topk<float>(const float*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, float*, void*);
template void topk<double>(const double*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, double*,
                           void*);

}  // namespace fgr::cuda
