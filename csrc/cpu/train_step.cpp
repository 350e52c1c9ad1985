#include "fgr/train_step.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "common/arena.h"
#include "common/bf16.h"
#include "cpu/hops.h"
#include "cpu/panel_sums.h"
#include "fgr/scatter_rows.h"
#include "fgr/softmax_loss.h"

namespace fgr::cpu {
namespace {

// What one step needs. Compact arrays hold one row per distinct node of the batch, in ascending order of nodes.
template <class T>
struct Space {
  using A = acc_t<T>;
  T* layer;         // [n_nodes, dim], from two hops on
  int64_t* n_rows;  // [2] compact rows of users, which come first, and of all
  int32_t* slot;    // [n_nodes] compact row of a node, or -1
  int32_t* rows;    // [most] the node of a compact row, counted within its half
  T* z;             // [most, dim] the compact rows of the model's output, where no others have columns of them
  T* scaled_seed;   // [most, dim] T(left * dL/dz): what the first hop backwards gathers
  A* seed;          // [most, dim] dL/dz
  A* direct;        // [most, dim] the part of dL/dE that takes no hop: alphas[0] * seed + the ridge penalty's
  int64_t *users, *pos, *neg;  // the batch, as compact rows
  A *user_rows, *item_rows;    // [batch, whole_dim] what the losses give; item_rows: softmax only
  A *pos_coef, *neg_coef;      // [batch], [batch, n_neg]
  A* bias;                     // [batch] of the positives: softmax only
  A* neg_rows;                 // [n_neg, whole_dim], shared negatives only
  int32_t *order, *first;      // [batch positions], [most + 1]: the positions of a compact row, ascending
  double* ridge;               // [panels]
  double* ridge_blocks;        // [panel_blocks(most), panels]
  char* loss_space;

  int64_t bytes;

  Space(void* workspace, int64_t n_nodes, int64_t dim, int64_t whole_dim, int64_t n_alphas, int64_t batch,
        int64_t n_neg, bool shared) {
    Arena arena{reinterpret_cast<uintptr_t>(workspace)};
    const int64_t negatives = (shared ? 1 : batch) * n_neg, positions = 2 * batch + negatives;
    check_positions(positions, n_nodes);
    const int64_t most = std::min(positions, n_nodes), hops = n_alphas - 1;
    layer = arena.take<T>(hops >= 2 ? n_nodes * dim : 0);
    n_rows = arena.take<int64_t>(2);
    slot = arena.take<int32_t>(n_nodes);
    rows = arena.take<int32_t>(most);
    z = arena.take<T>(whole_dim == dim ? most * dim : 0);
    scaled_seed = arena.take<T>(most * dim);
    seed = arena.take<A>(most * dim);
    direct = arena.take<A>(most * dim);
    users = arena.take<int64_t>(batch);
    pos = arena.take<int64_t>(batch);
    neg = arena.take<int64_t>(negatives);
    user_rows = arena.take<A>(batch * whole_dim);
    item_rows = arena.take<A>(n_neg == 0 ? batch * whole_dim : 0);
    pos_coef = arena.take<A>(batch);
    neg_coef = arena.take<A>(batch * n_neg);
    bias = arena.take<A>(n_neg == 0 ? batch : 0);
    neg_rows = arena.take<A>(shared ? n_neg * whole_dim : 0);
    order = arena.take<int32_t>(positions);
    first = arena.take<int32_t>(most + 1);
    ridge = arena.take<double>(column_panels(dim));
    ridge_blocks = arena.take<double>(panel_blocks(most) * column_panels(dim));
    const int64_t softmax = n_neg == 0 ? softmax_loss_workspace_bytes(batch, whole_dim, sizeof(A)) : 0;
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
  const StepShare<T>& share;
  const PairBatch& batch;
  const StepOptions& options;
  const Space<T> s;
  const int threads;

  int64_t whole_dim() const { return share.whole_dim > 0 ? share.whole_dim : model.dim; }
  T* own_z() const { return share.own_z != nullptr ? share.own_z : s.z; }
  const T* z() const { return share.z != nullptr ? share.z : s.z; }
  double* own_ridge() const { return share.own_ridge != nullptr ? share.own_ridge : s.ridge; }
  const double* ridge() const { return share.ridge != nullptr ? share.ridge : s.ridge; }
  int64_t n_user_rows() const { return s.n_rows[0]; }
  int64_t n_rows() const { return s.n_rows[1]; }
  int64_t n_users() const { return graph.users.n_rows; }
  int64_t hops() const { return model.n_alphas - 1; }
  int64_t n_negatives() const { return batch.n_neg_rows() * batch.n_neg; }
  int64_t node(int64_t row) const { return s.rows[row] + (row < n_user_rows() ? 0 : n_users()); }

  void number_rows() const {
    const int64_t n_nodes = graph.n_nodes();
    std::memset(s.slot, -1, static_cast<size_t>(n_nodes) * sizeof(int32_t));
    int32_t* item_slot = s.slot + n_users();
    for (int64_t b = 0; b < batch.batch; ++b) s.slot[batch.users[b]] = item_slot[batch.pos[b]] = 0;
    for (int64_t j = 0; j < n_negatives(); ++j) {
      if (batch.neg[j] >= 0) item_slot[batch.neg[j]] = 0;
    }
    int64_t numbered = 0;
    const auto number = [&](int32_t* slot, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        if (slot[i] < 0) continue;
        slot[i] = static_cast<int32_t>(numbered);
        s.rows[numbered++] = static_cast<int32_t>(i);
      }
      return numbered;
    };
    s.n_rows[0] = number(s.slot, n_users());
    s.n_rows[1] = number(item_slot, graph.items.n_rows);
    for (int64_t b = 0; b < batch.batch; ++b) {
      s.users[b] = s.slot[batch.users[b]];
      s.pos[b] = item_slot[batch.pos[b]];
      if (options.loss == StepLoss::softmax && model.item_bias != nullptr) s.bias[b] = model.item_bias[batch.pos[b]];
    }
    for (int64_t j = 0; j < n_negatives(); ++j) s.neg[j] = batch.neg[j] < 0 ? -1 : item_slot[batch.neg[j]];
    sort_positions();
  }

