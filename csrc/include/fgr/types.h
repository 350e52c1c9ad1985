// Types shared by every kernel, on the host and on a CUDA device.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FGR_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)  // a copy of its own, compiled in cpu/isa, might be what the linker hands to a lower level
#define FGR_HOST_DEVICE __attribute__((always_inline)) inline
#else
#define FGR_HOST_DEVICE inline
#endif

namespace fgr {

// bfloat16 as it lies in memory; arithmetic happens in float (common/bf16.h).
struct bf16 {
  uint16_t bits;
};

// The codes that Python hands over (see core/native.py).
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

// How a device shares out the rows of a hop (cuda/hop.cuh); without one every row is light. A row is heavy with more
// than heavy_degree edges, split with more than part_edges; both lists are in descending order of degree.
struct Schedule {
  const int32_t* split_node = nullptr;  // [n_split] a split row once for each of its parts of part_edges edges,
  const int32_t* split_part = nullptr;  // [n_split] and the number of the part
  const int32_t* heavy = nullptr;       // [n_heavy] the rows that are heavy and not split
  int64_t n_split = 0, n_heavy = 0, heavy_degree = 0, part_edges = 0;
};

enum class Side : int { users = 0, items = 1 };
FGR_HOST_DEVICE Side other_side(Side side) { return side == Side::users ? Side::items : Side::users; }

// A bipartite graph: R and its transpose. Nodes are numbered users first, then items.
struct Bipartite {
  Csr users;  // R,   rows = users, columns = items
  Csr items;  // R^T, rows = items, columns = users
  Schedule schedule = {};
  FGR_HOST_DEVICE int64_t n_nodes() const { return users.n_rows + items.n_rows; }
};

}  // namespace fgr
