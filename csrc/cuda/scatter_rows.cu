#include "cuda/sort.cuh"
#include "fgr/scatter_rows.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 128;

__global__ void keys_kernel(const int64_t* ids, int64_t n, int64_t n_out, uint32_t* key, int32_t* position) {
  const int64_t i = global_thread();
  if (i >= n) return;
  const int64_t id = checked_id(ids[i], -1, n_out, "ids");
  key[i] = static_cast<uint32_t>(id < 0 ? n_out : id);  // what is skipped stands last
  position[i] = static_cast<int32_t>(i);
}

// One warp an entry; the warp of a segment's first entry adds the whole segment, in order.
template <class S, class T>
__global__ void __launch_bounds__(block_threads)
    segments_kernel(const uint32_t* key, const int32_t* position, int64_t n, const acc_t<T>* coef, const S* src,
                    const int64_t* src_index, int64_t n_src, int64_t dim, const acc_t<T>* scale, T* out,
                    int64_t n_out) {
  using A = acc_t<T>;
  const int64_t first = global_warp();
  if (first >= n || key[first] == n_out || (first > 0 && key[first - 1] == key[first])) return;
  const uint32_t id = key[first];
  const A factor = scale != nullptr ? *scale : A(1);
  for (int64_t c = lane(); c < dim; c += warp) {
    A sum = 0;
    for (int64_t i = first; i < n && key[i] == id; ++i) {
      const int64_t p = position[i];
      const int64_t row = src_index != nullptr ? checked_id(src_index[p], 0, n_src, "src_index") : p;
      sum += (coef != nullptr ? coef[p] : A(1)) * load(src[row * dim + c]);
    }
    store(out[static_cast<int64_t>(id) * dim + c], factor * sum);
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
  launch("scatter_rows", segments_kernel<S, T>, blocks_for(n, block_threads / warp), block_threads, 0, stream,
         sorting.sorted_key, sorting.sorted_position, n, coef, src, src_index, n_src, dim, scale, out, n_out);
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
