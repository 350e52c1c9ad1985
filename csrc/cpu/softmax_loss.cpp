#include "fgr/softmax_loss.h"

#include <cmath>

#include "common/arena.h"
#include "cpu/panels.h"

namespace fgr::cpu {
namespace {

constexpr int64_t chunk = 24;      // rows that a thread takes at a time: their scores stay in an L2 of 512 KiB
constexpr int64_t depth = 256;     // rows of a panel that stay in L1 while a chunk is multiplied with them
constexpr int64_t score_pad = 16;  // keeps a column of the scores off a single cache set where batch is a power of two
constexpr int64_t softmax_row_block = 192;  // rows of the batch whose scores are held at once
static_assert(softmax_row_block % chunk == 0, "a block is made of whole chunks");

// The workspace, as arrays of the accumulator type.
template <class A>
struct Space {
  A *user_unit, *item_unit;          // [batch, dim] rows of norm 1
  A *user_inv_norm, *item_inv_norm;  // [batch]
  A* item_columns;                   // item_unit^T in panels
  A* item_panels;                    // item_unit in panels
  A* user_panels;                    // of one block: user_unit, each row times its factor, in panels
  A* scores;                         // [softmax_row_block, batch + score_pad]
  double* row_loss;                  // [batch]
  int64_t bytes;

  Space(void* workspace, int64_t batch, int64_t dim) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    user_unit = arena.take<A>(batch * dim);
    item_unit = arena.take<A>(batch * dim);
    user_inv_norm = arena.take<A>(batch);
    item_inv_norm = arena.take<A>(batch);
    item_columns = arena.take<A>(panels(batch) * dim * panel);
    item_panels = arena.take<A>(panels(dim) * batch * panel);
    user_panels = arena.take<A>(panels(dim) * softmax_row_block * panel);
    scores = arena.take<A>(softmax_row_block * (batch + score_pad));
    row_loss = arena.take<double>(batch);
    bytes = arena.used;
  }
};

// Row r of a matrix in panels of `rows` rows: out = factor * x.
template <class A>
void to_panels(const A* x, A factor, int64_t dim, int64_t rows, int64_t r, A* out) {
  for (int64_t c = 0; c < dim; ++c) out[(c / panel * rows + r) * panel + c % panel] = factor * x[c];
}

// C [m, dim] (+)= A [m, k] times rows [first, first + k) of a matrix in panels of `rows` rows.
template <class A>
void gemm_panels(int64_t m, int64_t k, const A* a, int64_t a_row, int64_t a_col, const A* b, int64_t rows,
                 int64_t first, int64_t dim, A* c, bool accumulate) {
  for (int64_t q = 0; q < panels(dim); ++q) {
    const int64_t w = std::min(panel, dim - q * panel);
    dense_kernels<A>().gemm(m, w, k, a, a_row, a_col, b + (q * rows + first) * panel, panel, c + q * panel, dim,
                            accumulate);
  }
}

// w log sum_j exp s(b, j) - s(b, b), where the scores are t s.
template <class A>
double row_loss(const SoftmaxOptions<A>& options, double sum, double top, double own) {
  return options.negative_weight * (std::log(sum) + top / options.temperature) - own / options.temperature;
}

// unit[b, :] = emb[ids[b], :] / max(|emb[ids[b], :]|, 1e-12)
template <class T>
void unit_rows(const T* emb, const int64_t* ids, int64_t batch, int64_t dim, acc_t<T>* unit, acc_t<T>* inv_norm,
               int threads) {
  parallel_for(batch, 2 * dim, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* e = emb + ids[b] * dim;
      inv_norm[b] = inverse_norm(e, dim);
      for (int64_t c = 0; c < dim; ++c) unit[b * dim + c] = inv_norm[b] * load(e[c]);
    }
  });
}

// What both sides of the batch are made of.
template <class T>
struct Softmax {
  using A = acc_t<T>;
  const int64_t dim, batch;
  const SoftmaxOptions<A>& options;
  const Space<A> s;
  const int threads;
  const A inv_t = static_cast<A>(1 / options.temperature), weight = static_cast<A>(options.negative_weight);
  const A grad_scale = batch > 0 ? inv_t / static_cast<A>(batch) : A(0);

