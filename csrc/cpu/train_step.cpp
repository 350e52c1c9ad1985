#include "fgr/train_step.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "common/arena.h"
#include "common/bf16.h"
#include "cpu/hops.h"
#include "fgr/scatter_rows.h"
#include "fgr/softmax_loss.h"

namespace fgr::cpu {
namespace {

// What one step needs. Compact arrays hold one row per distinct node of the batch, in ascending order of nodes.
template <class T>
struct Space {
  using A = acc_t<T>;
  T* layer;        // [n_nodes, dim], from two hops on
  int32_t* slot;   // [n_nodes] compact row of a node, or -1
  int32_t* rows;   // [most] the node of a compact row, counted within its half
  T* z;            // [most, dim] the compact rows of the model's output
  T* scaled_seed;  // [most, dim] T(left * dL/dz): what the first hop backwards gathers
  A* seed;         // [most, dim] dL/dz
  A* direct;       // [most, dim] the part of dL/dE that takes no hop: alphas[0] * seed + the ridge penalty's
  int64_t *users, *pos, *neg;  // the batch, as compact rows
  A *user_rows, *item_rows;    // [batch, dim] what the losses give; item_rows: softmax only
  A *pos_coef, *neg_coef;      // [batch], [batch, n_neg]
  A* bias;                     // [batch] of the positives: softmax only
  A* neg_rows;                 // [n_neg, dim], shared negatives only
  int32_t *order, *first;      // [batch positions], [most + 1]: the positions of a compact row, ascending
  double* ridge;               // [most]
  char* loss_space;

  int64_t bytes;

  Space(void* workspace, int64_t n_nodes, int64_t dim, int64_t n_alphas, int64_t batch, int64_t n_neg, bool shared) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    const int64_t negatives = (shared ? 1 : batch) * n_neg, positions = 2 * batch + negatives;
    check_positions(positions, n_nodes);
    const int64_t most = std::min(positions, n_nodes), hops = n_alphas - 1;
    layer = arena.take<T>(hops >= 2 ? n_nodes * dim : 0);
    slot = arena.take<int32_t>(n_nodes);
    rows = arena.take<int32_t>(most);
    z = arena.take<T>(most * dim);
    scaled_seed = arena.take<T>(most * dim);
    seed = arena.take<A>(most * dim);
    direct = arena.take<A>(most * dim);
    users = arena.take<int64_t>(batch);
    pos = arena.take<int64_t>(batch);
    neg = arena.take<int64_t>(negatives);
    user_rows = arena.take<A>(batch * dim);
    item_rows = arena.take<A>(n_neg == 0 ? batch * dim : 0);
    pos_coef = arena.take<A>(batch);
    neg_coef = arena.take<A>(batch * n_neg);
    bias = arena.take<A>(n_neg == 0 ? batch : 0);
    neg_rows = arena.take<A>(shared ? n_neg * dim : 0);
    order = arena.take<int32_t>(positions);
    first = arena.take<int32_t>(most + 1);
    ridge = arena.take<double>(most);
    const int64_t softmax = n_neg == 0 ? softmax_loss_workspace_bytes(batch, dim, sizeof(A)) : 0;
    loss_space = arena.take<char>(std::max(softmax, pair_loss_workspace_bytes(batch)));
    bytes = arena.used;
  }
};

using Clock = std::chrono::steady_clock;

// Adds the time since the last call to *where.
struct Stopwatch {
  Clock::time_point last = Clock::now();
  void lap(double* where) {
    const Clock::time_point now = Clock::now();
    *where += std::chrono::duration<double>(now - last).count();
    last = now;
  }
};

template <class T>
struct Step {
  using A = acc_t<T>;
  const Bipartite& graph;
  const StepModel<T>& model;
  const PairBatch& batch;
  const StepOptions& options;
  const Space<T> s;
  const int threads;
  int64_t n_user_rows = 0, n_rows = 0;  // compact rows: those of users come first

  int64_t n_users() const { return graph.users.n_rows; }
  int64_t hops() const { return model.n_alphas - 1; }
  int64_t n_negatives() const { return batch.n_neg_rows() * batch.n_neg; }
  int64_t node(int64_t row) const { return s.rows[row] + (row < n_user_rows ? 0 : n_users()); }

  void number_rows() {
    const int64_t n_nodes = graph.n_nodes();
    std::memset(s.slot, -1, static_cast<size_t>(n_nodes) * sizeof(int32_t));
    int32_t* item_slot = s.slot + n_users();
    for (int64_t b = 0; b < batch.batch; ++b) s.slot[batch.users[b]] = item_slot[batch.pos[b]] = 0;
    for (int64_t j = 0; j < n_negatives(); ++j) {
      if (batch.neg[j] >= 0) item_slot[batch.neg[j]] = 0;
    }
    const auto number = [&](int32_t* slot, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        if (slot[i] < 0) continue;
        slot[i] = static_cast<int32_t>(n_rows);
        s.rows[n_rows++] = static_cast<int32_t>(i);
      }
    };
    number(s.slot, n_users());
    n_user_rows = n_rows;
    number(item_slot, graph.items.n_rows);
    for (int64_t b = 0; b < batch.batch; ++b) {
      s.users[b] = s.slot[batch.users[b]];
      s.pos[b] = item_slot[batch.pos[b]];
      if (options.loss == StepLoss::softmax && model.item_bias != nullptr) s.bias[b] = model.item_bias[batch.pos[b]];
    }
    for (int64_t j = 0; j < n_negatives(); ++j) s.neg[j] = batch.neg[j] < 0 ? -1 : item_slot[batch.neg[j]];
  }

