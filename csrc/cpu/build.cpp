#include "fgr/build.h"

#include <cstring>
#include <stdexcept>
#include <string>

namespace fgr::cpu {
namespace {

// Turns counts in indptr[1 ..] into row starts, shifted by one: after the scatter has advanced every start, indptr is
// in place.
void starts_from_counts(int64_t* indptr, int64_t n_rows) {
  int64_t sum = 0;
  for (int64_t r = 0; r < n_rows; ++r) {
    const int64_t count = indptr[r + 1];
    indptr[r + 1] = sum;
    sum += count;
  }
}

void check_edge(const char* what, int64_t id, int64_t n, int64_t position) {
  if (id < 0 || id >= n) {
    throw std::out_of_range(std::string(what) + " id " + std::to_string(id) + " at edge " + std::to_string(position) +
                            " is outside [0, " + std::to_string(n) + ")");
  }
}

}  // namespace

template <class I>
void bucket_edges(const I* rows, const I* cols, const float* weight, int64_t n_edges, int64_t n_rows, int64_t n_cols,
                  int64_t* indptr, int32_t* indices, float* out_weight) {
  std::memset(indptr, 0, static_cast<size_t>(n_rows + 1) * sizeof(int64_t));
  for (int64_t e = 0; e < n_edges; ++e) {
    check_edge("row", static_cast<int64_t>(rows[e]), n_rows, e);
    check_edge("column", static_cast<int64_t>(cols[e]), n_cols, e);
    ++indptr[rows[e] + 1];
  }
  starts_from_counts(indptr, n_rows);
  for (int64_t e = 0; e < n_edges; ++e) {
    const int64_t at = indptr[rows[e] + 1]++;
    indices[at] = static_cast<int32_t>(cols[e]);
    if (weight != nullptr) out_weight[at] = weight[e];
  }
}

template void bucket_edges<int32_t>(const int32_t*, const int32_t*, const float*, int64_t, int64_t, int64_t, int64_t*,
                                    int32_t*, float*);
template void bucket_edges<int64_t>(const int64_t*, const int64_t*, const float*, int64_t, int64_t, int64_t, int64_t*,
                                    int32_t*, float*);

void transpose(const Csr& in, int64_t* indptr_t, int32_t* indices_t, float* weight_t) {
  std::memset(indptr_t, 0, static_cast<size_t>(in.n_cols + 1) * sizeof(int64_t));
  const int64_t n_edges = in.indptr[in.n_rows];
  for (int64_t e = 0; e < n_edges; ++e) ++indptr_t[in.indices[e] + 1];
  starts_from_counts(indptr_t, in.n_cols);
  for (int64_t r = 0; r < in.n_rows; ++r) {
    for (int64_t e = in.indptr[r]; e < in.indptr[r + 1]; ++e) {
      const int64_t at = indptr_t[in.indices[e] + 1]++;
      indices_t[at] = static_cast<int32_t>(r);
      if (weight_t != nullptr) weight_t[at] = in.weight[e];
    }
  }
}

int64_t merge_duplicates(int64_t* indptr, int32_t* indices, float* weight, int64_t n_rows) {
  int64_t kept = 0, begin = 0;
  for (int64_t r = 0; r < n_rows; ++r) {
    const int64_t end = indptr[r + 1], row_start = kept;
    for (int64_t e = begin; e < end; ++e) {
      if (kept > row_start && indices[kept - 1] == indices[e]) {
        if (weight != nullptr) weight[kept - 1] += weight[e];
        continue;
      }
      indices[kept] = indices[e];
      if (weight != nullptr) weight[kept] = weight[e];
      ++kept;
    }
    begin = end;
    indptr[r + 1] = kept;
  }
  return kept;
}

void check_csr(const int64_t* indptr, const int32_t* indices, int64_t n_rows, int64_t n_cols, int64_t n_edges) {
  if (indptr[0] != 0 || indptr[n_rows] != n_edges) {
    throw std::invalid_argument("CSR row pointer must run from 0 to the number of edges, " + std::to_string(n_edges) +
                                ", got " + std::to_string(indptr[0]) + " to " + std::to_string(indptr[n_rows]));
  }
  for (int64_t r = 0; r < n_rows; ++r) {
    if (indptr[r + 1] < indptr[r]) {
      throw std::invalid_argument("CSR row pointer must not decrease, but row " + std::to_string(r) + " runs from " +
                                  std::to_string(indptr[r]) + " to " + std::to_string(indptr[r + 1]));
    }
  }
  for (int64_t e = 0; e < n_edges; ++e) check_edge("column", indices[e], n_cols, e);
}

}  // namespace fgr::cpu
