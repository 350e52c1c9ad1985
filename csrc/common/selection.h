// The laws by which negatives are picked from a row's candidates: pure functions that both backends run.
//   item [m]: the candidates, -1 = none; out [n], padded with -1. A candidate whose value is NaN is never picked.
#pragma once

#include <cmath>

#include "common/sampling.h"
#include "common/tie.h"

namespace fgr {

// The distance of two vectors scaled to length 1, from their products; a norm is taken as max(norm, 1e-12).
FGR_HOST_DEVICE double unit_distance(double dot, double square_a, double square_b) {
  const double norms = fmax(sqrt(square_a), 1e-12) * fmax(sqrt(square_b), 1e-12);
  const double square = 2.0 - 2.0 * dot / norms;
  return sqrt(square < 0 ? 0.0 : square);  // NaN stays NaN
}

// The n distinct items of the highest score, highest first; ties by tie_key(item) ascending.
FGR_HOST_DEVICE void pick_hardest(const int64_t* item, const double* score, int64_t m, int64_t n, int64_t* out) {
  const auto is_before = [](int64_t a, int64_t b) {
    return tie_key(static_cast<uint32_t>(a)) < tie_key(static_cast<uint32_t>(b));
  };
  double last_score = 0, best_score = 0;
  int64_t last = -1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t best = -1;
    for (int64_t j = 0; j < m; ++j) {
      const double s = score[j];
      if (item[j] < 0 || s != s) continue;
      const bool left = last < 0 ? k == 0 : s < last_score || (s == last_score && is_before(last, item[j]));
      if (left && (best < 0 || s > best_score || (s == best_score && is_before(item[j], best)))) {
        best = item[j];
        best_score = s;
      }
    }
    out[k] = last = best;
    last_score = best_score;
  }
}

// The first n distinct items, in the order drawn, with d_pos < distance < d_pos + margin.
FGR_HOST_DEVICE void pick_semi_hard(const int64_t* item, const double* distance, int64_t m, int64_t n, double d_pos,
                                    double margin, int64_t* out) {
  int64_t found = 0;
  for (int64_t j = 0; j < m && found < n; ++j) {
    if (item[j] < 0 || !(d_pos < distance[j] && distance[j] < d_pos + margin)) continue;
    bool again = false;
    for (int64_t k = 0; k < found; ++k) again = again || out[k] == item[j];
    if (!again) out[found++] = item[j];
  }
  while (found < n) out[found++] = -1;
}

// n independent draws with probability ~ 1 / q(d), q(d) = d^(dim - 2) (1 - d^2 / 4)^((dim - 3) / 2), d clipped to [lo,
// hi]: the density of distances on the unit sphere of `dim` dimensions, undone (Wu et al. 2017, eq. 3). Logarithms,
// because q spans hundreds of orders of magnitude. distance is overwritten. The k-th takes draw `m + k` of row b.
FGR_HOST_DEVICE void pick_by_distance(const int64_t* item, double* distance, int64_t m, int64_t n, int64_t dim,
                                      double lo, double hi, const Draws& draws, int64_t b, int64_t* out) {
  const double a = static_cast<double>(dim) - 2.0, c = 0.5 * (static_cast<double>(dim) - 3.0);
  double most = 0, total = 0;
  bool any = false;
  for (int64_t j = 0; j < m; ++j) {
    double& w = distance[j];
    if (item[j] < 0 || w != w) continue;
    const double d = fmin(fmax(w, lo), hi);
    w = -a * log(d) - c * log1p(-0.25 * d * d);
    most = !any || w > most ? w : most;
    any = true;
  }
  for (int64_t j = 0; j < m; ++j) {
    distance[j] = item[j] < 0 || distance[j] != distance[j] ? 0.0 : exp(distance[j] - most);
    total += distance[j];
  }
  for (int64_t k = 0; k < n; ++k) {
    const uint64_t bits = draws.bits(b, static_cast<uint32_t>(m + k));
    double left = static_cast<double>(bits >> 11) * 0x1p-53 * total;
    int64_t picked = -1;
    for (int64_t j = 0; j < m; ++j) {
      if (distance[j] <= 0) continue;
      picked = item[j];  // the last one, if rounding runs past the end
      if (left < distance[j]) break;
      left -= distance[j];
    }
    out[k] = picked;
  }
}

}  // namespace fgr