  // z at the batch's nodes.
  void forward() const {
    const int64_t dim = model.dim;
    if (hops() == 0) {
      parallel_for(n_rows(), dim, threads, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const A* e = model.emb + node(r) * dim;
          for (int64_t c = 0; c < dim; ++c) store(own_z()[r * dim + c], model.alphas[0] * e[c]);
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
      const int64_t from = end == Side::users ? 0 : n_user_rows(), to = end == Side::users ? n_user_rows() : n_rows();
      half.rows = s.rows + from;
      half.y = own_z() + from * dim;
      const Csr& csr = csr_of(graph, end);
      const int64_t degree = csr.indptr[csr.n_rows] / std::max<int64_t>(csr.n_rows, 1);
      parallel_for(to - from, dim * (1 + degree), threads,
                   [&](int64_t b, int64_t e) { kernels<T>().step_hop(half, b, e); });
    }
  }

  // Of each panel of columns: the squares of the batch's nodes, repeats counted.
  void ridge_panels() const {
    if (options.reg == 0) return;
    const auto row = [&](int64_t r) {
      const A* e = model.emb + node(r) * model.dim;
      return RowProduct<A>{e, e, static_cast<double>(s.first[r + 1] - s.first[r])};
    };
    panel_sums<A>(n_rows(), model.dim, row, s.ridge_blocks, own_ridge(), threads);
  }

  double reg_per_row() const { return options.reg / static_cast<double>(batch.batch); }

  SoftmaxOptions<A> softmax_options() const {
    return {options.temperature, options.negative_weight, model.item_bias != nullptr ? s.bias : nullptr};
  }

  A batch_loss() const {
    A loss;
    if (options.loss == StepLoss::softmax) {
      softmax_loss(z(), n_rows(), z(), n_rows(), whole_dim(), s.users, s.pos, batch.batch, softmax_options(), &loss,
                   s.user_rows, s.item_rows, s.loss_space, threads);
    } else {
      pair_loss(static_cast<PairLoss>(options.loss), options.margin, z(), n_rows(), z(), n_rows(), whole_dim(),
                {s.users, s.pos, s.neg, batch.batch, batch.n_neg, batch.shared, batch.mask}, &loss, s.user_rows,
                s.pos_coef, s.neg_coef, s.neg_rows, s.loss_space, threads);
    }
    return loss + ridge_loss();
  }

  void users_loss() const {
    softmax_users(z(), z(), whole_dim(), s.users, s.pos, batch.batch, softmax_options(), share.softmax, s.loss_space,
                  threads);
  }

  A items_loss() const {
    A loss;
    softmax_items<T>(whole_dim(), batch.batch, softmax_options(), share.softmax, &loss, s.loss_space, threads);
    return loss + ridge_loss();
  }

  A ridge_loss() const {
    if (options.reg == 0) return 0;
    return static_cast<A>(0.5 * reg_per_row() * sum_in_order(ridge(), column_panels(whole_dim())));
  }

  // The batch's positions sorted by compact row: users, then positives, then negatives, each in the batch's order.
  void sort_positions() const {
    const int64_t n = batch.batch;
    const auto row_of = [&](int64_t p) { return p < n ? s.users[p] : p < 2 * n ? s.pos[p - n] : s.neg[p - 2 * n]; };
    const int64_t positions = 2 * n + n_negatives();
    std::fill(s.first, s.first + n_rows() + 1, 0);
    for (int64_t p = 0; p < positions; ++p) {
      if (row_of(p) >= 0) ++s.first[row_of(p) + 1];
    }
    for (int64_t r = 0; r < n_rows(); ++r) s.first[r + 1] += s.first[r];
    for (int64_t p = 0; p < positions; ++p) {
      if (row_of(p) >= 0) s.order[s.first[row_of(p)]++] = static_cast<int32_t>(p);
    }
    for (int64_t r = n_rows(); r > 0; --r) s.first[r] = s.first[r - 1];
    s.first[0] = 0;
  }

  // dL/d z of the loss at position p, added to sum. (scatter_rows takes one source; here there are up to three, and the
  // number of positions is wanted for the ridge.)
  void add_gradient(int64_t p, A* sum) const {
    const int64_t n = batch.batch, ld = whole_dim(), first = share.first_column;
    const auto add = [&](const A* row) { kernels<A>().axpy(sum, A(1), row, model.dim); };
    const auto add_row = [&](const A* own, const A* whole, int64_t row) {
      add(own != nullptr ? own + row * model.dim : whole + row * ld + first);
    };
    const auto add_user = [&](A coef, int64_t b) {
      kernels<T>().axpy(sum, coef, z() + s.users[b] * ld + first, model.dim);
    };
    if (p < n) {
      add_row(share.user_rows, s.user_rows, p);
    } else if (p < 2 * n) {
      const int64_t b = p - n;
      options.loss == StepLoss::softmax ? add_row(share.item_rows, s.item_rows, b) : add_user(s.pos_coef[b], b);
    } else {
      const int64_t j = p - 2 * n;
      batch.shared ? add(s.neg_rows + j * ld + first) : add_user(s.neg_coef[j], j / batch.n_neg);
    }
  }

  // The gradient's compact rows.
  void seed_gradient() const {
    const int64_t dim = model.dim;
    const int64_t per_node = s.first[n_rows()] / std::max<int64_t>(n_rows(), 1);
    parallel_for(n_rows(), dim * (2 + per_node), threads, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        A* seed = s.seed + r * dim;
        std::fill(seed, seed + dim, A(0));
        for (int64_t i = s.first[r]; i < s.first[r + 1]; ++i) add_gradient(s.order[i], seed);
        const int64_t n = node(r);
        const A* e = model.emb + n * dim;
        const double count = s.first[r + 1] - s.first[r];
        const A ridge = static_cast<A>(reg_per_row() * count), scale = model.left != nullptr ? model.left[n] : A(1);
        for (int64_t c = 0; c < dim; ++c) {
          s.direct[r * dim + c] = model.alphas[0] * seed[c] + ridge * e[c];
          store(s.scaled_seed[r * dim + c], scale * seed[c]);
        }
      }
    });
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
int64_t train_step(const Bipartite& graph, const StepModel<T>& model, const StepShare<T>& share, const PairBatch& batch,
                   const StepOptions& options, const double* lr, const int64_t* t, acc_t<T>* loss, StepTimes* times,
                   void* workspace, int threads) {
  StepTimes unused{};
  StepTimes& spent = times != nullptr ? *times : unused;
  Stopwatch watch;
  const int64_t whole_dim = share.whole_dim > 0 ? share.whole_dim : model.dim;
  Space<T> space(workspace, graph.n_nodes(), model.dim, whole_dim, model.n_alphas, batch.batch, batch.n_neg,
                 batch.shared);
  if (share.seed != nullptr) {
    space.scaled_seed = share.scaled_seed;
    space.seed = share.seed;
    space.direct = share.direct;
  }
  const Step<T> step{graph, model, share, batch, options, space, threads};
  if (share.parts & step_number) {
    check_ids("users", batch.users, batch.batch, 0, graph.users.n_rows);
    check_ids("pos", batch.pos, batch.batch, 0, graph.items.n_rows);
    check_ids("neg", batch.neg, batch.n_neg_rows() * batch.n_neg, -1, graph.items.n_rows);
    step.number_rows();
  }
  if (share.parts & step_forward) {
    step.forward();
    step.ridge_panels();
    watch.lap(&spent.forward);
  }
  if (share.parts & step_loss) *loss = step.batch_loss();
  if (share.parts & step_softmax_users) step.users_loss();
  if (share.parts & step_softmax_items) *loss = step.items_loss();
  watch.lap(&spent.loss);
  if (share.parts & step_seed) {
    step.seed_gradient();
    watch.lap(&spent.seed);
  }
  if (share.parts & step_update) step.backward_and_update(*lr, *t, spent, watch);
  return step.n_rows();
}

template <class T>
int64_t train_step_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t whole_dim, int64_t n_alphas,
                                   int64_t batch, int64_t n_neg, bool shared) {
  return Space<T>(nullptr, graph.n_nodes(), dim, whole_dim, n_alphas, batch, n_neg, shared).bytes;
}

#define FGR_INSTANTIATE(T)                                                                                        \
  template int64_t train_step<T>(const Bipartite&, const StepModel<T>&, const StepShare<T>&, const PairBatch&,    \
                                 const StepOptions&, const double*, const int64_t*, acc_t<T>*, StepTimes*, void*, \
                                 int);                                                                            \
  template int64_t train_step_workspace_bytes<T>(const Bipartite&, int64_t, int64_t, int64_t, int64_t, int64_t, bool);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
