// A block makes the scores of 128 queries and one tile of 128 items after another, by tensor cores
// (retrieve_halves.cuh) or, of few queries and in double, 8 x 8 of them a thread in registers, and keeps for each query
// what exceeds the k-th best so far. Where there are few queries, several blocks share out the items of the same ones,
// and each word that they have kept finds its place among the others.
#include <algorithm>
#include <type_traits>

#include "cuda/best.cuh"
#include "cuda/retrieve.cuh"
#include "cuda/retrieve_halves.cuh"

namespace fgr::cuda {
namespace {

using namespace retrieval;

constexpr int depth = 8;                   // columns of the vectors that are in shared memory at a time
constexpr int pitch = tile + 4;            // a row of it: aligned, and a column's elements lie in different banks
constexpr int side = 8, strip = side / 2;  // a thread has two strips of four rows, and of four columns
constexpr int threads_a_side = tile / side;
static_assert(threads_a_side * threads_a_side == block_threads, "a thread has a square of the tile");

// out[i] = 1 / max(norm of row i, 1e-12); a warp a row.
template <class T, class RowOf>
__global__ void factor_kernel(const T* x, RowOf row_of, int64_t n, int64_t dim, T* out) {
  const int64_t i = global_warp();
  if (i >= n) return;
  const T* row = x + row_of(i) * dim;
  const T norm = sqrt(warp_dot(row, row, dim));
  if (lane() == 0) out[i] = T(1) / (norm < T(1e-12) ? T(1e-12) : norm);
}
template <class T>
struct ItemAt {
  Retrieval<T> job;
  __device__ int64_t operator()(int64_t i) const { return item_at(job, i); }
};
struct Itself {
  __device__ int64_t operator()(int64_t i) const { return i; }
};

// The row or column of the tile that element i of a thread's strips belongs to.
__device__ __forceinline__ int place(int thread, int i) { return i / strip * (tile / 2) + thread * strip + i % strip; }

// The rows of a tile and what they are multiplied by, in shared memory; null beyond the matrix.
template <class T>
struct TileRows {
  const T** row;  // [tile]
  T* factor;      // [tile]
};

// Columns [c, c + depth) of a tile's rows: a thread's part, zeros beyond the matrix.
constexpr int staged = tile * depth / block_threads;
template <class T>
__device__ __forceinline__ void fetch(const TileRows<T>& rows, int c, int dim, T (&part)[staged]) {
  const int thread = static_cast<int>(threadIdx.x), column = c + thread % depth;
#pragma unroll
  for (int i = 0; i < staged; ++i) {
    const T* row = rows.row[(i * block_threads + thread) / depth];
    part[i] = row != nullptr && column < dim ? row[column] : T(0);
  }
}
// Into shared memory, transposed.
template <class T>
__device__ __forceinline__ void stage(const TileRows<T>& rows, const T (&part)[staged], T (*to)[pitch]) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < staged; ++i) {
    const int r = (i * block_threads + thread) / depth;
    to[thread % depth][r] = part[i] * rows.factor[r];
  }
}

__device__ __forceinline__ void note_least(unsigned long long* least, int64_t x) {
  const auto value = static_cast<unsigned long long>(x);
  if (value < __ldcg(least)) atomicMin(least, value);  // where all is NaN, most need not wait for each other
}