  // z at the batch's nodes.
  void forward() const {
    const int64_t dim = model.dim;
    if (hops() == 0) {
      parallel_for(n_rows, dim, threads, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const A* e = model.emb + node(r) * dim;
          for (int64_t c = 0; c < dim; ++c) store(s.z[r * dim + c], model.alphas[0] * e[c]);
        }
      });
      return;
    }
    for (const Side end : {Side::users, Side::items}) {
      Hop<T, A> hop;
      hop.dim = dim;
      hop.left = model.left;
      hop.base = model.emb;
      if constexpr (std::is_same_v<T, A>) {
        hop.x = model.emb;
        hop.col_scale = model.right;
      }
      if (model.shadow != nullptr) {
        hop.x = model.shadow;
        hop.col_scale = nullptr;
      }
      inner_hops(graph, hop, model.alphas, hops(), model.right, s.layer, end, kernels<T>().step_hop, threads);
      hop.beta = model.alphas[0];
      Hop<T, A> half = half_of(graph, hop, end);
      const int64_t from = end == Side::users ? 0 : n_user_rows, to = end == Side::users ? n_user_rows : n_rows;
      half.rows = s.rows + from;
      half.y = s.z + from * dim;
      const Csr& csr = csr_of(graph, end);
      const int64_t degree = csr.indptr[csr.n_rows] / std::max<int64_t>(csr.n_rows, 1);
      parallel_for(to - from, dim * (1 + degree), threads,
                   [&](int64_t b, int64_t e) { kernels<T>().step_hop(half, b, e); });
    }
  }

  A batch_loss() const {
    A loss;
    if (options.loss == StepLoss::softmax) {
      softmax_loss(s.z, n_rows, s.z, n_rows, model.dim, s.users, s.pos, batch.batch,
                   {options.temperature, options.negative_weight, model.item_bias != nullptr ? s.bias : nullptr}, &loss,
                   s.user_rows, s.item_rows, s.loss_space, threads);
    } else {
      pair_loss(static_cast<PairLoss>(options.loss), options.margin, s.z, n_rows, s.z, n_rows, model.dim,
                {s.users, s.pos, s.neg, batch.batch, batch.n_neg, batch.shared, batch.mask}, &loss, s.user_rows,
                s.pos_coef, s.neg_coef, s.neg_rows, s.loss_space, threads);
    }
    return loss;
  }

  // The batch's positions sorted by compact row: users, then positives, then negatives, each in the batch's order.
  void sort_positions() const {
    const int64_t n = batch.batch;
    const auto row_of = [&](int64_t p) { return p < n ? s.users[p] : p < 2 * n ? s.pos[p - n] : s.neg[p - 2 * n]; };
    const int64_t positions = 2 * n + n_negatives();
    std::fill(s.first, s.first + n_rows + 1, 0);
    for (int64_t p = 0; p < positions; ++p) {
      if (row_of(p) >= 0) ++s.first[row_of(p) + 1];
    }
    for (int64_t r = 0; r < n_rows; ++r) s.first[r + 1] += s.first[r];
    for (int64_t p = 0; p < positions; ++p) {
      if (row_of(p) >= 0) s.order[s.first[row_of(p)]++] = static_cast<int32_t>(p);
    }
    for (int64_t r = n_rows; r > 0; --r) s.first[r] = s.first[r - 1];
    s.first[0] = 0;
  }

  // dL/d z of the loss at position p, added to sum. (scatter_rows takes one source; here there are up to three, and the
  // number of positions is wanted for the ridge.)
  void add_gradient(int64_t p, A* sum) const {
    const int64_t n = batch.batch, dim = model.dim;
    const auto add = [&](const A* row) { kernels<A>().axpy(sum, A(1), row, dim); };
    const auto add_user = [&](A coef, int64_t b) { kernels<T>().axpy(sum, coef, s.z + s.users[b] * dim, dim); };
    if (p < n) {
      add(s.user_rows + p * dim);
    } else if (p < 2 * n) {
      options.loss == StepLoss::softmax ? add(s.item_rows + (p - n) * dim) : add_user(s.pos_coef[p - n], p - n);
    } else {
      const int64_t j = p - 2 * n;
      batch.shared ? add(s.neg_rows + j * dim) : add_user(s.neg_coef[j], j / batch.n_neg);
    }
  }

  // The gradient's compact rows; returns the ridge penalty.
  A seed_gradient() const {
    sort_positions();
    const int64_t dim = model.dim;
    const double per_row = options.reg / static_cast<double>(batch.batch);
    const int64_t per_node = s.first[n_rows] / std::max<int64_t>(n_rows, 1);
    parallel_for(n_rows, dim * (2 + per_node), threads, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        A* seed = s.seed + r * dim;
        std::fill(seed, seed + dim, A(0));
        for (int64_t i = s.first[r]; i < s.first[r + 1]; ++i) add_gradient(s.order[i], seed);
        const int64_t n = node(r);
        const A* e = model.emb + n * dim;
        const double count = s.first[r + 1] - s.first[r];
        const A ridge = static_cast<A>(per_row * count), scale = model.left != nullptr ? model.left[n] : A(1);
        for (int64_t c = 0; c < dim; ++c) {
          s.direct[r * dim + c] = model.alphas[0] * seed[c] + ridge * e[c];
          store(s.scaled_seed[r * dim + c], scale * seed[c]);
        }
        s.ridge[r] = options.reg != 0 ? count * static_cast<double>(kernels<A>().dot(e, e, dim)) : 0.0;
      }
    });
    double sum = 0;
    for (int64_t r = 0; r < n_rows; ++r) sum += s.ridge[r];
    return static_cast<A>(0.5 * per_row * sum);
  }

  // dL/dE, of which the last hop's rows go to Adam.
  void backward_and_update(double lr, int64_t t, StepTimes& spent, Stopwatch& watch) const {
    const AdamScalars scalars = adam_scalars(options.adam, lr, t);
    for (const Side end : {Side::users, Side::items}) {
      Hop<T, A> hop;
      hop.dim = model.dim;
      hop.left = model.right;  // B^T = diag(right) A diag(left)
      hop.x = s.scaled_seed;
      hop.col_slot = s.slot;
      hop.base = s.seed;
      hop.base_slot = s.slot;
      inner_hops(graph, hop, model.alphas, hops(), model.left, s.layer, end, kernels<T>().step_hop, threads);
      watch.lap(&spent.backward);
      hop.base = s.direct;
      hop.beta = 1;
      update(hop, end, scalars);
      watch.lap(&spent.update);
    }
  }

  void update(const Hop<T, A>& last, Side end, const AdamScalars& scalars) const {
    const Csr& csr = csr_of(graph, end);
    const int64_t first = end == Side::users ? 0 : n_users(), at = first * model.dim;
    AdamHop<T> hop{half_of(graph, last, end),
                   model.emb + at,
                   model.exp_avg + at,
                   model.exp_avg_sq + at,
                   model.shadow != nullptr ? model.shadow + at : nullptr,
                   model.right != nullptr ? model.right + first : nullptr,
                   scalars};
    const auto run = [&](int64_t begin, int64_t to) { kernels<T>().adam_hop(hop, begin, to); };
    if (hops() == 0) {
      hop.hop.indptr = nullptr;
      parallel_for(csr.n_rows, adam_cost * model.dim, threads, run);
    } else {
      parallel_rows(csr.indptr, csr.n_rows, model.dim, threads, run);
    }
  }
};

}  // namespace