  void prepare(const T* user_emb, const T* item_emb, const int64_t* users, const int64_t* pos) const {
    unit_rows(user_emb, users, batch, dim, s.user_unit, s.user_inv_norm, threads);
    unit_rows(item_emb, pos, batch, dim, s.item_unit, s.item_inv_norm, threads);
    pack_panels<A>(
        batch, dim, [&](int64_t b) { return ScaledRow<A>{s.item_unit + b * dim, A(1)}; }, s.item_columns, threads);
    parallel_for(batch, dim, threads, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) to_panels(s.item_unit + b * dim, A(1), dim, batch, b, s.item_panels);
    });
  }

  // With e(b, j) = exp(s(b, j) - max) and f(b) = w / (t B sum_j e(b, j)):
  // dL/d user(b) = f(b) sum_j e(b, j) item(j) - item(b) / (t B), and the same for the items with the roles exchanged.

  // The users in rows [first, first + m) of the batch, m <= chunk: e into scores [m, ld], f into factor, the gradient
  // of the unit rows into grad [m, dim].
  void of_users(int64_t first, int64_t m, A* scores, int64_t ld, A* factor, double* loss, A* grad) const {
    const A *user = s.user_unit + first * dim, *item = s.item_unit + first * dim;
    for (int64_t r = 0; options.bias != nullptr && r < m; ++r) {  // times t, as exp_row divides by it
      for (int64_t j = 0; j < batch; ++j) scores[r * ld + j] = static_cast<A>(options.temperature) * options.bias[j];
    }
    for (int64_t q = 0; q < panels(batch); ++q) {
      const int64_t w = std::min(panel, batch - q * panel);
      dense_kernels<A>().gemm(m, w, dim, user, dim, 1, s.item_columns + q * dim * panel, panel, scores + q * panel, ld,
                              options.bias != nullptr);
    }
    for (int64_t r = 0; r < m; ++r) {
      A* row = scores + r * ld;
      const A own = row[first + r];
      A top;
      const A sum = dense_kernels<A>().exp_row(row, batch, inv_t, &top);
      loss[r] = row_loss(options, sum, top, own);
      factor[r] = weight * grad_scale / sum;
    }
    for (int64_t k = 0; k < batch; k += depth) {
      gemm_panels(m, std::min(depth, batch - k), scores + k, ld, 1, s.item_panels, batch, k, dim, grad, k > 0);
    }
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < dim; ++c) {
        grad[r * dim + c] = factor[r] * grad[r * dim + c] - grad_scale * item[r * dim + c];
      }
    }
  }

  // What the positives alone give the items in rows [first, last).
  void begin_items(int64_t first, int64_t last, A* grad) const {
    parallel_for((last - first) * dim, 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) grad[i] = -grad_scale * s.user_unit[first * dim + i];
    });
  }

  // Adds to the gradient of n items what the users in a block of rows from `first` on give them. Element (b, j) of
  // their scores at scores[b * ld + j]. Blocks come in the order of the batch.
  void of_items(int64_t n, int64_t first, int64_t rows, const A* scores, int64_t ld, const A* factor, A* grad) const {
    parallel_for(rows, dim, threads, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        to_panels(s.user_unit + (first + r) * dim, factor[r], dim, softmax_row_block, r, s.user_panels);
      }
    });
    parallel_for((n + 2 * chunk - 1) / (2 * chunk), 2 * chunk * rows * dim, threads,
                 [&](int64_t first_chunk, int64_t last_chunk) {
                   const int64_t begin = 2 * chunk * first_chunk, end = std::min(n, 2 * chunk * last_chunk);
                   gemm_panels(end - begin, rows, scores + begin, 1, ld, s.user_panels, softmax_row_block, 0, dim,
                               grad + begin * dim, true);
                 });
  }

  A mean(const double* loss) const {
    double total = 0;
    for (int64_t b = 0; b < batch; ++b) total += loss[b];
    return static_cast<A>(batch > 0 ? total / static_cast<double>(batch) : 0.0);
  }
};

// In place, through the normalisation: d e = (d unit - <d unit, unit> unit) / norm.
template <class A>
void project(A* grad, const A* unit, const A* inv_norm, int64_t batch, int64_t dim, int threads) {
  parallel_for(batch, 2 * dim, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      A* g = grad + b * dim;
      const A* u = unit + b * dim;
      const A along = kernels<A>().dot(g, u, dim);
      for (int64_t c = 0; c < dim; ++c) g[c] = inv_norm[b] * (g[c] - along * u[c]);
    }
  });
}

}  // namespace