template <class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 2 : 1)
    retrieve_kernel(Retrieval<T> job, Space<T> s, int64_t first_query, int64_t n_queries) {
  if (s.in_halves && are_fit(s.findings, n_queries)) return;  // retrieve_halves_kernel has done it
  FGR_SHARED(__align__(16) T, queries, [depth][pitch]);
  FGR_SHARED(__align__(16) T, items, [depth][pitch]);
  FGR_SHARED(rank_word_t<T>, last, [tile]);  // of each query, as in the CPU's: behind all until its buffer was cut,
  FGR_SHARED(T, bound, [tile]);              // and its score, NaN
  FGR_SHARED(int, count, [tile]);
  FGR_SHARED(int64_t, left_out, [tile]);  // the row of job.exclude, or -1
  const int64_t q0 = blockIdx.x / s.n_splits * tile, split = blockIdx.x % s.n_splits;
  const int64_t begin = split * s.tiles_a_split * tile, end_of_split = begin + s.tiles_a_split * tile;
  const int64_t end = end_of_split < job.n_candidates ? end_of_split : job.n_candidates;
  const int tx = static_cast<int>(threadIdx.x) % threads_a_side, ty = static_cast<int>(threadIdx.x) / threads_a_side;
  const int rows = static_cast<int>(n_queries - q0 < tile ? n_queries - q0 : tile);
  const auto words_of = [&](int r) { return s.words + ((q0 + r) * s.n_splits + split) * s.capacity; };
  FGR_SHARED(const T*, row, [2][tile]);
  FGR_SHARED(T, factor, [2][tile]);
  const TileRows<T> query_rows{row[0], factor[0]}, item_rows{row[1], factor[1]};
  const int dim = static_cast<int>(job.dim);
  for (int r = static_cast<int>(threadIdx.x); r < tile; r += block_threads) {
    const bool within = r < rows;
    query_rows.row[r] = within ? job.queries + (first_query + q0 + r) * job.dim : nullptr;
    query_rows.factor[r] = within && job.cosine ? s.query_factor[q0 + r] : T(1);
    last[r] = no_word<T>();
    bound[r] = static_cast<T>(within ? NAN : INFINITY);
    count[r] = 0;
    const int64_t q = first_query + q0 + r;
    left_out[r] = -1;
    if (!within || job.exclude.indptr == nullptr) continue;
    left_out[r] = checked_id(job.rows != nullptr ? job.rows[q] : q, 0, job.exclude.n_rows, "exclude_rows");
  }
  const int n_best = static_cast<int>(s.n_best);
  for (int64_t j0 = begin; j0 < end; j0 += tile) {
    T acc[side][side] = {};
    for (int r = static_cast<int>(threadIdx.x); r < tile; r += block_threads) {
      const bool within = j0 + r < end;
      item_rows.row[r] = within ? job.items + item_at(job, j0 + r) * job.dim : nullptr;
      item_rows.factor[r] = within && job.cosine ? s.item_factor[j0 + r] : T(1);
    }
    __syncthreads();
    T query_part[staged], item_part[staged];  // of the columns to come, under way while those before are multiplied
    const auto fetch_from = [&](int c) {
      fetch(query_rows, c, dim, query_part);
      fetch(item_rows, c, dim, item_part);
    };
    fetch_from(0);
    for (int c = 0; c < dim; c += depth) {
      __syncthreads();  // what was staged before has been read
      stage(query_rows, query_part, queries);
      stage(item_rows, item_part, items);
      __syncthreads();
      if (c + depth < dim) fetch_from(c + depth);
#pragma unroll
      for (int p = 0; p < depth; ++p) {
        T a[2][strip], b[2][strip];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          read(&queries[p][place(ty, h * strip)], a[h]);
          read(&items[p][place(tx, h * strip)], b[h]);
        }
#pragma unroll
        for (int i = 0; i < side; ++i) {
#pragma unroll
          for (int j = 0; j < side; ++j) acc[i][j] += a[i / strip][i % strip] * b[j / strip][j % strip];
        }
      }
    }
    __syncthreads();  // bounds and counts are those after the tile before
    unsigned long long found = 0;
#pragma unroll
    for (int i = 0; i < side; ++i) {
      const T least = bound[place(ty, i)];
#pragma unroll
      for (int j = 0; j < side; ++j) found |= static_cast<unsigned long long>(!(acc[i][j] < least)) << (i * side + j);
    }
    if (found != 0) {  // seldom; the copy can be indexed and leaves acc in registers
      T scores[side * side];
#pragma unroll
      for (int e = 0; e < side * side; ++e) scores[e] = acc[e / side][e % side];
      for (; found != 0; found &= found - 1) {
        const int e = __ffsll(found) - 1, r = place(ty, e / side);
        const int64_t position = j0 + place(tx, e % side);
        if (r >= rows || position >= end) continue;
        const int64_t item = item_at(job, position);
        const bool nan = scores[e] != scores[e];
        if (nan) note_least(&s.findings->first_nan, (first_query + q0 + r) * job.n_items + item);
        const rank_word_t<T> word = nan ? nan_word<T>() : rank_word(scores[e], item);
        if (word <= last[r]) words_of(r)[atomicAdd(&count[r], 1)] = word;
      }
    }
    __syncthreads();
    for (int r = static_cast<int>(threadIdx.x) / warp; r < rows; r += block_threads / warp) {
      if (count[r] + tile <= s.capacity && j0 + tile < end) continue;
      const int kept = keep_best<T>(words_of(r), count[r], n_best, job.exclude, left_out[r]);
      const rank_word_t<T> nth = kept == n_best ? words_of(r)[n_best - 1] : no_word<T>();
      __syncwarp(full_mask);  // the count has been read
      if (lane() == 0) {
        last[r] = nth;
        bound[r] = kept == n_best ? score_of_word<T>(nth) : static_cast<T>(NAN);
        count[r] = kept;
      }
    }
  }
  __syncthreads();
  for (int r = static_cast<int>(threadIdx.x); r < rows; r += block_threads)
    s.count[(q0 + r) * s.n_splits + split] = count[r];
}

