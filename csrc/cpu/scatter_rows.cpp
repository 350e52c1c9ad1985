#include "fgr/scatter_rows.h"

#include <cstring>
#include <utility>

#include "common/bf16.h"
#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

struct Entry {
  int32_t id;
  int32_t position;
};

constexpr int radix_bits = 11;  // 2,048 counters: 16 KiB, half an L1

// Stable LSD radix sort by id; the sorted run ends up in either buffer and is returned.
Entry* sort_by_id(Entry* a, Entry* b, int64_t n, int64_t n_out) {
  for (int shift = 0; shift < 31 && ((n_out - 1) >> shift) > 0; shift += radix_bits) {
    int64_t start[(1 << radix_bits) + 1] = {};
    const auto digit = [shift](const Entry& e) { return (e.id >> shift) & ((1 << radix_bits) - 1); };
    for (int64_t i = 0; i < n; ++i) ++start[digit(a[i]) + 1];
    for (int d = 0; d < (1 << radix_bits); ++d) start[d + 1] += start[d];
    for (int64_t i = 0; i < n; ++i) b[start[digit(a[i])]++] = a[i];
    std::swap(a, b);
  }
  return a;
}

}  // namespace

// Two buffers of entries and the start of every segment.
int64_t scatter_rows_workspace_bytes(int64_t n, int64_t n_out) {
  check_positions(n, n_out);
  return 2 * n * static_cast<int64_t>(sizeof(Entry)) + (n + 1) * static_cast<int64_t>(sizeof(int64_t));
}

template <class S, class T>
void scatter_rows(const int64_t* ids, const acc_t<T>* coef, const S* src, const int64_t* src_index, int64_t n,
                  int64_t n_src, int64_t dim, const acc_t<T>* scale, T* out, int64_t n_out, void* workspace,
                  int threads) {
  using A = acc_t<T>;
  check_ids("ids", ids, n, -1, n_out);
  if (src_index != nullptr) check_ids("src_index", src_index, n, 0, n_src);
  int64_t* start = static_cast<int64_t*>(workspace);
  Entry* entries = reinterpret_cast<Entry*>(start + n + 1);
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (ids[i] >= 0) entries[count++] = {static_cast<int32_t>(ids[i]), static_cast<int32_t>(i)};
  }
  const Entry* sorted = sort_by_id(entries, entries + n, count, n_out);
  int64_t segments = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i == 0 || sorted[i].id != sorted[i - 1].id) start[segments++] = i;
  }
  start[segments] = count;

  parallel_for(n_out * dim, 1, threads, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<void*>(out + begin), 0, static_cast<size_t>(end - begin) * sizeof(T));
  });
  const A factor = scale != nullptr ? *scale : A(1);
  constexpr int64_t width = 256;  // columns summed at a time, on the stack
  parallel_for(segments, dim * (1 + count / std::max<int64_t>(segments, 1)), threads, [&](int64_t begin, int64_t end) {
    A sum[width];
    for (int64_t s = begin; s < end; ++s) {
      T* row = out + sorted[start[s]].id * dim;
      for (int64_t c = 0; c < dim; c += width) {
        const int64_t w = std::min(width, dim - c);
        for (int64_t k = 0; k < w; ++k) sum[k] = 0;
        for (int64_t i = start[s]; i < start[s + 1]; ++i) {
          const int64_t p = sorted[i].position;
          const S* term = src + (src_index != nullptr ? src_index[p] : p) * dim + c;
          kernels<S>().axpy(sum, coef != nullptr ? coef[p] : A(1), term, w);
        }
        for (int64_t k = 0; k < w; ++k) store(row[c + k], factor * sum[k]);
      }
    }
  });
}

#define FGR_INSTANTIATE(S, T)                                                                                   \
  template void scatter_rows<S, T>(const int64_t*, const acc_t<T>*, const S*, const int64_t*, int64_t, int64_t, \
                                   int64_t, const acc_t<T>*, T*, int64_t, void*, int);
FGR_INSTANTIATE(float, float)
FGR_INSTANTIATE(double, double)
FGR_INSTANTIATE(bf16, bf16)
FGR_INSTANTIATE(float, bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