template <class T>
void train_step(const Bipartite& graph, const StepModel<T>& model, const PairBatch& batch, const StepOptions& options,
                const double* lr, const int64_t* t, acc_t<T>* loss, StepTimes* times, void* workspace, int threads) {
  check_ids("users", batch.users, batch.batch, 0, graph.users.n_rows);
  check_ids("pos", batch.pos, batch.batch, 0, graph.items.n_rows);
  check_ids("neg", batch.neg, batch.n_neg_rows() * batch.n_neg, -1, graph.items.n_rows);
  StepTimes unused{};
  StepTimes& spent = times != nullptr ? *times : unused;
  Stopwatch watch;
  Step<T> step{graph,
               model,
               batch,
               options,
               Space<T>(workspace, graph.n_nodes(), model.dim, model.n_alphas, batch.batch, batch.n_neg, batch.shared),
               threads};
  step.number_rows();
  step.forward();
  watch.lap(&spent.forward);
  *loss = step.batch_loss();
  watch.lap(&spent.loss);
  *loss += step.seed_gradient();
  watch.lap(&spent.seed);
  step.backward_and_update(*lr, *t, spent, watch);
}

template <class T>
int64_t train_step_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t n_alphas, int64_t batch, int64_t n_neg,
                                   bool shared) {
  return Space<T>(nullptr, graph.n_nodes(), dim, n_alphas, batch, n_neg, shared).bytes;
}

#define FGR_INSTANTIATE(T)                                                                                 \
  template void train_step<T>(const Bipartite&, const StepModel<T>&, const PairBatch&, const StepOptions&, \
                              const double*, const int64_t*, acc_t<T>*, StepTimes*, void*, int);           \
  template int64_t train_step_workspace_bytes<T>(const Bipartite&, int64_t, int64_t, int64_t, int64_t, bool);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