// Which of a query's blocks has what belongs at its place in the list is found by whoever has it: a thread a word that
// a block may have kept, and a place in the list. Of a query with a NaN ids -1 and scores NaN.
template <class T>
__global__ void finish_kernel(Retrieval<T> job, Space<T> s, int64_t n_queries, int64_t* ids, T* scores) {
  const int64_t width = s.n_splits * s.n_best > job.k ? s.n_splits * s.n_best : job.k;
  const int64_t q = global_thread() / width, own = global_thread() % width;
  if (q >= n_queries) return;
  const int* count = s.count + q * s.n_splits;
  const rank_word_t<T>* words = s.words + q * s.n_splits * s.capacity;
  const int64_t split = s.n_best > 0 ? own / s.n_best : s.n_splits, at = own - split * s.n_best;
  const bool has_word = split < s.n_splits && at < count[split];
  const rank_word_t<T> word = has_word ? words[split * s.capacity + at] : no_word<T>();
  bool nan = false;
  int64_t total = 0, rank = 0;
  for (int64_t i = 0; i < s.n_splits; ++i) {
    const rank_word_t<T>* kept = words + i * s.capacity;
    total += count[i];
    nan = nan || (count[i] > 0 && kept[0] == nan_word<T>());
    if (has_word && rank < job.k) rank += static_cast<int>(lower_bound(kept, count[i], word));
  }
  const auto put = [&](int64_t place, int64_t id, T score) {
    ids[q * job.k + place] = id;
    scores[q * job.k + place] = score;
  };
  if (own < job.k && (nan || own >= total)) put(own, -1, static_cast<T>(nan ? NAN : -INFINITY));
  if (!nan && has_word && rank < job.k) put(rank, id_of_word<T>(word), score_of_word<T>(word));
}

void clear(const char* op, void* findings, size_t n_bytes, void* stream) {
  check(cudaMemsetAsync(findings, 0xff, n_bytes, static_cast<cudaStream_t>(stream)), op);
}

// Whether scores are made of halves first: where a block's queries fit into shared memory, and the items' copy into
// what the caller allows, who asks for all items at once.
template <class T>
bool in_halves(const Retrieval<T>& job) {
  if (!std::is_same_v<T, float> || job.queries_at_once < many_queries || job.items_at_once < job.n_candidates)
    return false;
  return job.dim > 0 && shared_bytes(pitch_in_halves(job.dim)) <= most_shared_bytes();
}

