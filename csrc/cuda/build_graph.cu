// A graph of edges on the device, the same to the bit as cpu/build.cpp's. Row and column make one key of as many bits
// as they need, and CUB's radix sort, which is stable, brings them into order, 8 bits a pass. A key's weights then
// stand in the order of the edges, and one thread adds them in that order.
//
// Bytes that an edge with int64 ids moves, in brackets what a weight adds, with p = ceil(bits of row and column / 8)
// and q = ceil(bits of the column / 8) passes (6 and 3 at 10 M nodes a side):
//   bounds 16 (4), keys 24 (8), sort 8 + 16 p (8 p), merging 16 (24), CSR 12 (8),
//   transpose: keys 12 (8), sort 8 + 16 q (8 q), CSR 12 (8)
// = 252 (132) there: 100 M edges take 8 ms at 3 TB/s, with weights 13. Many equal edges are slower: one thread adds a
// million weights in some 40 ms. Memory beside edges and graph: 16 bytes an edge (8), and CUB's own, below half a byte.
#include <algorithm>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_select.cuh>

#include "common/arena.h"
#include "common/sampling.h"
#include "cuda/device.cuh"
#include "fgr/build.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;
constexpr int64_t most_blocks = 2048;  // of a reduction
constexpr int most_bits = 62;          // of two ids below 2^31

// How many bits ids in [0, n) need.
int bits_of(int64_t n) {
  int bits = 0;
  while (bits < most_bits / 2 && (n - 1) >> bits > 0) ++bits;
  return bits;
}

__device__ __forceinline__ int32_t low_part(uint64_t key, int bits) {
  return static_cast<int32_t>(key & ((uint64_t{1} << bits) - 1));
}

// Keys, with weights or without, in two halves between which CUB moves them.
struct KeySort {
  int64_t n;
  uint64_t* key[2];
  float* weight[2] = {nullptr, nullptr};
  bool weighted;
  void* storage = nullptr;
  size_t storage_bytes = 0;

  KeySort(Arena& arena, int64_t n_edges, bool with_weight) : n(n_edges), weighted(with_weight) {
#if defined(CUB_VERSION) && CUB_VERSION < 200800
    if (n > INT32_MAX) {
      throw std::runtime_error("Graph: CUB before 2.8 (CUDA 12.9), with which this was built, sorts at most " +
                               std::to_string(INT32_MAX) + " edges, got " + std::to_string(n) +
                               "; build the graph on the CPU");
    }
#endif
    for (auto& half : key) half = arena.take<uint64_t>(n);
    if (weighted) {
      for (auto& half : weight) half = arena.take<float>(n);
    }
    int half = 0;
    check(unique(half, nullptr, nullptr), "sort_edges");
    const size_t of_unique = storage_bytes;
    check(sort(half, 0, most_bits, nullptr), "sort_edges");
    storage_bytes = std::max(storage_bytes, of_unique);
    storage = arena.take<char>(static_cast<int64_t>(storage_bytes));
  }

  // Sorts a half by some bits of the keys, stably; `half` becomes the one where they lie then. Without storage this and
  // the next only say how much they need.
  cudaError_t sort(int& half, int first_bit, int bits, void* stream) {
    const auto s = static_cast<cudaStream_t>(stream);
    cub::DoubleBuffer<uint64_t> keys(key[half], key[1 - half]);
    cub::DoubleBuffer<float> weights(weight[half], weight[1 - half]);
    const int last = first_bit + bits;
    const cudaError_t status =
        weighted ? cub::DeviceRadixSort::SortPairs(storage, storage_bytes, keys, weights, n, first_bit, last, s)
                 : cub::DeviceRadixSort::SortKeys(storage, storage_bytes, keys, n, first_bit, last, s);
    if (keys.Current() != key[half]) half = 1 - half;
    return status;
  }

