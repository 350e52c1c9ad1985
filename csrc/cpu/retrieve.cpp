#include "fgr/retrieve.h"

#include <atomic>
#include <limits>

#include "common/arena.h"
#include "common/rank_key.h"
#include "cpu/panels.h"

namespace fgr::cpu {
namespace {

constexpr int64_t row_block = 48;         // queries whose vectors stay in L1 while panels pass by
constexpr int64_t tile_bytes = 96 << 10;  // of their scores: with the panels of a tile in an L2 of 512 KiB
constexpr int64_t tile_pad = 16;          // keeps a column of the scores off a single cache set
constexpr int64_t first_stretch = 64;     // of a row's scores looked at together while it has no bound yet
constexpr int64_t spare = 32;             // places that a buffer has at least beyond k
constexpr int64_t few_chunks = 32;        // into which the panels are cut where queries are few, at most
constexpr int64_t none = std::numeric_limits<int64_t>::max();

template <class T>
constexpr int64_t tile = tile_bytes / (row_block * static_cast<int64_t>(sizeof(T)));

// The best candidates of a query so far: `size` words in a buffer, cut back to the k best whenever it is full.
template <class T>
struct Query {
  rank_word_t<T>
      last;  // the k-th best when the buffer was last cut, behind all others before: only what precedes it counts
  T bound;   // its score; NaN before
  int64_t size;
  const int32_t* excluded;  // the next that may come, and the end
  const int32_t* excluded_end;
};

// Whether queries are too few to be shared out among threads, so that items are.
template <class T>
bool is_few(const Retrieval<T>& job) {
  return job.queries_at_once <= row_block;
}

template <class T>
struct Space {
  Query<T>* queries;      // [queries_at_once]
  rank_word_t<T>* words;  // [queries_at_once, capacity]
  T* unit;                // [queries_at_once, dim] if cosine
  T* packed;              // items_at_once items in panels; for few queries one panel a chunk
  T* few;                 // [queries_at_once, few_ld] of all scores, if queries_at_once <= row_block
  int64_t few_ld;
  int64_t n_best;  // min(k, n_candidates)
  int64_t capacity;
  int64_t bytes;

  Space(void* workspace, const Retrieval<T>& job) {
    n_best = std::min(job.k, job.n_candidates);
    capacity = std::min(n_best + std::max(n_best, spare), job.n_candidates);
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    queries = arena.take<Query<T>>(job.queries_at_once);
    words = arena.take<rank_word_t<T>>(job.queries_at_once * capacity);
    unit = arena.take<T>(job.cosine ? job.queries_at_once * job.dim : 0);
    const int64_t n_panels = panels(job.items_at_once);
    packed = arena.take<T>((is_few(job) ? std::min(n_panels, few_chunks) : n_panels) * panel * job.dim);
    few_ld = n_panels * panel + tile_pad;
    few = arena.take<T>(is_few(job) ? job.queries_at_once * few_ld : 0);
    bytes = arena.used;
  }
};

template <class T>
void keep_best(Query<T>& query, rank_word_t<T>* words, int64_t n_best) {
  std::nth_element(words, words + n_best - 1, words + query.size);
  query.size = n_best;
  query.last = words[n_best - 1];
  query.bound = score_of_word<T>(query.last);
}

template <class T>
class Retriever {
 public:
  Retriever(const Retrieval<T>& job, void* workspace, int threads) : job_(job), s_(workspace, job), threads_(threads) {}

  void run(int64_t* ids, T* scores) {
    for (int64_t q = 0; q < job_.n_queries; q += job_.queries_at_once) {
      const int64_t n = std::min(job_.queries_at_once, job_.n_queries - q);
      begin(q, n);
      for (int64_t first = 0; first < job_.n_candidates; first += job_.items_at_once) {
        const int64_t n_packed = std::min(job_.items_at_once, job_.n_candidates - first);
        if (is_few(job_)) {
          score_few(q, n, first, n_packed);
          continue;
        }
        if (q == 0 || n_packed < job_.n_candidates)
          pack_panels<T>(n_packed, job_.dim, rows_from(first), s_.packed, threads_);
        score(q, n, first, n_packed);
      }
      finish(n, ids + q * job_.k, scores + q * job_.k);
    }
    const int64_t at = first_nan_;
    if (at != none) {
      throw std::invalid_argument("the score of query " + std::to_string(at / job_.n_items) + " and item " +
                                  std::to_string(at % job_.n_items) + " is NaN");
    }
  }

