// A whole step of training: hops forwards, to the batch's rows alone; the loss; hops backwards, of which the last hands
// its rows to Adam.
#include "fgr/train_step.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

enum class Negatives { own, shared, masked };

struct StepCase {
  StepLoss loss;
  int64_t n_alphas, dim, batch, n_neg;
  Negatives negatives = Negatives::own;
  bool weighted = false, scaled = true, biased = false, shadow = false;
  double reg = 0.01, weight_decay = 0;
  StepOptimizer optimizer = StepOptimizer::adam;
};

struct StepIds {
  const std::vector<int64_t>&users, &pos, &neg;
  const std::vector<uint8_t>& mask;
};

// By an optimizer that moves the batch's rows alone: of lazy Adam, rows were last in steps that lie apart.
template <class T>
void check_rows(Checks& checks, const std::string& name, const StepCase& c, const TestGraph& graph,
                const std::vector<acc_t<T>>& alphas, const std::vector<acc_t<T>>& emb, const StepIds& ids,
                const StepOptions& options, bool shared) {
  using A = acc_t<T>;
  Random random = checks.random(name + " rows");
  const int64_t n_nodes = graph.host.n_nodes(), size = n_nodes * c.dim;
  const bool lazy = c.optimizer == StepOptimizer::lazy_adam, adagrad = c.optimizer == StepOptimizer::adagrad;
  const double usual = 1 / static_cast<double>(c.batch);
  const auto state = random.uniform<A>(lazy ? 2 * size : adagrad ? n_nodes : 0, 0.5 * usual * usual, usual * usual);
  const auto last = random.ids<int64_t>(lazy ? n_nodes : 0, 700, 1000);
  const std::vector<double> lr{0.01};
  const std::vector<int64_t> step{1000};
  const Tolerance tolerance = close<T>(c.loss == StepLoss::softmax ? 8 : 4);
  checks.run(name, [&](auto& on) {
    const Bipartite both = on.graph(graph);
    A* loss = on.template out<A>("loss", 1, tolerance);
    A* e = on.template inout<A>("emb", emb, close<A>(sizeof(T) == 2 ? 100 : 1));
    A* rows = on.template inout<A>("state", state, tolerance);
    int64_t* last_step = on.template inout<int64_t>("last_step", last, exact);
    const StepModel<T> model{c.dim, on.in(alphas), 1, nullptr, nullptr, e, rows, nullptr, nullptr, nullptr, last_step};
    const PairBatch batch{on.in(ids.users), on.in(ids.pos), on.in(ids.neg), c.batch, c.n_neg, shared, on.in(ids.mask)};
    FGR_RUN(
        on, train_step<T>, both, model, StepShare<T>(), batch, options, on.in(lr), on.in(step), loss, nullptr,
        on.workspace(FGR_BYTES(on, train_step_workspace_bytes<T>, both, c.dim, c.dim, 1, c.batch, c.n_neg, shared)));
  });
}