// The same for n_best <= best::most_kept: a block a query.
template <class T, int slots>
__global__ void __launch_bounds__(best::block_threads)
    join_kernel(Retrieval<T> job, Space<T> s, int64_t* ids, T* scores) {
  using Word = rank_word_t<T>;
  FGR_SHARED(Word, kept, [best::n_warps][slots * warp]);
  FGR_SHARED(int, count, [best::n_warps]);
  FGR_SHARED(bool, nan);
  const int64_t q = blockIdx.x;
  const int own_warp = static_cast<int>(threadIdx.x) / warp;
  const int* found = s.count + q * s.n_splits;
  const Word* words = s.words + q * s.n_splits * s.capacity;
  if (threadIdx.x == 0) nan = false;
  __syncthreads();
  best::Best<T, slots> best;
  best.words = kept[own_warp];
  best.k = static_cast<int>(s.n_best);
  best::push_words<T>(best, s.n_splits * s.n_best, [&](int64_t j) {
    const int64_t split = j / s.n_best, at = j % s.n_best;
    const Word word = at < found[split] ? words[split * s.capacity + at] : no_word<T>();
    if (word == nan_word<T>()) nan = true;
    return word;
  });
  best.cut();
  if (lane() == 0) count[own_warp] = best.count;
  const auto put = [&](int64_t place, int64_t id, T score) {
    ids[q * job.k + place] = id;
    scores[q * job.k + place] = score;
  };
  __syncthreads();
  const bool no_ranking = nan;
  const int n = best::for_best<T, slots * warp>(kept[0], count, best.k, [&](int rank, Word word) {
    if (!no_ranking) put(rank, id_of_word<T>(word), score_of_word<T>(word));
  });
  for (int64_t j = (no_ranking ? 0 : n) + threadIdx.x; j < job.k; j += best::block_threads)
    put(j, -1, static_cast<T>(no_ranking ? NAN : -INFINITY));
}

template <class T>
void finish(const char* op, const Retrieval<T>& job, const Space<T>& s, int64_t n, int64_t* ids, T* scores,
            void* stream) {
  if (s.n_splits > 1 && s.n_best <= best::most_kept) {
    const auto kernel = s.n_best <= warp ? join_kernel<T, 2> : join_kernel<T, 8>;
    return launch(op, kernel, n, best::block_threads, 0, stream, job, s, ids, scores);
  }
  const int64_t width = std::max(s.n_splits * s.n_best, job.k);
  launch(op, finish_kernel<T>, blocks_for(n * width, block_threads), block_threads, 0, stream, job, s, n, ids, scores);
}

}  // namespace

template <class T>
int64_t retrieve_workspace_bytes(const Retrieval<T>& job) {
  return Space<T>(nullptr, job, in_halves(job)).bytes;
}

template <class T>
void retrieve(const Retrieval<T>& job, int64_t* ids, T* scores, void* workspace, void* stream) {
  constexpr int per_block = block_threads / warp;
  const char* op = "retrieve";
  const Space<T> s(workspace, job, in_halves(job));
  const auto by_warps = [&](auto kernel, int64_t n_warps, auto... args) {
    launch(op, kernel, blocks_for(n_warps, per_block), block_threads, 0, stream, args...);
  };
  clear(op, s.findings, sizeof *s.findings, stream);
  if (job.cosine) {
    by_warps(factor_kernel<T, ItemAt<T>>, job.n_candidates, job.items, ItemAt<T>{job}, job.n_candidates, job.dim,
             s.item_factor);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (s.in_halves) {
      const int64_t rows = blocks_for(job.n_candidates, tile) * tile;
      by_warps(item_norms_kernel, job.n_candidates, job, s);
      by_warps(item_halves_kernel, rows, job, s, rows);
    }
  }
  for (int64_t q = 0; q < job.n_queries; q += job.queries_at_once) {
    const int64_t n = job.queries_at_once < job.n_queries - q ? job.queries_at_once : job.n_queries - q;
    const int64_t n_blocks = blocks_for(n, tile);
    if (job.cosine) {
      by_warps(factor_kernel<T, Itself>, n, job.queries + q * job.dim, Itself{}, n, job.dim, s.query_factor);
    }
    if constexpr (std::is_same_v<T, float>) {
      if (s.in_halves) {
        if (q > 0) clear(op, &s.findings->fit, 2 * sizeof s.findings->fit, stream);  // of the queries before
        by_warps(query_halves_kernel, n_blocks * tile, job, s, q, n, n_blocks * tile);
        const size_t bytes = shared_bytes(s.pitch);
        allow_shared(op, retrieve_halves_kernel);
        launch(op, retrieve_halves_kernel, n_blocks * s.n_splits, block_threads, bytes, stream, job, s, q, n);
      }
    }
    launch(op, retrieve_kernel<T>, n_blocks * s.n_splits, block_threads, 0, stream, job, s, q, n);
    finish(op, job, s, n, ids + q * job.k, scores + q * job.k, stream);
  }
}

#define FGR_INSTANTIATE(T)                                           \
  template int64_t retrieve_workspace_bytes<T>(const Retrieval<T>&); \
  template void retrieve<T>(const Retrieval<T>&, int64_t*, T*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
