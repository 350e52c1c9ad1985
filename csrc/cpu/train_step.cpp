#include "fgr/train_step.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "common/bf16.h"
#include "cpu/hops.h"
#include "cpu/row_update.h"
#include "cpu/step_space.h"
#include "fgr/softmax_loss.h"

namespace fgr::cpu {
namespace {

template <class T>
struct Step {
  using A = acc_t<T>;
  const Bipartite& graph;
  const StepModel<T>& model;
  const StepShare<T>& share;
  const PairBatch& batch;
  const StepOptions& options;
  StepSpace<T> s;
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

  // Whether the rows of the batch alone are updated.
  bool sparse() const { return options.optimizer != StepOptimizer::adam; }

  void number_rows() {
    s.number(batch, n_users());
    if (!sparse()) s.fill_slots(n_users(), graph.n_nodes());
    if (options.loss != StepLoss::softmax || model.item_bias == nullptr) return;
    for (int64_t b = 0; b < batch.batch; ++b) s.bias[b] = model.item_bias[batch.pos[b]];
  }

  // z at a node of the batch, where it takes no hop, and the parameters of the node.
  const A* read_row(int64_t r) const {
    const int64_t dim = model.dim;
    if (r + rows_ahead < n_rows()) fetch_row(model.emb + node(r + rows_ahead) * dim, dim);
    const A* e = model.emb + node(r) * dim;
    for (int64_t c = 0; c < dim; ++c) store(own_z()[r * dim + c], model.alphas[0] * e[c]);
    return e;
  }

  // z at the batch's nodes.
  void forward() const {
    const int64_t dim = model.dim;
    if (hops() == 0) {
      if (options.reg != 0) return;  // ridge_panels() reads the rows
      parallel_for(n_rows(), dim, threads, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) read_row(r);
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
      const A* e = hops() == 0 ? read_row(r) : model.emb + node(r) * model.dim;
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
                {s.users, s.pos, s.neg, batch.batch, batch.n_neg, batch.shared, batch.mask}, &loss,
                by_terms() ? nullptr : s.user_rows, s.pos_coef, s.neg_coef, s.neg_rows, s.loss_space, threads);
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

  // Whether the gradient of a row is a sum of others of z, with the coefficients that the loss left.
  bool by_terms() const { return sparse() && options.loss != StepLoss::softmax && !batch.shared; }

  // Such a sum: the rows with the positions of row r, some at a time.
  void add_terms(int64_t r, A* sum) const {
    constexpr int64_t most = 64;
    int32_t rows[most];
    A coef[most];
    int64_t n = 0;
    bool more = false;
    const auto flush = [&] {
      kernels<T>().weighted_rows(z() + share.first_column, whole_dim(), rows, coef, n, model.dim, more, sum);
      n = 0;
      more = true;
    };
    const auto add = [&](int64_t row, A by) {
      if (n == most) flush();
      rows[n] = static_cast<int32_t>(row);
      coef[n++] = by;
    };
    const int64_t batches = batch.batch, m = batch.n_neg;
    for (int64_t i = s.first[r]; i < s.first[r + 1]; ++i) {
      const int64_t p = s.order[i];
      if (p < batches) {
        for (int64_t j = p * m; j < (p + 1) * m; ++j) {
          if (s.neg[j] >= 0) add(s.neg[j], s.neg_coef[j]);
        }
        add(s.pos[p], s.pos_coef[p]);
      } else if (p < 2 * batches) {
        add(s.users[p - batches], s.pos_coef[p - batches]);
      } else {
        add(s.users[(p - 2 * batches) / m], s.neg_coef[p - 2 * batches]);
      }
    }
    flush();
  }

  // What sparse() calls the optimizer with: dL/dE of the rows of the batch, the ridge's and the decay's part in it. In
  // two parts where ranks look at whole rows (StepShare::own_squares), else a row at a time, which stays in the cache.
  void gradient_row(int64_t r, A* sum) const {
    const int64_t dim = model.dim;
    if (by_terms()) {
      add_terms(r, sum);
    } else {
      std::fill(sum, sum + dim, A(0));
      for (int64_t i = s.first[r]; i < s.first[r + 1]; ++i) add_gradient(s.order[i], sum);
    }
    const double count = s.first[r + 1] - s.first[r];
    const double decay = options.optimizer == StepOptimizer::lazy_adam ? 0 : options.adam.weight_decay;
    const A ridge = static_cast<A>(reg_per_row() * count + decay), alpha = model.alphas[0];
    for (int64_t c = 0; alpha != A(1) && c < dim; ++c) sum[c] *= alpha;
    kernels<A>().axpy(sum, ridge, model.emb + node(r) * dim, dim);
  }

  void update_rows(double lr, int64_t t) const {
    const int64_t dim = model.dim, panels = column_panels(dim), whole_panels = column_panels(whole_dim());
    const RowUpdate<A> update(model, options, whole_dim(), lr, t);
    const bool parts = !(share.parts & step_seed) || !(share.parts & step_update);
    const int64_t per_node = s.first[n_rows()] / std::max<int64_t>(n_rows(), 1);
    parallel_for(n_rows(), dim * (2 + per_node + adam_cost), threads, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        A* grad = s.direct + (parts ? r : begin) * dim;
        double* squares = share.own_squares != nullptr ? share.own_squares + r * panels : s.squares + r * panels;
        if (r + rows_ahead < end) update.fetch(node(r + rows_ahead));
        if (share.parts & step_seed) {
          gradient_row(r, grad);
          if (options.optimizer == StepOptimizer::adagrad) {
            std::fill(squares, squares + panels, 0.0);
            kernels<A>().panel_dots(grad, grad, 1.0, dim, squares);
          }
        }
        const double* whole = share.squares != nullptr ? share.squares + r * whole_panels : squares;
        if (share.parts & step_update) update(node(r), grad, whole);
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
  StepSpace<T> space(workspace, graph.n_nodes(), model.dim, whole_dim, model.n_alphas, batch.batch, batch.n_neg,
                     batch.shared);
  if (share.seed != nullptr) {
    space.scaled_seed = share.scaled_seed;
    space.seed = share.seed;
    space.direct = share.direct;
  }
  Step<T> step{graph, model, share, batch, options, space, threads};
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
  if (step.sparse()) {
    if (share.parts & (step_seed | step_update)) step.update_rows(*lr, *t);
    watch.lap(&spent.update);
    return step.n_rows();
  }
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
  return StepSpace<T>(nullptr, graph.n_nodes(), dim, whole_dim, n_alphas, batch, n_neg, shared).bytes;
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