template <class T>
void check_step(Checks& checks, const StepCase& c) {
  using A = acc_t<T>;
  constexpr const char *losses[] = {"bpr", "binary", "max_margin", "softmax"},
                       *negatives[] = {"", " shared", " masked"},
                       *optimizers[] = {"", " lazy_adam", " adagrad", " sgd"};
  const std::string name = std::string("train_step<") + type_name<T>() + "> " + losses[static_cast<int>(c.loss)] +
                           " alphas=" + std::to_string(c.n_alphas) + " dim=" + std::to_string(c.dim) +
                           " batch=" + std::to_string(c.batch) + " negatives=" + std::to_string(c.n_neg) +
                           negatives[static_cast<int>(c.negatives)] + (c.weighted ? " weighted" : "") +
                           (c.scaled ? "" : " unscaled") + (c.biased ? " bias" : "") + (c.shadow ? " shadow" : "") +
                           (c.reg > 0 ? "" : " no ridge") + (c.weight_decay > 0 ? " decay" : "") +
                           optimizers[static_cast<int>(c.optimizer)];
  Random random = checks.random(name);
  const TestGraph& graph = checks.hop_graph(c.weighted, c.dim);
  const HostGraph& host = graph.host;
  const int64_t n_nodes = host.n_nodes(), size = n_nodes * c.dim;
  const bool shared = c.negatives != Negatives::own;
  std::vector<A> scale;
  for (int64_t node = 0; c.scaled && node < n_nodes; ++node) {
    scale.push_back(static_cast<A>(1 / std::sqrt(static_cast<double>(std::max<int64_t>(host.degree(node), 1)))));
  }
  const auto alphas = random.uniform<A>(c.n_alphas, 0.2, 0.5), emb = random.away_from_zero<A>(size);
  const std::vector<A> exp_avg(static_cast<size_t>(size), A(0));  // so that it will be the gradient, times 1 - beta1
  // As after many steps, so that an update is a smooth function of the gradient.
  const double usual = 1 / static_cast<double>(c.batch);
  const auto exp_avg_sq = random.uniform<A>(size, 0.5 * usual * usual, usual * usual);
  const auto bias = random.uniform<A>(c.biased ? host.n_items : 0);
  std::vector<T> shadow(c.shadow ? static_cast<size_t>(size) : 0);
  for (size_t i = 0; i < shadow.size(); ++i) {
    store(shadow[i], (c.scaled ? scale[i / static_cast<size_t>(c.dim)] : A(1)) * emb[i]);
  }
  const auto users = random.ids<int64_t>(c.batch, 0, host.n_users), pos = random.ids<int64_t>(c.batch, 0, host.n_items);
  const auto neg = random.ids<int64_t>((shared ? 1 : c.batch) * c.n_neg, -1, host.n_items);
  const auto mask = random.ids<uint8_t>(c.negatives == Negatives::masked ? c.batch * c.n_neg : 0, 0, 2);
  const StepOptions options{
      c.loss,     0.2, 1.2, c.loss == StepLoss::max_margin ? 0.53 : 0, c.reg, {0.9, 0.999, 1e-8, c.weight_decay},
      c.optimizer};
  if (c.optimizer != StepOptimizer::adam) {
    check_rows<T>(checks, name, c, graph, alphas, emb, {users, pos, neg, mask}, options, shared);
    return;
  }
  const std::vector<double> lr{0.01};
  const std::vector<int64_t> step{1000};
  // The softmax divides by the norms of the output's rows, which may be small.
  const Tolerance tolerance = close<T>(c.loss == StepLoss::softmax ? 8 : 4);
  checks.run(name, [&](auto& on) {
    const Bipartite both = on.graph(graph);
    A* loss = on.template out<A>("loss", 1, tolerance);
    A* m = on.template inout<A>("exp_avg", exp_avg, tolerance);
    A* v = on.template inout<A>("exp_avg_sq", exp_avg_sq, tolerance);
    A* e = on.template inout<A>("emb", emb, close<A>(sizeof(T) == 2 ? 100 : 1));
    T* shadow_rows = on.template inout<T>("shadow", shadow, close<T>());
    const A* both_scales = on.in(scale);
    const StepModel<T> model{c.dim, on.in(alphas), c.n_alphas, both_scales, both_scales, e, m,
                             v,     on.in(bias),   shadow_rows};
    const PairBatch batch{on.in(users), on.in(pos), on.in(neg), c.batch, c.n_neg, shared, on.in(mask)};
    FGR_RUN(on, train_step<T>, both, model, StepShare<T>(), batch, options, on.in(lr), on.in(step), loss, nullptr,
            on.workspace(FGR_BYTES(on, train_step_workspace_bytes<T>, both, c.dim, c.dim, c.n_alphas, c.batch, c.n_neg,
                                   shared)));
  });
}

template <class T>
void check_type(Checks& checks) {
  const bool small = checks.small(), shadow = sizeof(T) == 2;  // without a shadow bf16 takes no hop
  const int64_t batch = small ? 21 : 2048;
  const auto check = [&](StepCase c) {
    c.shadow = c.shadow || (shadow && c.n_alphas > 1);
    check_step<T>(checks, c);
  };
  bool weighted = false;
  for (const int64_t dim : checks.dims()) {
    check({StepLoss::bpr, 4, dim, batch, 1, Negatives::own, weighted});
    check({StepLoss::softmax, 2, dim == 1 ? 5 : dim, small ? 21 : 1024, 0, Negatives::own, !weighted, true, true});
    weighted = !weighted;
  }
  const int64_t dim = small ? 8 : 64;
  check({StepLoss::bpr, 1, dim, batch, 3});
  check({StepLoss::softmax, 1, dim, batch, 0, Negatives::own, false, false});
  check({StepLoss::binary, 2, dim, batch, 2, Negatives::own, false, false});
  check({StepLoss::max_margin, 3, dim, 33, 2, Negatives::own, true, true, false, false, 0, 0.01});
  check({StepLoss::bpr, 3, dim, batch, 40, Negatives::shared});
  check({StepLoss::binary, 2, dim, 33, 40, Negatives::masked});
  check({StepLoss::softmax, 3, dim, 1, 0, Negatives::own, true, true, true, true});
  check({StepLoss::bpr, 5, dim, 2, 4, Negatives::own, false, true, false, true});
  for (const auto optimizer : {StepOptimizer::lazy_adam, StepOptimizer::adagrad, StepOptimizer::sgd}) {
    StepCase rows{StepLoss::bpr, 1, dim, batch, 2};
    rows.optimizer = optimizer;
    check(rows);
    rows = {StepLoss::softmax, 1, small ? 33 : 100, small ? 21 : 1024, 0};
    rows.weight_decay = 0.01;
    rows.optimizer = optimizer;
    check(rows);
    rows = {StepLoss::binary, 1, dim, batch, 40, Negatives::masked};
    rows.reg = 0;
    rows.optimizer = optimizer;
    check(rows);
  }
  if (small) return;
  check({StepLoss::bpr, 4, dim, 5000, 1});
  check({StepLoss::bpr, 2, 16, 70000, 1});
  check({StepLoss::softmax, 2, dim, 5000, 0});
}

}  // namespace

void check_train_step(Checks& checks) {
  check_type<float>(checks);
  check_type<double>(checks);
  check_type<bf16>(checks);
}

}  // namespace fgr::gpu
