// A row is read once. Each warp of a block keeps the best of the columns that it reads, and of all others only what
// exceeds the k-th best of these is looked at again. Where there are few rows, several blocks share out the columns of
// one, and one more block orders what they have kept. For a large k: topk_digits.cuh.
#include <algorithm>

#include "cuda/best.cuh"
#include "cuda/topk_digits.cuh"
#include "fgr/topk.h"

namespace fgr::cuda {
namespace {

using namespace best;

#if defined(FGR_EMULATE)
constexpr int64_t enough_blocks = 3;  // a test's blocks read so many columns that buffers are cut again and again
#else
constexpr int64_t enough_blocks = 528;  // four for each multiprocessor of an H100
#endif
constexpr int64_t least_columns = 4096;  // of a block, where blocks share those of a row

template <class T>
struct Outputs {
  int64_t* ids;  // [n_rows, k]
  T* values;
  int64_t k;
  // A score as it stands in the row: of the zeros a word does not know which.
  __device__ void put(int64_t row, int64_t rank, rank_word_t<T> word, const T* scores) const {
    const int64_t id = id_of_word<T>(word);
    ids[row * k + rank] = id;
    values[row * k + rank] = scores[id];
  }
  __device__ void pad(int64_t row, int64_t found) const {
    for (int64_t j = found + threadIdx.x; j < k; j += block_threads) {
      ids[row * k + j] = -1;
      values[row * k + j] = -static_cast<T>(INFINITY);
    }
  }
};

// A score that at least k of the block's first columns reach: each warp has ceil(k / n_warps) lanes whose best column
// does and is not left out. Where there are not so many, -inf.
template <class T>
__device__ T first_bound(const T (&own)[in_flight<T>], int64_t column, const Seen& seen, int k) {
  using Key = rank_key_t<T>;
  FGR_SHARED(T, reached, [n_warps]);
  int best = 0;
  T most = own[0];
#pragma unroll
  for (int e = 1; e < in_flight<T>; ++e) {
    if (!(own[e] <= most) && own[e] == own[e]) {
      most = own[e];
      best = e;
    }
  }
  const bool counts = most == most && !(seen.n > 0 && seen.has(column + best * warp));
  const Key none = static_cast<Key>(~Key{0});
  Key key = counts ? rank_key(most) : none;
  for (int length = 2; length <= warp; length *= 2) {  // in the order of the lanes, the best first
    for (int distance = length / 2; distance > 0; distance /= 2) {
      const Key other = __shfl_xor_sync(full_mask, key, distance);
      const bool first = (lane() & distance) == 0, ascending = (lane() & length) == 0;
      key = (other < key) == (ascending == first) ? other : key;
    }
  }
  key = __shfl_sync(full_mask, key, (k + n_warps - 1) / n_warps - 1);
  if (lane() == 0) reached[threadIdx.x / warp] = key == none ? -static_cast<T>(INFINITY) : score_of_key<T>(key);
  __syncthreads();
  T bound = reached[0];
#pragma unroll
  for (int w = 1; w < n_warps; ++w) bound = reached[w] < bound ? reached[w] : bound;
  return bound;
}

// A block a part of a row's columns: its best go to the outputs where the row has one part, else in order to parts
// [n_rows, n_parts, k], no_word() behind them.
template <class T, int slots>
__global__ void __launch_bounds__(block_threads)
    kept_kernel(const T* scores, int64_t n_items, Csr graph, const int64_t* rows, int64_t n_parts, int64_t part_columns,
                rank_word_t<T>* parts, Outputs<T> out) {
  using Word = rank_word_t<T>;
  constexpr int per_lane = in_flight<T>, per_warp = per_lane * warp;
  FGR_SHARED(Word, words, [n_warps][slots * warp]);
  FGR_SHARED(int, count, [n_warps]);
  const int64_t b = blockIdx.x / n_parts, part = blockIdx.x % n_parts;
  const int64_t begin = part * part_columns;
  const int64_t end = begin + part_columns < n_items ? begin + part_columns : n_items;
  const int own_warp = static_cast<int>(threadIdx.x) / warp, k = static_cast<int>(out.k);
  const T* row = scores + b * n_items;
  Best<T, slots> best;
  best.words = words[own_warp];
  best.k = k;
  if (rows != nullptr) {
    const int64_t user = checked_id(rows[b], 0, graph.n_rows, "rows");
    best.seen.ids = graph.indices + graph.indptr[user];
    best.seen.n = graph.indptr[user + 1] - graph.indptr[user];
  }
  T bound = -static_cast<T>(INFINITY);
  for (int64_t j0 = begin; j0 < end; j0 += n_warps * per_warp) {
    const int64_t column = j0 + own_warp * per_warp + lane();
    T own[per_lane];
    if (j0 + n_warps * per_warp <= end) {
#pragma unroll
      for (int e = 0; e < per_lane; ++e) own[e] = load_once(row + column + e * warp);
    } else {
#pragma unroll
      for (int e = 0; e < per_lane; ++e)
        own[e] = column + e * warp < end ? load_once(row + column + e * warp) : static_cast<T>(NAN);
    }
    if (j0 == begin) bound = first_bound(own, column, best.seen, k);
    bool any = false;  // a NaN reaches no bound
#pragma unroll
    for (int e = 0; e < per_lane; ++e) any = any || own[e] >= bound;
    if (!__any_sync(full_mask, any)) continue;
    unsigned found = 0;
#pragma unroll
    for (int e = 0; e < per_lane; ++e) found |= static_cast<unsigned>(own[e] >= bound) << e;
    for (; __any_sync(full_mask, found != 0); found &= found - 1) {
      const int at = __ffs(static_cast<int>(found)) - 1;
      T score = own[0];
#pragma unroll
      for (int e = 1; e < per_lane; ++e) score = e == at ? own[e] : score;
      best.push(found != 0 ? rank_word(score, column + at * warp) : no_word<T>());
    }
    if (best.last != no_word<T>()) {
      const T kth = score_of_word<T>(best.last);
      bound = bound < kth ? kth : bound;
    }
  }
  best.cut();
  if (lane() == 0) count[own_warp] = best.count;
  Word* list = parts + (b * n_parts + part) * k;
  const int n = for_best<T, slots * warp>(words[0], count, k, [&](int rank, Word word) {
    if (n_parts == 1) {
      out.put(b, rank, word, row);
    } else {
      list[rank] = word;
    }
  });
  if (n_parts == 1) return out.pad(b, n);
  for (int j = n + static_cast<int>(threadIdx.x); j < k; j += block_threads) list[j] = no_word<T>();
}

// A block a row: the best of its parts' words.
template <class T, int slots>
__global__ void __launch_bounds__(block_threads)
    join_kernel(const T* scores, int64_t n_items, const rank_word_t<T>* parts, int64_t n_words, Outputs<T> out) {
  using Word = rank_word_t<T>;
  FGR_SHARED(Word, words, [n_warps][slots * warp]);
  FGR_SHARED(int, count, [n_warps]);
  const int64_t b = blockIdx.x;
  const int own_warp = static_cast<int>(threadIdx.x) / warp;
  const Word* given = parts + b * n_words;
  Best<T, slots> best;
  best.words = words[own_warp];
  best.k = static_cast<int>(out.k);
  push_words<T>(best, n_words, [&](int64_t j) { return given[j]; });
  best.cut();
  if (lane() == 0) count[own_warp] = best.count;
  const T* row = scores + b * n_items;
  const int n =
      for_best<T, slots * warp>(words[0], count, best.k, [&](int rank, Word word) { out.put(b, rank, word, row); });
  out.pad(b, n);
}

// How the columns of a row are shared out.
struct Parts {
  int64_t n, columns;
  Parts(int64_t n_rows, int64_t n_items) {
    const int64_t most =
        std::max<int64_t>(std::min(enough_blocks / std::max<int64_t>(n_rows, 1), n_items / least_columns), 1);
    columns = std::max<int64_t>(blocks_for(n_items, most), 1);
    n = std::max<int64_t>(blocks_for(n_items, columns), 1);
  }
};

template <class T, int slots>
void keep(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, const Outputs<T>& out,
          void* workspace, void* stream) {
  const Parts parts(n_rows, n_items);
  auto* words = static_cast<rank_word_t<T>*>(workspace);
  launch("topk", kept_kernel<T, slots>, n_rows * parts.n, block_threads, 0, stream, scores, n_items, seen, rows,
         parts.n, parts.columns, words, out);
  if (parts.n == 1) return;
  launch("topk", join_kernel<T, slots>, n_rows, block_threads, 0, stream, scores, n_items, words, parts.n * out.k, out);
}

}  // namespace

template <class T>
int64_t topk_workspace_bytes(int64_t n_rows, int64_t n_items, int64_t k) {
  if (k > most_kept) return by_digits::workspace_bytes<T>(n_rows, n_items, k);
  const Parts parts(n_rows, n_items);
  return parts.n == 1 ? 0 : n_rows * parts.n * k * static_cast<int64_t>(sizeof(rank_word_t<T>));
}

template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, void* workspace, void* stream) {
  const Outputs<T> out{ids, values, k};
  if (k <= 32) {
    keep<T, 2>(scores, n_rows, n_items, seen, rows, out, workspace, stream);
  } else if (k <= most_kept) {
    keep<T, 8>(scores, n_rows, n_items, seen, rows, out, workspace, stream);
  } else {
    by_digits::topk(scores, n_rows, n_items, seen, rows, k, ids, values, workspace, stream);
  }
}

#define FGR_INSTANTIATE(T)                                             \
  template int64_t topk_workspace_bytes<T>(int64_t, int64_t, int64_t); \
  template void topk<T>(const T*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, T*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
