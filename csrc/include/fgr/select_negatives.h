// Negatives picked from a row's candidates by what the embeddings say of them; the laws stand in common/selection.h.
//   hardest:           the n highest <user_emb[u], item_emb[c]>                       (Zhang et al. 2013)
//   semi_hard:         d(u, pos) < d(u, c) < d(u, pos) + margin                        (Schroff et al. 2015)
//   distance_weighted: probability ~ 1 / q(d(u, c)), d clipped to [lo, hi]             (Wu et al. 2017)
// d(u, i) = |user_emb[u] / |user_emb[u]| - item_emb[i] / |item_emb[i]||.
#pragma once

#include "common/selection.h"
#include "fgr/types.h"

namespace fgr {

enum class Selection : int { hardest = 0, semi_hard = 1, distance_weighted = 2 };

struct SelectOptions {
  Selection law;
  double margin;  // semi_hard
  double lo, hi;  // distance_weighted, 0 < lo <= hi < 2
};

// One batch. users, pos [batch]: rows of the tables; candidates [batch, m], -1 = none: what is picked, and breaks ties.
// rows [batch, m]: where item_emb has them, -1 = none; null where that is the candidates' own numbers.
struct CandidateBatch {
  const int64_t* users;
  const int64_t* pos;
  const int64_t* candidates;
  int64_t batch, m;
  const int64_t* rows = nullptr;

  FGR_HOST_DEVICE const int64_t* rows_of_items() const { return rows != nullptr ? rows : candidates; }
};

// out [batch, n], -1 where the candidates give no more. Workspace: one double per candidate. Equal embeddings give the
// same picks for any number of threads; a GPU adds products in another order, so that near ties may go the other way.
// The CPU throws std::out_of_range for an id out of range before anything is written; CUDA fails an assertion.
inline int64_t select_negatives_workspace_bytes(int64_t batch, int64_t m) {
  return batch * m * static_cast<int64_t>(sizeof(double));
}

namespace cpu {
template <class T>
void select_negatives(const SelectOptions& options, const T* user_emb, int64_t n_users, const T* item_emb,
                      int64_t n_items, int64_t dim, const CandidateBatch& batch, const Draws& draws, int64_t n,
                      int64_t* out, void* workspace, int threads);
}
namespace cuda {
template <class T>
void select_negatives(const SelectOptions& options, const T* user_emb, int64_t n_users, const T* item_emb,
                      int64_t n_items, int64_t dim, const CandidateBatch& batch, const Draws& draws, int64_t n,
                      int64_t* out, void* workspace, void* stream);
}

// Row b's picks from its values: scores for `hardest`, distances else; d_pos = d(u, pos).
FGR_HOST_DEVICE void pick(const SelectOptions& options, const CandidateBatch& batch, double* value, double d_pos,
                          int64_t dim, const Draws& draws, int64_t b, int64_t n, int64_t* out) {
  const int64_t* item = batch.candidates + b * batch.m;
  switch (options.law) {
    case Selection::hardest:
      return pick_hardest(item, value, batch.m, n, out);
    case Selection::semi_hard:
      return pick_semi_hard(item, value, batch.m, n, d_pos, options.margin, out);
    case Selection::distance_weighted:
      return pick_by_distance(item, value, batch.m, n, dim, options.lo, options.hi, draws, b, out);
  }
}

}  // namespace fgr
