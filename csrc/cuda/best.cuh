// The best of many candidates by a block whose warps share them out: each keeps the best of its own, and at the end
// every word finds its place among all.
#pragma once

#include "common/sampling.h"
#include "cuda/rank.cuh"

namespace fgr::cuda::best {

constexpr int block_threads = 128;
constexpr int n_warps = block_threads / warp;
constexpr int64_t most_kept = n_warps * warp;  // of k: a warp's share of them is at most a lane each
template <class Word>
constexpr int in_flight = 64 / sizeof(Word);  // of them that a lane reads at a time

// Whether column i is left out.
struct Seen {
  const int32_t* ids = nullptr;  // ascending
  int64_t n = 0;
  __device__ bool has(int64_t i) const {
    const int64_t at = lower_bound(ids, n, i);
    return at < n && ids[at] == i;
  }
};

// The best of the words that a warp was given: in shared memory, all that may be among the k best. Whether a column is
// left out is looked up when the buffer is full, and for no more words than it takes to find k.
template <class T, int slots>
struct Best {
  using Word = rank_word_t<T>;
  static constexpr int capacity = slots * warp;  // k and a word of each lane
  Word* words;                                   // [capacity]
  Seen seen;
  int k;
  int count = 0;
  Word last = no_word<T>();  // words from this one on are not among the best

  // A word of each lane, no_word() if it has none.
  __device__ void push(Word word) {
    const bool wanted = word < last;
    const unsigned all = __ballot_sync(full_mask, wanted);
    if (wanted) words[count + __popc(all & ((1u << lane()) - 1))] = word;
    count += __popc(all);
    if (count + warp > capacity) cut();
  }

  // The k best to the front, in order; the others go.
  __device__ void cut() {
    __syncwarp(full_mask);
    sort_in_registers<slots>(words, count);
    int kept = 0;
    for (int at = 0; at < count && kept < k; at += warp) {
      const int j = at + lane();
      const Word word = j < count ? words[j] : no_word<T>();
      const bool wanted = j < count && !(seen.n > 0 && seen.has(id_of_word<T>(word)));
      const unsigned all = __ballot_sync(full_mask, wanted);
      __syncwarp(full_mask);  // every lane has its word
      const int to = kept + __popc(all & ((1u << lane()) - 1));
      if (wanted && to < k) words[to] = word;
      kept += __popc(all);
    }
    __syncwarp(full_mask);
    count = kept < k ? kept : k;
    if (count == k) last = words[k - 1];
    __syncwarp(full_mask);  // every lane has read it
  }
};

// put(rank, word) for the k best of what the warps of a block have kept, by who has them; returns how many there are.
// words [n_warps][capacity], each warp's in order.
template <class T, int capacity, class Fn>
__device__ int for_best(const rank_word_t<T>* words, const int* count, int k, const Fn& put) {
  const int own = static_cast<int>(threadIdx.x) / warp;
  __syncthreads();
  for (int j = lane(); j < count[own]; j += warp) {
    const rank_word_t<T> word = words[own * capacity + j];
    int rank = j;
    for (int w = 0; w < n_warps; ++w) {
      if (w != own) rank += static_cast<int>(lower_bound(words + w * capacity, count[w], word));
    }
    if (rank < k) put(rank, word);
  }
  int total = 0;
  for (int w = 0; w < n_warps; ++w) total += count[w];
  return total < k ? total : k;
}

// at(j) for all j < n_words, shared out among the block's threads.
template <class T, int slots, class At>
__device__ void push_words(Best<T, slots>& best, int64_t n_words, const At& at) {
  using Word = rank_word_t<T>;
  constexpr int per_lane = in_flight<Word>;
  for (int64_t j0 = 0; j0 < n_words; j0 += block_threads * per_lane) {
    Word own[per_lane];
#pragma unroll
    for (int e = 0; e < per_lane; ++e) {
      const int64_t j = j0 + e * block_threads + threadIdx.x;
      own[e] = j < n_words ? at(j) : no_word<T>();
    }
#pragma unroll 1
    for (int e = 0; e < per_lane; ++e) {
      Word word = own[0];
#pragma unroll
      for (int i = 1; i < per_lane; ++i) word = i == e ? own[i] : word;
      if (__any_sync(full_mask, word < best.last)) best.push(word);
    }
  }
}

}  // namespace fgr::cuda::best