int64_t softmax_loss_workspace_bytes(int64_t batch, int64_t dim, int64_t accumulator_size) {
  return accumulator_size == sizeof(float) ? Space<float>(nullptr, batch, dim).bytes
                                           : Space<double>(nullptr, batch, dim).bytes;
}

template <class T>
void softmax_loss(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                  const int64_t* users, const int64_t* pos, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                  acc_t<T>* loss, acc_t<T>* user_rows, acc_t<T>* item_rows, void* workspace, int threads) {
  using A = acc_t<T>;
  check_ids("users", users, batch, 0, n_users);
  check_ids("pos", pos, batch, 0, n_items);
  const Space<A> s(workspace, batch, dim);
  const Softmax<T> job{dim, batch, options, s, threads};
  job.prepare(user_emb, item_emb, users, pos);
  job.begin_items(0, batch, item_rows);
  const int64_t ld = batch + score_pad;
  A factor[softmax_row_block];
  for (int64_t first = 0; first < batch; first += softmax_row_block) {
    const int64_t rows = std::min(softmax_row_block, batch - first);
    parallel_for((rows + chunk - 1) / chunk, 2 * chunk * batch * dim, threads, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * chunk; at < std::min(rows, end * chunk); at += chunk) {
        job.of_users(first + at, std::min(chunk, rows - at), s.scores + at * ld, ld, factor + at,
                     s.row_loss + first + at, user_rows + (first + at) * dim);
      }
    });
    job.of_items(batch, first, rows, s.scores, ld, factor, item_rows);
  }
  project(user_rows, s.user_unit, s.user_inv_norm, batch, dim, threads);
  project(item_rows, s.item_unit, s.item_inv_norm, batch, dim, threads);
  *loss = job.mean(s.row_loss);
}

template <class T>
void softmax_users(const T* user_emb, const T* item_emb, int64_t dim, const int64_t* users, const int64_t* pos,
                   int64_t batch, const SoftmaxOptions<acc_t<T>>& options, const SoftmaxShare<acc_t<T>>& share,
                   void* workspace, int threads) {
  const Softmax<T> job{dim, batch, options, Space<acc_t<T>>(workspace, batch, dim), threads};
  job.prepare(user_emb, item_emb, users, pos);
  const int64_t rows = share.last - share.first;
  parallel_for((rows + chunk - 1) / chunk, 2 * chunk * batch * dim, threads, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * chunk; at < std::min(rows, end * chunk); at += chunk) {
      job.of_users(share.first + at, std::min(chunk, rows - at), share.scores + at * share.ld, share.ld,
                   share.factor + at, share.row_loss + at, share.grad + at * dim);
    }
  });
  project(share.grad, job.s.user_unit + share.first * dim, job.s.user_inv_norm + share.first, rows, dim, threads);
}

template <class T>
void softmax_items(int64_t dim, int64_t batch, const SoftmaxOptions<acc_t<T>>& options,
                   const SoftmaxShare<acc_t<T>>& share, acc_t<T>* loss, void* workspace, int threads) {
  const Softmax<T> job{dim, batch, options, Space<acc_t<T>>(workspace, batch, dim), threads};
  const int64_t n = share.last - share.first;
  job.begin_items(share.first, share.last, share.grad);
  for (int64_t first = 0; first < batch; first += softmax_row_block) {
    job.of_items(n, first, std::min(softmax_row_block, batch - first), share.scores + first * share.ld, share.ld,
                 share.factor + first, share.grad);
  }
  project(share.grad, job.s.item_unit + share.first * dim, job.s.item_inv_norm + share.first, n, dim, threads);
  *loss = job.mean(share.row_loss);
}

#define FGR_INSTANTIATE(T)                                                                                         \
  template void softmax_loss<T>(const T*, int64_t, const T*, int64_t, int64_t, const int64_t*, const int64_t*,     \
                                int64_t, const SoftmaxOptions<acc_t<T>>&, acc_t<T>*, acc_t<T>*, acc_t<T>*, void*,  \
                                int);                                                                              \
  template void softmax_users<T>(const T*, const T*, int64_t, const int64_t*, const int64_t*, int64_t,             \
                                 const SoftmaxOptions<acc_t<T>>&, const SoftmaxShare<acc_t<T>>&, void*, int);      \
  template void softmax_items<T>(int64_t, int64_t, const SoftmaxOptions<acc_t<T>>&, const SoftmaxShare<acc_t<T>>&, \
                                 acc_t<T>*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
