#include <algorithm>
#include <optional>
#include <type_traits>

#include "cuda/hop.cuh"
#include "cuda/number.cuh"
#include "cuda/panel_sums.cuh"
#include "cuda/row_update.cuh"
#include "fgr/softmax_loss.h"
#include "fgr/train_step.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;
constexpr const char* op = "train_step";

// What one step needs; compact arrays as in cpu/train_step.cpp: a row per distinct node of the batch, ascending.
template <class T>
struct Space : Numbered<acc_t<T>> {
  using A = acc_t<T>;
  Arena arena;
  int64_t n_positions;
  BlockNumbering by_block;
  std::optional<DeviceNumbering> by_cub;  // where one block does not number the batch
  T *layer, *spare;                       // [n_nodes, dim], from two hops on; spare from three on
  T *z, *scaled_seed;                     // [most, dim]; z where no others have columns of it
  A *seed, *direct;                       // [most, dim]
  A *user_rows, *item_rows;               // [batch, whole_dim]
  A *pos_coef, *neg_coef, *neg_rows;
  double *ridge, *ridge_blocks;  // [panels], [panels, panel_blocks(most)]
  AdamRates<A>* rates;           // [1]
  A* partial;                    // [n_split, dim]
  double* squares;               // [most, panels] of a row's gradient, without a hop only
  void* loss_space;

  Space(void* workspace, const Bipartite& graph, int64_t dim, int64_t whole_dim, int64_t n_alphas, int64_t batch,
        int64_t n_neg, bool shared)
      : arena{reinterpret_cast<uintptr_t>(workspace)},
        n_positions(2 * batch + (shared ? 1 : batch) * n_neg),
        by_block(n_positions, graph.n_nodes()) {
    const int64_t n_nodes = graph.n_nodes(), negatives = (shared ? 1 : batch) * n_neg, hops = n_alphas - 1;
    const int64_t most = std::min(n_positions, n_nodes);
    check_positions(n_positions, n_nodes);
    if (by_block.fits()) {
      this->sorted_position = arena.take<int32_t>(n_positions);
    } else {
      by_cub.emplace(arena, n_positions, n_nodes);
      this->sorted_position = by_cub->sorting.sorted_position;
    }
    layer = arena.take<T>(hops >= 2 ? n_nodes * dim : 0);
    spare = arena.take<T>(hops >= 3 ? n_nodes * dim : 0);
    this->slot = arena.take<int32_t>(n_nodes);
    this->rows = arena.take<int32_t>(most);
    this->n_rows = arena.take<int32_t>(1);
    this->first = arena.take<int32_t>(most + 1);
    z = arena.take<T>(whole_dim == dim ? most * dim : 0);
    scaled_seed = arena.take<T>(most * dim);
    seed = arena.take<A>(most * dim);
    direct = arena.take<A>(most * dim);
    this->users = arena.take<int64_t>(batch);
    this->pos = arena.take<int64_t>(batch);
    this->neg = arena.take<int64_t>(negatives);
    user_rows = arena.take<A>(batch * whole_dim);
    item_rows = arena.take<A>(n_neg == 0 ? batch * whole_dim : 0);
    pos_coef = arena.take<A>(batch);
    neg_coef = arena.take<A>(batch * n_neg);
    this->bias = arena.take<A>(n_neg == 0 ? batch : 0);
    neg_rows = arena.take<A>(shared ? n_neg * whole_dim : 0);
    ridge = arena.take<double>(column_panels(dim));
    ridge_blocks = arena.take<double>(panel_blocks(most) * column_panels(dim));
    rates = arena.take<AdamRates<A>>(1);
    partial = arena.take<A>(graph.schedule.n_split * dim);
    squares = arena.take<double>(hops == 0 ? most * column_panels(dim) : 0);
    const int64_t softmax = n_neg == 0 ? softmax_loss_workspace_bytes(batch, whole_dim, sizeof(A)) : 0;
    const int64_t pairs = pair_loss_workspace_bytes(batch, n_neg, whole_dim, shared, sizeof(A));
    loss_space = arena.take<char>(std::max(softmax, pairs));
  }
};