  // Leaves the first of each run of equal keys, with its weight, in the other half.
  cudaError_t unique(int& half, int64_t* kept, void* stream) {
    const auto s = static_cast<cudaStream_t>(stream);
    const int to = 1 - half;
    const cudaError_t status = weighted
                                   ? cub::DeviceSelect::UniqueByKey(storage, storage_bytes, key[half], weight[half],
                                                                    key[to], weight[to], kept, n, s)
                                   : cub::DeviceSelect::Unique(storage, storage_bytes, key[half], key[to], kept, n, s);
    half = to;
    return status;
  }
};

template <class I>
__global__ void bounds_kernel(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows,
                              int64_t n_cols, float least, EdgeBounds* out) {
  EdgeBounds own;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t e = global_thread(); e < n_edges; e += step) {
    own.take(rows, cols, weight, e, n_edges, n_rows, n_cols, least);
  }
  const auto largest = [](int64_t* of_all, int64_t mine) {
    const int64_t of_warp = warp_max(mine);
    if (lane() == 0) atomicMax(reinterpret_cast<long long*>(of_all), static_cast<long long>(of_warp));
  };
  largest(&out->row, own.row);
  largest(&out->col, own.col);
  largest(&out->from_bad, own.from_bad);
  largest(&out->from_unfit, own.from_unfit);
}

template <class I>
__global__ void keys_kernel(const I* rows, const I* cols, const float* weight, int64_t n_edges, int col_bits,
                            uint64_t* key, float* key_weight) {
  const int64_t e = global_thread();
  if (e >= n_edges) return;
  key[e] = static_cast<uint64_t>(rows[e]) << col_bits | static_cast<uint64_t>(cols[e]);
  if (weight != nullptr) key_weight[e] = weight[e];
}

// The first edge of a run of equal keys takes the sum of the run's weights. Nobody else reads or writes these.
__global__ void merge_kernel(const uint64_t* key, float* weight, int64_t n_edges) {
  const int64_t e = global_thread();
  if (e >= n_edges || (e > 0 && key[e - 1] == key[e])) return;
  float sum = weight[e];
  for (int64_t i = e + 1; i < n_edges && key[i] == key[e]; ++i) sum += weight[i];
  weight[e] = sum;
}

// indptr[r] = how many of the keys, which are sorted, are less than r's.
__global__ void indptr_kernel(const uint64_t* key, int64_t n_edges, int col_bits, int64_t n_rows, int64_t* indptr) {
  const int64_t r = global_thread();
  if (r > n_rows) return;
  const uint64_t first = static_cast<uint64_t>(r) << col_bits;
  indptr[r] = lower_bound(key, n_edges, first);
}

__global__ void columns_kernel(const uint64_t* key, const float* key_weight, int64_t n_edges, int col_bits,
                               int32_t* indices, float* weight) {
  const int64_t e = global_thread();
  if (e >= n_edges) return;
  indices[e] = low_part(key[e], col_bits);
  if (weight != nullptr) weight[e] = key_weight[e];
}

// Keys (column, row) of a CSR's edges.
__global__ void turned_kernel(Csr in, int64_t n_edges, int row_bits, uint64_t* key, float* key_weight) {
  const int64_t e = global_thread();
  if (e >= n_edges) return;
  int64_t low = 0, high = in.n_rows;  // the last row that begins at or before e
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (in.indptr[middle] <= e) {
      low = middle;
    } else {
      high = middle;
    }
  }
  key[e] = static_cast<uint64_t>(in.indices[e]) << row_bits | static_cast<uint64_t>(low);
  if (key_weight != nullptr) key_weight[e] = in.weight[e];
}

// One thread for each of n.
template <class... Params, class... Args>
void for_each(const char* op, void (*kernel)(Params...), int64_t n, void* stream, Args... args) {
  launch(op, kernel, blocks_for(n, block_threads), block_threads, 0, stream, args...);
}

