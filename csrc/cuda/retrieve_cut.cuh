// What a retrieval in halves has found of a query: a buffer that is cut to what may be among the best, and what is left
// at the end, scored exactly.
#pragma once

#include <cfloat>

#include "cuda/retrieve.cuh"

namespace fgr::cuda::retrieval {

// What a block knows of one of its queries.
struct Row {
  const int32_t* seen;  // n_seen items that are left out, ascending
  int n_seen;
  float threshold;  // of products: what is below is none of the best
  int count, kept;  // what was found, and how much of it was there when the buffer was last cut
};

// What is found above a threshold: the product as it is, and where. A candidate's word takes longer to make.
__device__ __forceinline__ uint64_t found_word(float product, int64_t position) {
  uint32_t bits;
  memcpy(&bits, &product, sizeof bits);
  return static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(position);
}
__device__ __forceinline__ float product_of(uint64_t word) {
  const auto bits = static_cast<uint32_t>(word >> 32);
  float product;
  memcpy(&product, &bits, sizeof product);
  return product;
}
__device__ __forceinline__ int64_t position_of(uint64_t word) { return static_cast<uint32_t>(word); }

// words[begin, end) that are wanted to their front; returns where they end. By a warp.
template <class Fn>
__device__ __forceinline__ int compacted(uint64_t* words, int begin, int end, const Fn& wanted) {
  int count = begin;
  for (int at = begin; at < end; at += warp) {
    const int j = at + lane();
    const uint64_t word = j < end ? words[j] : 0;
    const bool mine = j < end && wanted(word);
    const unsigned all = __ballot_sync(full_mask, mine);  // every lane has its word
    if (mine) words[count + __popc(all & ((1u << lane()) - 1))] = word;
    count += __popc(all);
  }
  __syncwarp(full_mask);
  return count;
}

__device__ __forceinline__ bool leaves_out(const Row& row, int64_t item) {
  int first = 0;
  for (int n = row.n_seen; n > 0;) {
    const int half = n / 2;
    const bool behind = row.seen[first + half] < item;
    first = behind ? first + half + 1 : first;
    n = behind ? n - half - 1 : half;
  }
  return first < row.n_seen && row.seen[first] == item;
}

// A number that n_best of a warp's are not below, found as exactly as it is worth: count(x) says how many there are
// from x on, `low` and `high` are the least and the most.
template <class Count>
__device__ __forceinline__ float reached(float low, float high, int n_best, const Count& count) {
  constexpr int halvings = 10;
#pragma unroll 1
  for (int step = 0; step < halvings; ++step) {
    const float middle = low + 0.5f * (high - low);
    (count(middle) >= n_best ? low : high) = middle;
  }
  return low;
}

// Leaves what may be among the n_best of a row, and the threshold for all that is found from now on; `doubt` is twice
// the margin. By a warp, in registers.
template <int slots>
__device__ void cut_in_registers(const Retrieval<float>& job, uint64_t* words, Row& row, int n_best, float doubt) {
  uint64_t word[slots];
  float x[slots];
  int n = 0;
  float low = INFINITY, high = -INFINITY;
#pragma unroll
  for (int i = 0; i < slots; ++i) {
    const int j = i * warp + lane();
    word[i] = j < row.count ? words[j] : 0;
    x[i] = j < row.count ? product_of(word[i]) : -INFINITY;
  }
#pragma unroll
  for (int i = 0; i < slots; ++i) {
    const int j = i * warp + lane();
    if (row.n_seen > 0 && j >= row.kept && j < row.count && leaves_out(row, item_at(job, position_of(word[i]))))
      x[i] = -INFINITY;
    const bool there = x[i] > -INFINITY;
    n += __popc(__ballot_sync(full_mask, there));
    low = there ? fminf(low, x[i]) : low;
    high = fmaxf(high, x[i]);
  }
  float least = -FLT_MAX;
  if (n >= n_best) {
    const auto count = [&](float at_least) {
      int above = 0;
#pragma unroll
      for (int i = 0; i < slots; ++i) above += __popc(__ballot_sync(full_mask, x[i] >= at_least));
      return above;
    };
    least = row.threshold = reached(-warp_max(-low), warp_max(high), n_best, count) - doubt;
  }
  n = 0;
#pragma unroll
  for (int i = 0; i < slots; ++i) {
    const unsigned all = __ballot_sync(full_mask, x[i] >= least);
    if (x[i] >= least) words[n + __popc(all & ((1u << lane()) - 1))] = word[i];
    n += __popc(all);
  }
  __syncwarp(full_mask);
  row.count = row.kept = n;
}

// The same of any number of words.
static __device__ void cut_row(const Retrieval<float>& job, uint64_t* words, Row& row, int n_best, float doubt) {
  if (row.count <= 2 * warp) return cut_in_registers<2>(job, words, row, n_best, doubt);
  if (row.count <= 4 * warp) return cut_in_registers<4>(job, words, row, n_best, doubt);
  if (row.count <= 8 * warp) return cut_in_registers<8>(job, words, row, n_best, doubt);
  int n = compacted(words, row.kept, row.count, [&](uint64_t word) {
    return row.n_seen == 0 || !leaves_out(row, item_at(job, position_of(word)));
  });
  if (n >= n_best) {
    float low = INFINITY, high = -INFINITY;
    for (int j = lane(); j < n; j += warp) {
      low = fminf(low, product_of(words[j]));
      high = fmaxf(high, product_of(words[j]));
    }
    const auto count = [&](float at_least) {
      int above = 0;
      for (int at = 0; at < n; at += warp) {
        const int j = at + lane();
        above += __popc(__ballot_sync(full_mask, j < n && product_of(words[j]) >= at_least));
      }
      return above;
    };
    row.threshold = reached(-warp_max(-low), warp_max(high), n_best, count) - doubt;
    n = compacted(words, 0, n, [&](uint64_t word) { return product_of(word) >= row.threshold; });
  }
  row.count = row.kept = n;
}

// Candidates' words of what was found, whose scores are made as retrieve_kernel makes them; by a warp.
static __device__ void make_exact(const Retrieval<float>& job, const Space<float>& s, int64_t query, float query_factor,
                                  uint64_t* words, int n) {
  const int dim = static_cast<int>(job.dim);
  const float* q = job.queries + query * job.dim;
  const bool wide = dim % 4 == 0 && reinterpret_cast<uintptr_t>(job.queries) % 16 == 0 &&
                    reinterpret_cast<uintptr_t>(job.items) % 16 == 0;
  for (int j = lane(); j < n; j += warp) {
    const int64_t position = position_of(words[j]), item = item_at(job, position);
    const float* x = job.items + item * job.dim;
    const float item_factor = job.cosine ? s.item_factor[position] : 1.0f;
    float sum = 0;
    if (wide) {
#pragma unroll 4
      for (int c = 0; c < dim; c += 4) {
        float a[4], b[4];
        read(q + c, a);
        read(x + c, b);
#pragma unroll
        for (int e = 0; e < 4; ++e) sum += a[e] * query_factor * (b[e] * item_factor);
      }
    } else {
      for (int c = 0; c < dim; ++c) sum += q[c] * query_factor * (x[c] * item_factor);
    }
    words[j] = rank_word(sum, item);
  }
  __syncwarp(full_mask);
}
// And back, of some that are kept although more is to come: the exact score's product.
static __device__ void make_found(const Retrieval<float>& job, uint64_t* words, int n, float unit, float item_unit) {
  for (int j = lane(); j < n; j += warp) {
    const int64_t item = id_of_word<float>(words[j]);
    const int64_t position = job.subset != nullptr ? lower_bound(job.subset, job.n_candidates, item) : item;
    words[j] = found_word(score_of_word<float>(words[j]) / unit / item_unit, position);
  }
  __syncwarp(full_mask);
}

}  // namespace fgr::cuda::retrieval