// Without a hop: z = alphas[0] * E at the batch's nodes.
template <class T>
__global__ void rows_kernel(Space<T> s, const acc_t<T>* emb, const acc_t<T>* alpha, int64_t dim, T* z) {
  const int64_t r = global_warp();
  if (r >= *s.n_rows) return;
  for (int64_t c = lane(); c < dim; c += warp) store(z[r * dim + c], *alpha * emb[s.rows[r] * dim + c]);
}

// What the ridge adds up: the squares of the batch's nodes, repeats counted.
template <class T>
struct RidgeRows {
  const acc_t<T>* emb;
  const int32_t *rows, *n_rows, *first;
  int64_t dim;

  __device__ double operator()(int64_t r, int64_t c) const {
    if (r >= *n_rows) return 0;
    const double x = static_cast<double>(emb[rows[r] * dim + c]);
    return static_cast<double>(first[r + 1] - first[r]) * x * x;
  }
};

// What the seed is made of: whole rows, of which this process takes columns from `first` on.
template <class T>
struct WholeRows {
  const T* z;
  int64_t dim, first;
};

// dL/d z of the loss at position p, own column c.
template <class T>
__device__ __forceinline__ acc_t<T> gradient_at(const Space<T>& s, const WholeRows<T>& whole, const PairBatch& batch,
                                                bool softmax, int64_t p, int64_t c) {
  const int64_t n = batch.batch, dim = whole.dim, at = whole.first + c;
  if (p < n) return s.user_rows[p * dim + at];
  if (p < 2 * n) {
    const int64_t b = p - n;
    return softmax ? s.item_rows[b * dim + at] : s.pos_coef[b] * load(whole.z[s.users[b] * dim + at]);
  }
  const int64_t j = p - 2 * n;
  return batch.shared ? s.neg_rows[j * dim + at] : s.neg_coef[j] * load(whole.z[s.users[j / batch.n_neg] * dim + at]);
}

// The gradient's compact rows; a warp a row.
template <class T>
__global__ void seed_kernel(Space<T> s, StepModel<T> model, WholeRows<T> whole, PairBatch batch, bool softmax,
                            double reg, double decay) {
  using A = acc_t<T>;
  const int64_t r = global_warp(), dim = model.dim;
  if (r >= *s.n_rows) return;
  const int64_t node = s.rows[r], begin = s.first[r], end = s.first[r + 1];
  const double per_row = reg / static_cast<double>(batch.batch), count = static_cast<double>(end - begin);
  const A ridge = static_cast<A>(per_row * count + decay), scale = model.left != nullptr ? model.left[node] : A(1);
  const A* e = model.emb + node * dim;
  for (int64_t c = lane(); c < dim; c += warp) {
    A sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += gradient_at(s, whole, batch, softmax, s.sorted_position[i], c);
    s.seed[r * dim + c] = sum;
    s.direct[r * dim + c] = *model.alphas * sum + ridge * e[c];
    store(s.scaled_seed[r * dim + c], scale * sum);
  }
}

template <class T>
struct Step {
  using A = acc_t<T>;
  const Bipartite& graph;
  const StepModel<T>& model;
  const StepShare<T>& share;
  const PairBatch& batch;
  const StepOptions& options;
  Space<T> s;
  void* stream;

  int64_t whole_dim() const { return share.whole_dim > 0 ? share.whole_dim : model.dim; }
  T* own_z() const { return share.own_z != nullptr ? share.own_z : s.z; }
  const T* z() const { return share.z != nullptr ? share.z : s.z; }
  double* own_ridge() const { return share.own_ridge != nullptr ? share.own_ridge : s.ridge; }
  const double* ridge() const { return share.ridge != nullptr ? share.ridge : s.ridge; }

  int64_t hops() const { return model.n_alphas - 1; }
  int64_t most() const { return std::min(s.n_positions, graph.n_nodes()); }
  bool sparse() const { return options.optimizer != StepOptimizer::adam; }
  bool softmax() const { return options.loss == StepLoss::softmax; }
  T* layer(int64_t k) const { return k % 2 == 1 ? s.layer : s.spare; }

