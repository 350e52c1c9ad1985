#include <cmath>
#include <cstring>

#include "cpu/parallel.h"
#include "fgr/build.h"

namespace fgr::cpu {
namespace {

// Until a cell is finished it holds what is left of its edge's share, 1 being the mean.
double share(uint64_t cell) {
  double x;
  std::memcpy(&x, &cell, sizeof x);
  return x;
}
uint64_t unfinished(double x) {
  uint64_t cell;
  std::memcpy(&cell, &x, sizeof cell);
  return cell;
}

// `part` of the cell is its own edge's, the rest leads to `column`.
uint64_t finished(double part, int32_t column) {
  const double threshold = std::min(std::floor(part * 4294967296.0 + 0.5), 4294967295.0);
  return static_cast<uint64_t>(threshold) << 32 | static_cast<uint32_t>(column);
}

// Vose 1991, "A linear algorithm for generating random numbers with a given distribution", without its lists: `scan`
// visits the edges of less than a mean share in order; each is filled up from `large`, the first edge that has more. An
// edge that gave so much that it has less than 1 itself is filled up when `scan` comes to it, or next if that has
// passed.
void alias_row(const float* weight, const int32_t* indices, int64_t degree, uint64_t* cells) {
  double sum = 0;
  for (int64_t e = 0; e < degree; ++e) sum += static_cast<double>(weight[e]);
  const auto first_share = [&](int64_t e) {
    return static_cast<double>(weight[e]) * (static_cast<double>(degree) / sum);
  };
  for (int64_t e = 0; e < degree; ++e) cells[e] = unfinished(first_share(e));
  const auto next_small = [&](int64_t e) {
    while (e < degree && share(cells[e]) >= 1) ++e;
    return e;
  };
  const auto next_large = [&](int64_t e) {  // beyond those that gave: first_share holds, cells may be finished
    while (e < degree && first_share(e) < 1) ++e;
    return e;
  };
  int64_t scan = next_small(0), small = scan, large = next_large(0);
  while (small < degree && large < degree) {
    const double part = share(cells[small]), left = share(cells[large]) - (1 - part);
    cells[small] = finished(part, indices[large]);
    cells[large] = unfinished(left);
    if (left < 1 && large < scan) {
      small = large;
    } else {
      small = scan = next_small(scan + 1);
    }
    if (left < 1) large = next_large(large + 1);
  }
  // What has found no partner is 1 up to rounding: all of the cell is its own edge's.
  const auto fill = [&](int64_t e) { cells[e] = finished(1, indices[e]); };
  if (small < degree) {
    fill(small);
    for (int64_t e = scan + 1; e < degree; ++e) fill(e);
  } else {
    for (int64_t e = large; e < degree; e = next_large(e + 1)) fill(e);
  }
}

}  // namespace

void alias_table(const Csr& in, uint64_t* alias, int threads) {
  parallel_rows(in.indptr, in.n_rows, 16, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t first = in.indptr[r];
      alias_row(in.weight + first, in.indices + first, in.indptr[r + 1] - first, alias + first);
    }
  });
}

}  // namespace fgr::cpu
