#include "common/sampling.h"
#include "cuda/listed_rows.cuh"
#include "cuda/sort.cuh"
#include "fgr/scatter_rows.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 512;
constexpr int n_warps = block_threads / warp;
constexpr int64_t most_short = 128;  // terms of a row that one warp adds

__global__ void keys_kernel(const int64_t* ids, int64_t n, int64_t n_out, uint32_t* key, int32_t* position) {
  const int64_t i = global_thread();
  if (i >= n) return;
  const int64_t id = checked_id(ids[i], -1, n_out, "ids");
  key[i] = static_cast<uint32_t>(id < 0 ? n_out : id);  // what is skipped stands last
  position[i] = static_cast<int32_t>(i);
}

// What the terms are, and where their sums go.
template <class S, class T>
struct Terms {
  using A = acc_t<T>;
  const uint32_t* key;  // [n] ascending, n_out behind the last row's
  const int32_t* position;
  int64_t n;
  const A* coef;
  const S* src;
  const int64_t* src_index;
  int64_t n_src, dim;
  const A* scale;
  T* out;
  int64_t n_out;

  // The i-th in the order of the keys.
  __device__ Listed<A> operator()(int64_t i) const {
    const int64_t p = position[i];
    Listed<A> term;
    term.row = static_cast<int32_t>(src_index != nullptr ? checked_id(src_index[p], 0, n_src, "src_index") : p);
    term.weight = coef != nullptr ? coef[p] : A(1);
    return term;
  }
  template <int V>
  __device__ void put(int64_t id, int64_t c, const A (&sum)[V]) const {
    const A factor = scale != nullptr ? *scale : A(1);
    T row[V];
#pragma unroll
    for (int v = 0; v < V; ++v) store(row[v], factor * sum[v]);
    write(out + id * dim + c, row);
  }
};

// The warp of a segment's first entry adds the whole segment, in order; nothing of a long one.
template <int V, class S, class T>
__device__ void add_short(const Terms<S, T>& terms, int64_t first) {
  const uint32_t* key = terms.key;
  if (first >= terms.n || key[first] == terms.n_out || (first > 0 && key[first - 1] == key[first])) return;
  const uint32_t id = key[first];
  int64_t end = first;
  for (unsigned same = full_mask; same == full_mask;) {
    same = __ballot_sync(full_mask, end + lane() < terms.n && key[end + lane()] == id);
    end += __popc(same);
    if (end - first > most_short) return;
  }
  for (int64_t c0 = 0; c0 < terms.dim; c0 += warp * V) {
    const int64_t c = c0 + lane() * V;
    acc_t<T> sum[V] = {};
    add_listed<S>(terms.src + c, terms.dim, c < terms.dim, first, end, terms, sum);
    if (c < terms.dim) terms.put(id, c, sum);
  }
}

// The long segment of which entry `at`, a multiple of most_short, is the first such, by a block: its warps take a
// stretch each, whose sums are added in order.
template <int V, class S, class T>
__device__ void add_long(const Terms<S, T>& terms, int64_t at) {
  using A = acc_t<T>;
  FGR_SHARED(A, part, [n_warps][warp * V]);
  const uint32_t* key = terms.key;
  const uint32_t id = key[at];
  const auto is_there = [&](int64_t i) { return i >= 0 && i < terms.n && key[i] == id; };
  if (id == terms.n_out || is_there(at - most_short)) return;
  if (!is_there(at - most_short / 2) && !is_there(at + most_short / 2)) return;  // what is longer reaches one of them
  const int64_t before = at < most_short ? 0 : at - most_short;
  const int64_t begin = before + lower_bound(key + before, at - before, id);
  const int64_t end = at + lower_bound(key + at, terms.n - at, id + 1);
  if (end - begin <= most_short) return;
  const int own = static_cast<int>(threadIdx.x) / warp;
  const int64_t share = (end - begin + n_warps - 1) / n_warps, from = begin + own * share;
  const int64_t to = from + share < end ? from + share : end;
  for (int64_t c0 = 0; c0 < terms.dim; c0 += warp * V) {
    const int64_t c = c0 + lane() * V;
    A sum[V] = {};
    add_listed<S>(terms.src + c, terms.dim, c < terms.dim, from, to, terms, sum);
    __syncthreads();  // the parts of the columns before have been read
#pragma unroll
    for (int v = 0; v < V; ++v) part[own][lane() * V + v] = sum[v];
    __syncthreads();
    if (own > 0 || c >= terms.dim) continue;
    for (int w = 1; w < n_warps; ++w) {
#pragma unroll
      for (int v = 0; v < V; ++v) sum[v] += part[w][lane() * V + v];
    }
    terms.put(id, c, sum);
  }
}

// A warp an entry; behind these, a block each most_short entries.
template <int V, class S, class T>
__global__ void __launch_bounds__(block_threads) segments_kernel(Terms<S, T> terms, int64_t n_short) {
  const int64_t block = blockIdx.x;
  if (block < n_short) {
    add_short<V>(terms, global_warp());
  } else {
    add_long<V>(terms, (block - n_short) * most_short);
  }
}

}  // namespace

int64_t scatter_rows_workspace_bytes(int64_t n, int64_t n_out) {
  Arena arena{0};
  const Sorting sorting(arena, n, n_out);
  return arena.used;
}

template <class S, class T>
void scatter_rows(const int64_t* ids, const acc_t<T>* coef, const S* src, const int64_t* src_index, int64_t n,
                  int64_t n_src, int64_t dim, const acc_t<T>* scale, T* out, int64_t n_out, void* workspace,
                  void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  if (n_out * dim > 0) check(cudaMemsetAsync(out, 0, static_cast<size_t>(n_out * dim) * sizeof(T), s), "scatter_rows");
  if (n == 0) return;
  Arena arena{reinterpret_cast<uintptr_t>(workspace)};
  Sorting sorting(arena, n, n_out);
  launch("scatter_rows", keys_kernel, blocks_for(n, 256), 256, 0, stream, ids, n, n_out, sorting.key, sorting.position);
  sorting.sort(stream);
  check_listed("scatter_rows", n_src, dim * static_cast<int64_t>(sizeof(S)));
  const Terms<S, T> terms{
      sorting.sorted_key, sorting.sorted_position, n, coef, src, src_index, n_src, dim, scale, out, n_out};
  const int64_t n_short = blocks_for(n, n_warps), n_long = n > most_short ? blocks_for(n, most_short) : 0;
  with_columns<S>(dim, {src, out}, [&](auto columns) {
    launch("scatter_rows", segments_kernel<columns.value, S, T>, n_short + n_long, block_threads, 0, stream, terms,
           n_short);
  });
}

#define FGR_INSTANTIATE(S, T)                                                                                   \
  template void scatter_rows<S, T>(const int64_t*, const acc_t<T>*, const S*, const int64_t*, int64_t, int64_t, \
                                   int64_t, const acc_t<T>*, T*, int64_t, void*, void*);
FGR_INSTANTIATE(float, float)
FGR_INSTANTIATE(double, double)
FGR_INSTANTIATE(bf16, bf16)
FGR_INSTANTIATE(float, bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
