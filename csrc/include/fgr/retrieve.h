// The k best items of each query by inner product or cosine, what the query excludes left out. Scores are judged where
// they are made: the matrix [n_queries, n_items] never exists.
#pragma once

#include "fgr/types.h"

namespace fgr {

//   score(q, i) = <query q, item i>, or for `cosine` that of the two rows each divided by max(its norm, 1e-12)
template <class T>
struct Retrieval {
  const T* queries;  // [n_queries, dim]
  const T* items;    // [n_items, dim], n_items < 2^31
  int64_t n_queries, n_items, dim;
  bool cosine;
  const int64_t* subset;  // [n_candidates], ascending: the items that are ranked; null: all, n_candidates = n_items
  int64_t n_candidates;
  Csr exclude;          // columns are items, ascending within a row, repeated ones allowed; indptr null: nothing
  const int64_t* rows;  // [n_queries]: the row of `exclude` that holds for a query; null: row q for query q
  int64_t k;            // >= 1, may exceed n_candidates
  // How much is worked on at a time; the workspace grows with both, the result does not depend on them.
  int64_t queries_at_once, items_at_once;  // both >= 1
};

// ids [n_queries, k] int64, scores [n_queries, k]: in the order of common/rank_key.h (score, then tie_key(id)); padded
// with -1 and -inf. A score depends on its two vectors alone, so neither batches nor threads change a bit; a GPU may
// round it differently. A score that is NaN leaves no ranking: the CPU throws std::invalid_argument naming the first
// such query and its first such item; CUDA, which cannot throw, gives each such query ids of -1 and scores of NaN, and
// the workspace begins with that query * n_items + item as int64, -1 where no score is NaN. Ids in `rows` and `subset`:
// std::out_of_range; CUDA fails an assertion.
namespace cpu {
template <class T>
int64_t retrieve_workspace_bytes(const Retrieval<T>& job);
template <class T>
void retrieve(const Retrieval<T>& job, int64_t* ids, T* scores, void* workspace, int threads);
}  // namespace cpu
namespace cuda {
template <class T>
int64_t retrieve_workspace_bytes(const Retrieval<T>& job);
template <class T>
void retrieve(const Retrieval<T>& job, int64_t* ids, T* scores, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
