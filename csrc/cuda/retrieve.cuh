// What the kernels of retrieve share: the workspace, and the best of what a block has kept for a query.
#pragma once

#include <algorithm>

#include "common/arena.h"
#include "common/sampling.h"
#include "cuda/pack.cuh"
#include "cuda/rank.cuh"
#include "fgr/retrieve.h"

namespace fgr::cuda::retrieval {

constexpr int block_threads = 256;
constexpr int tile = 128;        // queries, and items, whose scores a block makes at a time
constexpr int in_registers = 8;  // words of a buffer that a lane can hold: all up to the best 128
#if defined(FGR_EMULATE)
constexpr int64_t enough_blocks = 3;  // a test's blocks have so many tiles that buffers are cut again and again
constexpr int64_t many_queries = 4;
#else
constexpr int64_t enough_blocks = 264;  // two for each multiprocessor of an H100
constexpr int64_t many_queries = 64;    // from so many on a copy of the items in halves is worth its making
#endif
constexpr int64_t least_tiles = 2;       // of a block, where blocks share the items of a query: a buffer full
constexpr int64_t most_words = 1 << 13;  // of a query, where blocks share its items: among so many each finds its rank

inline int64_t power_of_two_from(int64_t n) {
  int64_t size = 1;
  while (size < n) size *= 2;
  return size;
}

// Of a row in halves: of its bytes so many are in shared memory at a time, and there are whole lines of them.
constexpr int line_bytes = 128, line_halves = line_bytes / 2;
inline int64_t pitch_in_halves(int64_t dim) { return blocks_for(dim, line_halves) * line_bytes; }

// What a retrieval in halves (retrieve_halves.cuh) knows of a query.
struct QueryScale {
  float unit;    // its half numbers are its numbers divided by this
  float margin;  // no score in halves is further from the exact one
};
// What is found out on the way; all bits set at the start.
struct Findings {
  unsigned long long first_nan;  // query * n_items + item of the first score that is NaN; all bits set: there is none
  unsigned longest;              // the bits of the longest item's norm, inverted
  unsigned fit;                  // all bits set: the vectors can be ranked in halves
  unsigned equal;                // queries whose scores are all equal, less one
};

template <class T>
struct Space {
  Findings* findings;     // at the very beginning
  rank_word_t<T>* words;  // [queries_at_once, n_splits, capacity]
  int* count;             // [queries_at_once, n_splits]: of them, in order, at the end
  T* query_factor;        // [queries_at_once] if cosine: 1 / norm
  T* item_factor;         // [n_candidates] if cosine
  int64_t n_best;         // min(k, n_candidates)
  int64_t enough;         // words of a query: of so many and more only the best are kept
  int64_t capacity;       // of words that a block keeps for a query: a tile's more than enough, or all
  int64_t n_splits;
  int64_t tiles_a_split;
  // If in halves: rows of `pitch` bytes, zeros behind the last number and the last row of the last tile.
  bool in_halves;
  int64_t pitch;
  unsigned char *query_halves, *item_halves;  // of queries_at_once and of n_candidates rows, in whole tiles
  QueryScale* query_scale;                    // [queries_at_once]
  int64_t bytes;

  Space(void* workspace, const Retrieval<T>& job, bool halves) : in_halves(halves) {
    n_best = job.k < job.n_candidates ? job.k : job.n_candidates;
    const int64_t n_tiles = blocks_for(job.n_candidates, tile), n_blocks = blocks_for(job.queries_at_once, tile);
    const int64_t shares[3] = {n_blocks > 0 ? enough_blocks / n_blocks : 1, n_tiles / least_tiles,
                               n_best > 0 ? most_words / n_best : 1};
    n_splits = *std::min_element(shares, shares + 3);
    tiles_a_split = blocks_for(n_tiles, n_splits > 1 ? n_splits : 1);
    n_splits = tiles_a_split > 0 ? blocks_for(n_tiles, tiles_a_split) : 1;
    constexpr int64_t least_more = 44;  // than the best; of the usual 20 there are 64 then, which a warp sorts quickly
    enough = n_best + std::max(n_best, least_more);
    capacity = power_of_two_from(std::min(enough + tile, tiles_a_split * tile));
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    findings = arena.take<Findings>(1);
    words = arena.take<rank_word_t<T>>(job.queries_at_once * n_splits * capacity);
    count = arena.take<int>(job.queries_at_once * n_splits);
    query_factor = arena.take<T>(job.cosine ? job.queries_at_once : 0);
    item_factor = arena.take<T>(job.cosine ? job.n_candidates : 0);
    pitch = pitch_in_halves(job.dim);
    query_halves = arena.take<unsigned char>(in_halves ? n_blocks * tile * pitch : 0);
    item_halves = arena.take<unsigned char>(in_halves ? n_tiles * tile * pitch : 0);
    query_scale = arena.take<QueryScale>(in_halves ? job.queries_at_once : 0);
    bytes = arena.used;
  }
};

template <class T>
__device__ __forceinline__ int64_t item_at(const Retrieval<T>& job, int64_t position) {
  return job.subset != nullptr ? checked_id(job.subset[position], 0, job.n_items, "items_subset") : position;
}

template <class Word>
__device__ void sort_words(Word* words, int n) {
  if (n <= warp) {
    sort_in_registers<1>(words, n);
  } else if (n <= in_registers / 4 * warp) {
    sort_in_registers<in_registers / 4>(words, n);
  } else if (n <= in_registers / 2 * warp) {
    sort_in_registers<in_registers / 2>(words, n);
  } else if (n <= in_registers * warp) {
    sort_in_registers<in_registers>(words, n);
  } else {
    int size = 1;
    while (size < n) size *= 2;
    for (int j = n + lane(); j < size; j += warp) words[j] = static_cast<Word>(~Word{0});
    sort<WholeWarp>(words, size);
  }
}

// The best of a query's n words that are not left out to the front, in order; returns how many there are, n_best at
// most. By a warp. Only as many are looked up as it takes: all that came above a bound, where they came, took far
// longer.
template <class T>
__device__ int keep_best(rank_word_t<T>* words, int n, int n_best, const Csr& exclude, int64_t row) {
  sort_words(words, n);
  if (row < 0) return n < n_best ? n : n_best;
  int kept = 0;
  for (int at = 0; at < n && kept < n_best; at += warp) {
    const int j = at + lane();
    const rank_word_t<T> word = j < n ? words[j] : no_word<T>();
    const bool wanted = j < n && (word == nan_word<T>() || !has_edge(exclude, row, id_of_word<T>(word)));
    const unsigned all = __ballot_sync(full_mask, wanted);
    __syncwarp(full_mask);  // every lane has its word
    const int to = kept + __popc(all & ((1u << lane()) - 1));
    if (wanted && to < n_best) words[to] = word;
    kept += __popc(all);
  }
  __syncwarp(full_mask);
  return kept < n_best ? kept : n_best;
}

}  // namespace fgr::cuda::retrieval
