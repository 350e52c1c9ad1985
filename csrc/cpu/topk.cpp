#include "fgr/topk.h"

#include <algorithm>
#include <limits>

#include "cpu/parallel.h"

namespace fgr::cpu {

template <class T>
void topk(const T* scores, int64_t n_rows, int64_t n_items, const Csr& seen, const int64_t* rows, int64_t k,
          int64_t* ids, T* values, int threads) {
  if (rows != nullptr) check_ids("rows", rows, n_rows, 0, seen.n_rows);
  parallel_for(n_rows, 8, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* row = scores + b * n_items;
      int64_t* id = ids + b * k;
      T* value = values + b * k;
      const int32_t* next = rows != nullptr ? seen.indices + seen.indptr[rows[b]] : nullptr;
      const int32_t* last = rows != nullptr ? seen.indices + seen.indptr[rows[b] + 1] : nullptr;
      // id[0, size) is a heap of the best so far with the worst on top; items come in ascending order of id, so an
      // equal score that comes later never replaces one that is kept.
      const auto better = [row](int64_t i, int64_t j) { return row[i] > row[j] || (row[i] == row[j] && i < j); };
      int64_t size = 0;
      for (int64_t i = 0; i < n_items; ++i) {
        if (next != last && *next == i) {
          ++next;
          continue;
        }
        if (size == k) {
          if (!(row[i] > row[id[0]])) continue;
          std::pop_heap(id, id + size, better);
          id[size - 1] = i;
          std::push_heap(id, id + size, better);
        } else if (row[i] == row[i]) {
          id[size++] = i;
          std::push_heap(id, id + size, better);
        }
      }
      std::sort_heap(id, id + size, better);
      for (int64_t j = 0; j < k; ++j) {
        value[j] = j < size ? row[id[j]] : -std::numeric_limits<T>::infinity();
        if (j >= size) id[j] = -1;
      }
    }
  });
}

template void topk<float>(const float*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, float*, int);
template void topk<double>(const double*, int64_t, int64_t, const Csr&, const int64_t*, int64_t, int64_t*, double*,
                           int);

}  // namespace fgr::cpu