  // And what the optimizer's rates are, which hang on no part before either.
  void number_rows(const double* lr, const int64_t* step) {
    launch(op, rates_kernel<A>, 1, 1, 0, stream, options.adam, lr, step, s.rates);
    const Positions positions{batch, graph.users.n_rows, graph.items.n_rows};
    const A* item_bias = softmax() ? model.item_bias : nullptr;
    if (!sparse()) {  // the update by rows alone reads no slots
      const size_t n_bytes = static_cast<size_t>(graph.n_nodes()) * sizeof(int32_t);
      check(cudaMemsetAsync(s.slot, -1, n_bytes, static_cast<cudaStream_t>(stream)), op);
    }
    if (s.by_cub.has_value()) {
      number_by_cub<A>(op, *s.by_cub, s, positions, item_bias, stream);
    } else {
      number_by_block<A>(op, s.by_block, s, positions, item_bias, stream);
    }
  }

  Hop<T, A, true> whole() const {
    Hop<T, A, true> h;
    h.graph = graph;
    h.partial = s.partial;
    h.dim = model.dim;
    h.whole_dim = whole_dim();
    return h;
  }

  // The hops of the Horner scheme (docs/kernels.md) but the last, which the caller runs: it gathers what they leave.
  // `run`: now, not by a call before.
  void inner_hops(Hop<T, A, true>& h, const A* out, bool run) const {
    h.gain = model.alphas + hops();
    h.out = out;
    for (int64_t k = hops() - 1; k > 0; --k) {
      h.beta = model.alphas + k;
      if (run) hop(op, h, StoreRow<T>{layer(k), model.dim}, true, stream);
      h.x = layer(k);
      h.col_scale = nullptr;
      h.col_slot = nullptr;
      h.gain = nullptr;
    }
    h.out = nullptr;
  }

  void forward(bool inner, bool last) const {
    if (!inner && !last) return;
    if (hops() == 0) {
      if (!last) return;
      launch(op, rows_kernel<T>, blocks_for(most() * warp, block_threads), block_threads, 0, stream, s, model.emb,
             model.alphas, model.dim, own_z());
      return;
    }
    Hop<T, A, true> h = whole();
    h.left = model.left;
    h.base = model.emb;
    if constexpr (std::is_same_v<T, A>) {
      h.x = model.emb;
      h.col_scale = model.right;
    }
    if (model.shadow != nullptr) {
      h.x = model.shadow;
      h.col_scale = nullptr;
    }
    inner_hops(h, model.right, inner);
    if (!last) return;
    h.beta = model.alphas;
    h.rows = s.rows;
    h.row_slot = s.slot;
    h.n_rows = s.n_rows;
    h.most_rows = most();
    hop(op, h, StoreRow<T>{own_z(), model.dim}, aligned(own_z()), stream);
  }

  void ridge_panels() const {
    if (options.reg == 0) return;
    const RidgeRows<T> rows{model.emb, s.rows, s.n_rows, s.first, model.dim};
    panel_sums<A>(op, most(), model.dim, rows, s.ridge_blocks, own_ridge(), 1.0, nullptr, false, stream);
  }

  void batch_loss(A* loss) const {
    if (softmax()) {
      softmax_loss(z(), most(), z(), most(), whole_dim(), s.users, s.pos, batch.batch,
                   {options.temperature, options.negative_weight, model.item_bias != nullptr ? s.bias : nullptr}, loss,
                   s.user_rows, s.item_rows, s.loss_space, stream);
    } else {
      pair_loss(static_cast<PairLoss>(options.loss), options.margin, z(), most(), z(), most(), whole_dim(),
                {s.users, s.pos, s.neg, batch.batch, batch.n_neg, batch.shared, batch.mask}, loss, s.user_rows,
                s.pos_coef, s.neg_coef, s.neg_rows, s.loss_space, stream);
    }
    if (options.reg == 0) return;
    launch(op, add_panels_kernel<A>, 1, 1, 0, stream, ridge(), column_panels(whole_dim()),
           0.5 * options.reg / static_cast<double>(batch.batch), loss, true);
  }