// The CSR of sorted keys.
void write_csr(const char* op, const uint64_t* key, const float* key_weight, int64_t n_edges, int64_t n_rows,
               int64_t n_cols, int64_t* indptr, int32_t* indices, float* weight, void* stream) {
  const int col_bits = bits_of(n_cols);
  for_each(op, indptr_kernel, n_rows + 1, stream, key, n_edges, col_bits, n_rows, indptr);
  for_each(op, columns_kernel, n_edges, stream, key, key_weight, n_edges, col_bits, indices, weight);
}

}  // namespace

template <class I>
void edge_bounds(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
                 float least, EdgeBounds* out, void* stream) {
  check(cudaMemsetAsync(out, 0xff, sizeof *out, static_cast<cudaStream_t>(stream)), "edge_bounds");  // -1
  launch("edge_bounds", bounds_kernel<I>, std::min(blocks_for(n_edges, block_threads), most_blocks), block_threads, 0,
         stream, rows, cols, weight, n_edges, n_rows, n_cols, least, out);
}

int64_t sort_edges_workspace_bytes(int64_t n_edges, bool weighted) {
  Arena arena{0};
  const KeySort keys(arena, n_edges, weighted);
  return arena.used;
}

template <class I>
int sort_edges(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
               int64_t* kept, void* workspace, void* stream) {
  constexpr const char* op = "sort_edges";
  check(cudaMemsetAsync(kept, 0, sizeof *kept, static_cast<cudaStream_t>(stream)), op);
  int half = 0;
  if (n_edges == 0) return half;
  Arena arena{reinterpret_cast<uintptr_t>(workspace)};
  KeySort keys(arena, n_edges, weight != nullptr);
  const int col_bits = bits_of(n_cols);
  for_each(op, keys_kernel<I>, n_edges, stream, rows, cols, weight, n_edges, col_bits, keys.key[0], keys.weight[0]);
  check(keys.sort(half, 0, bits_of(n_rows) + col_bits, stream), op);
  if (weight != nullptr) for_each(op, merge_kernel, n_edges, stream, keys.key[half], keys.weight[half], n_edges);
  check(keys.unique(half, kept, stream), op);
  return half;
}

void csr_of_sorted(int64_t n_edges, int64_t kept, int half, int64_t n_rows, int64_t n_cols, int64_t* indptr,
                   int32_t* indices, float* weight, void* workspace, void* stream) {
  Arena arena{reinterpret_cast<uintptr_t>(workspace)};
  const KeySort keys(arena, n_edges, weight != nullptr);
  write_csr("csr_of_sorted", keys.key[half], keys.weight[half], kept, n_rows, n_cols, indptr, indices, weight, stream);
}

void transpose(const Csr& in, int64_t n_edges, int64_t* indptr_t, int32_t* indices_t, float* weight_t, void* workspace,
               void* stream) {
  constexpr const char* op = "transpose";
  Arena arena{reinterpret_cast<uintptr_t>(workspace)};
  KeySort keys(arena, n_edges, weight_t != nullptr);
  const int row_bits = bits_of(in.n_rows);
  int half = 0;
  for_each(op, turned_kernel, n_edges, stream, in, n_edges, row_bits, keys.key[half], keys.weight[half]);
  check(keys.sort(half, row_bits, bits_of(in.n_cols), stream), op);  // the rows are in order
  write_csr(op, keys.key[half], keys.weight[half], n_edges, in.n_cols, in.n_rows, indptr_t, indices_t, weight_t,
            stream);
}

#define FGR_INSTANTIATE(I)                                                                                      \
  template void edge_bounds<I>(const I*, const I*, const float*, int64_t, int64_t, int64_t, float, EdgeBounds*, \
                               void*);                                                                          \
  template int sort_edges<I>(const I*, const I*, const float*, int64_t, int64_t, int64_t, int64_t*, void*, void*);
FGR_INSTANTIATE(int32_t)
FGR_INSTANTIATE(int64_t)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
