// Types shared by every kernel, on the host and on a CUDA device.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FGR_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define FGR_HOST_DEVICE inline
#endif

namespace fgr {

// bfloat16 as it lies in memory; arithmetic happens in float (common/bf16.h).
struct bf16 {
  uint16_t bits;
};

// The codes that Python hands over (see _native.py).
enum class DType : int { f32 = 0, f64 = 1, bf16 = 2 };

// Accumulator of a storage type: double for double, float for float and bf16.
template <class T>
struct Acc {
  using type = float;
};
template <>
struct Acc<double> {
  using type = double;
};
template <class T>
using acc_t = typename Acc<T>::type;

// One half of a bipartite graph in CSR: row r owns edges indptr[r] .. indptr[r + 1].
//   indptr [n_rows + 1], monotone; indices [n_edges], within a row sorted and unique; weight [n_edges] or null (= 1).
struct Csr {
  const int64_t* indptr;
  const int32_t* indices;
  const float* weight;
  int64_t n_rows;
  int64_t n_cols;
};

// A bipartite graph: R and its transpose. Nodes are numbered users first, then items.
struct Bipartite {
  Csr users;  // R,   rows = users, columns = items
  Csr items;  // R^T, rows = items, columns = users
  int64_t n_nodes() const { return users.n_rows + items.n_rows; }
};

}  // namespace fgr