 private:
  int64_t item_at(int64_t position) const { return job_.subset != nullptr ? job_.subset[position] : position; }

  void begin(int64_t q, int64_t n) {
    parallel_for(n, job_.cosine ? 2 * job_.dim : 8, threads_, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        const int64_t* indptr = job_.exclude.indptr;
        const int64_t row = job_.rows != nullptr ? job_.rows[q + r] : q + r;
        const int64_t edges[2] = {indptr != nullptr ? indptr[row] : 0, indptr != nullptr ? indptr[row + 1] : 0};
        s_.queries[r] = {no_word<T>(), std::numeric_limits<T>::quiet_NaN(), 0, job_.exclude.indices + edges[0],
                         job_.exclude.indices + edges[1]};
        if (!job_.cosine) continue;
        const T* x = job_.queries + (q + r) * job_.dim;
        const T factor = inverse_norm(x, job_.dim);
        for (int64_t c = 0; c < job_.dim; ++c) s_.unit[r * job_.dim + c] = factor * x[c];
      }
    });
  }

  auto rows_from(int64_t first) const {
    return [this, first](int64_t j) {
      const T* x = job_.items + item_at(first + j) * job_.dim;
      return ScaledRow<T>{x, job_.cosine ? inverse_norm(x, job_.dim) : T(1)};
    };
  }

  // Of n items from position `first` on, asks for what a panel is packed from: it is read in blocks across rows, which
  // processors do not foresee.
  void fetch(int64_t first, int64_t n) const {
    for (int64_t j = first; j < first + n; ++j) {
      const char* x = reinterpret_cast<const char*>(job_.items + item_at(j) * job_.dim);
      for (int64_t at = 0; at < job_.dim * static_cast<int64_t>(sizeof(T)); at += 64) __builtin_prefetch(x + at);
    }
  }

  const T* vectors(int64_t q) const { return job_.cosine ? s_.unit : job_.queries + q * job_.dim; }