  void seed_gradient() const {
    // Adam's update decays by itself.
    const bool adam = !sparse() || options.optimizer == StepOptimizer::lazy_adam;
    launch(op, seed_kernel<T>, blocks_for(most() * warp, block_threads), block_threads, 0, stream, s, model,
           WholeRows<T>{z(), whole_dim(), share.first_column}, batch, softmax(), options.reg,
           adam ? 0.0 : options.adam.weight_decay);
    if (options.optimizer != StepOptimizer::adagrad) return;
    launch(op, squares_kernel<A>, blocks_for(most() * column_panels(model.dim), block_threads), block_threads, 0,
           stream, s.direct, s.n_rows, model.dim, share.own_squares != nullptr ? share.own_squares : s.squares);
  }

  void update_rows(const double* lr, const int64_t* step) const {
    const TouchedRows<A> touched{s.rows, s.n_rows, s.direct, share.squares != nullptr ? share.squares : s.squares,
                                 whole_dim()};
    launch(op, update_rows_kernel<T>, blocks_for(most() * warp, block_threads), block_threads, 0, stream, touched,
           model, options, s.rates, lr, step);
  }

  void backward_and_update() const {
    Hop<T, A, true> h = whole();
    h.left = model.right;  // B^T = diag(right) A diag(left)
    h.base_slot = s.slot;
    if (hops() == 0) {  // no neighbours: the gradient is `direct`
      h.graph.users.indptr = h.graph.items.indptr = nullptr;
      h.graph.schedule = {};
    } else {
      h.x = s.scaled_seed;
      h.col_slot = s.slot;
      h.base = s.seed;
      inner_hops(h, model.left, true);
    }
    h.base = s.direct;
    h.beta = nullptr;
    const bool wide =
        aligned(model.emb) && aligned(model.exp_avg) && aligned(model.exp_avg_sq) && aligned(model.shadow);
    hop(op, h, AdamRow<T>{model, s.rates}, wide, stream);
  }
};

}  // namespace

template <class T>
int64_t train_step(const Bipartite& graph, const StepModel<T>& model, const StepShare<T>& share, const PairBatch& batch,
                   const StepOptions& options, const double* lr, const int64_t* step, acc_t<T>* loss, StepTimes*,
                   void* workspace, void* stream) {
  const int64_t whole_dim = share.whole_dim > 0 ? share.whole_dim : model.dim;
  Space<T> space(workspace, graph, model.dim, whole_dim, model.n_alphas, batch.batch, batch.n_neg, batch.shared);
  if (share.seed != nullptr) {
    space.scaled_seed = share.scaled_seed;
    space.seed = share.seed;
    space.direct = share.direct;
  }
  Step<T> s{graph, model, share, batch, options, space, stream};
  if (share.parts & step_number) s.number_rows(lr, step);
  s.forward(share.parts & (step_forward | step_inner), share.parts & (step_forward | step_last));
  if (share.parts & (step_forward | step_ridge)) s.ridge_panels();
  if (share.parts & step_loss) s.batch_loss(loss);
  if (share.parts & step_seed) s.seed_gradient();
  if (share.parts & step_update) s.sparse() ? s.update_rows(lr, step) : s.backward_and_update();
  return s.most();
}

template <class T>
int64_t train_step_workspace_bytes(const Bipartite& graph, int64_t dim, int64_t whole_dim, int64_t n_alphas,
                                   int64_t batch, int64_t n_neg, bool shared) {
  return Space<T>(nullptr, graph, dim, whole_dim, n_alphas, batch, n_neg, shared).arena.used;
}

#define FGR_INSTANTIATE(T)                                                                                        \
  template int64_t train_step<T>(const Bipartite&, const StepModel<T>&, const StepShare<T>&, const PairBatch&,    \
                                 const StepOptions&, const double*, const int64_t*, acc_t<T>*, StepTimes*, void*, \
                                 void*);                                                                          \
  template int64_t train_step_workspace_bytes<T>(const Bipartite&, int64_t, int64_t, int64_t, int64_t, int64_t, bool);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