  // A panel is packed, multiplied and forgotten while it is in a core's nearest cache.
  void score_few(int64_t q, int64_t n, int64_t first, int64_t n_packed) {
    constexpr int64_t ahead = 1;     // panels
    constexpr int64_t stretch = 64;  // panels after which an interrupt is looked for
    const int64_t share = (panels(n_packed) + few_chunks - 1) / few_chunks,
                  chunks = (panels(n_packed) + share - 1) / share;
    const auto run_chunk = [&](int64_t chunk) {
      T* packed = s_.packed + chunk * job_.dim * panel;
      for (int64_t p = chunk * share; p < std::min(panels(n_packed), (chunk + 1) * share); ++p) {
        if (p % stretch == stretch - 1 && interrupted()) return;
        fetch(first + (p + ahead) * panel, std::min(panel, n_packed - (p + ahead) * panel));
        T* scores = s_.few + p * panel;
        if (n <= row_dots_queries) {
          const PanelRows<T> rows(p, n_packed, rows_from(first));
          dense_kernels<T>().row_dots(rows.rows, rows.factors, panel, job_.dim, vectors(q), n, scores, s_.few_ld);
        } else {
          pack_panels<T>(std::min(panel, n_packed - p * panel), job_.dim, rows_from(first + p * panel), packed, 1);
          dense_kernels<T>().gemm(n, panel, job_.dim, vectors(q), job_.dim, 1, packed, panel, scores, s_.few_ld, false);
        }
      }
    };
    parallel_for(chunks, share * panel * job_.dim * (n + 1), threads_, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) run_chunk(chunk);
    });
    parallel_for(n, n_packed, threads_, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t j = 0; j < n_packed; j += tile<T>) {
          judge(q, r, s_.few + r * s_.few_ld + j, first + j, std::min(tile<T>, n_packed - j));
        }
      }
    });
  }

  // Queries [q, q + n) and the packed candidates [first, first + n_packed).
  void score(int64_t q, int64_t n, int64_t first, int64_t n_packed) {
    const int64_t share = (n + threads_ - 1) / std::max(threads_, 1);
    const int64_t rows = std::min(row_block, (share + 5) / 6 * 6);  // of a product come in sixes
    parallel_for((n + rows - 1) / rows, rows * n_packed * job_.dim, threads_,
                 [&](int64_t first_block, int64_t last_block) {
                   alignas(64) T scores[row_block * (tile<T> + tile_pad)];
                   constexpr int64_t ld = tile<T> + tile_pad;
                   for (int64_t at = first_block * rows; at < std::min(n, last_block * rows); at += rows) {
                     const int64_t m = std::min(rows, n - at);
                     for (int64_t j = 0; j < n_packed; j += tile<T>) {
                       if (interrupted()) return;
                       const int64_t width = std::min(tile<T>, n_packed - j);
                       for (int64_t p = 0; p < panels(width); ++p) {
                         dense_kernels<T>().gemm(m, panel, job_.dim, vectors(q) + at * job_.dim, job_.dim, 1,
                                                 s_.packed + (j / panel + p) * job_.dim * panel, panel,
                                                 scores + p * panel, ld, false);
                       }
                       for (int64_t r = 0; r < m; ++r) judge(q, at + r, scores + r * ld, first + j, width);
                     }
                   }
                 });
  }

  // The scores [n] of query q + r and the candidates from position `first` on.
  void judge(int64_t q, int64_t r, const T* scores, int64_t first, int64_t n) {
    Query<T>& query = s_.queries[r];
    rank_word_t<T>* words = s_.words + r * s_.capacity;
    int32_t above[tile<T>];
    for (int64_t at = 0, stretch; at < n; at += stretch) {
      stretch = query.bound == query.bound ? n - at : std::min(n - at, first_stretch);
      const int64_t n_above = dense_kernels<T>().not_below(scores + at, stretch, query.bound, above);
      for (int64_t a = 0; a < n_above; ++a) {
        const int64_t j = at + above[a];
        const int64_t item = item_at(first + j);
        if (scores[j] != scores[j]) {
          note_nan((q + r) * job_.n_items + item);
          continue;
        }
        const rank_word_t<T> word = rank_word(scores[j], item);
        if (word > query.last) continue;  // which may have moved up since
        while (query.excluded != query.excluded_end && *query.excluded < item) ++query.excluded;
        if (query.excluded != query.excluded_end && *query.excluded == item) continue;
        words[query.size++] = word;
        if (query.size == s_.capacity) keep_best(query, words, s_.n_best);
      }
    }
  }

  void finish(int64_t n, int64_t* ids, T* scores) {
    parallel_for(n, 8 * s_.capacity, threads_, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        Query<T>& query = s_.queries[r];
        rank_word_t<T>* words = s_.words + r * s_.capacity;
        if (query.size > s_.n_best) keep_best(query, words, s_.n_best);
        std::sort(words, words + query.size);
        for (int64_t j = 0; j < job_.k; ++j) {
          const bool found = j < query.size;
          ids[r * job_.k + j] = found ? id_of_word<T>(words[j]) : -1;
          scores[r * job_.k + j] = found ? score_of_word<T>(words[j]) : -std::numeric_limits<T>::infinity();
        }
      }
    });
  }

  void note_nan(int64_t at) {
    int64_t seen = first_nan_;
    while (at < seen && !first_nan_.compare_exchange_weak(seen, at)) {
    }
  }

  const Retrieval<T>& job_;
  const Space<T> s_;
  const int threads_;
  std::atomic<int64_t> first_nan_{none};
};

}  // namespace

template <class T>
int64_t retrieve_workspace_bytes(const Retrieval<T>& job) {
  return Space<T>(nullptr, job).bytes;
}

template <class T>
void retrieve(const Retrieval<T>& job, int64_t* ids, T* scores, void* workspace, int threads) {
  if (job.rows != nullptr) check_ids("exclude_rows", job.rows, job.n_queries, 0, job.exclude.n_rows);
  if (job.subset != nullptr) check_ids("items_subset", job.subset, job.n_candidates, 0, job.n_items);
  Retriever<T>(job, workspace, threads).run(ids, scores);
}

#define FGR_INSTANTIATE(T)                                           \
  template int64_t retrieve_workspace_bytes<T>(const Retrieval<T>&); \
  template void retrieve<T>(const Retrieval<T>&, int64_t*, T*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
