// Losses with their gradients. Embeddings lie on a grid, so that scores are the same in any order of addition, and
// what a hinge decides is decided alike.
#include "fgr/l2_loss.h"
#include "fgr/pair_loss.h"
#include "fgr/softmax_loss.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

constexpr int64_t n_users = 300, n_items = 200;

struct PairCase {
  PairLoss kind;
  int64_t dim, batch, n_neg;
  bool shared = false, masked = false;
  bool any_number = false;  // not of a grid: of the items three times as large
  double times = 1;         // what rows are multiplied by
};

template <class T>
void check_pair_loss(Checks& checks, const PairCase& c) {
  using A = acc_t<T>;
  constexpr const char* kinds[] = {"bpr", "binary", "max_margin"};
  const std::string name = std::string("pair_loss<") + type_name<T>() + "> " + kinds[static_cast<int>(c.kind)] +
                           " dim=" + std::to_string(c.dim) + " batch=" + std::to_string(c.batch) +
                           " negatives=" + std::to_string(c.n_neg) + (c.shared ? " shared" : "") +
                           (c.masked ? " masked" : "") + (c.any_number ? " of any numbers" : "") +
                           (c.times != 1 ? " times " + std::to_string(static_cast<int>(c.times)) : "");
  Random random = checks.random(name);
  auto user_emb = c.any_number ? random.uniform<T>(n_users * c.dim) : random.grid<T>(n_users * c.dim);
  auto item_emb = c.any_number ? random.uniform<T>(n_items * c.dim, -3, 3) : random.grid<T>(n_items * c.dim);
  for (auto* emb : {&user_emb, &item_emb}) {
    for (T& x : *emb) store(x, load(x) * static_cast<A>(c.times));
  }
  const auto users = random.ids<int64_t>(c.batch, 0, n_users), pos = random.ids<int64_t>(c.batch, 0, n_items);
  auto neg = random.ids<int64_t>((c.shared ? 1 : c.batch) * c.n_neg, -1, n_items);
  if (!c.shared && c.batch > 2) {
    for (int64_t j = 0; j < c.n_neg; ++j) neg[static_cast<size_t>(2 * c.n_neg + j)] = -1;  // a row without any
  }
  const auto mask = random.ids<uint8_t>(c.masked ? c.batch * c.n_neg : 0, 0, 2);
  const double margin = c.kind == PairLoss::max_margin ? 0.53 : 0;              // no score's difference
  const double terms = 1 / static_cast<double>(std::max<int64_t>(c.batch, 1));  // of a row's gradient
  checks.run(name, [&](auto& on) {
    A* loss = on.template out<A>("loss", 1, close<A>());
    A* user_rows = on.template out<A>("user_rows", c.batch * c.dim, close<A>(1, terms / 8));
    A* pos_coef = on.template out<A>("pos_coef", c.batch, close<A>());
    A* neg_coef = on.template out<A>("neg_coef", c.batch * c.n_neg, close<A>());
    A* neg_rows =
        on.template out<A>("neg_rows", c.shared ? c.n_neg * c.dim : 0, close<A>(c.batch > 10000 ? 2 : 1, terms / 8));
    const PairBatch batch{on.in(users), on.in(pos), on.in(neg), c.batch, c.n_neg, c.shared, on.in(mask)};
    FGR_RUN(on, pair_loss<T>, c.kind, margin, on.in(user_emb), n_users, on.in(item_emb), n_items, c.dim, batch, loss,
            user_rows, pos_coef, neg_coef, neg_rows,
            on.workspace(FGR_BYTES(on, pair_loss_workspace_bytes, c.batch, c.n_neg, c.dim, c.shared, sizeof(A))));
  });
}

struct SoftmaxCase {
  int64_t dim, batch;
  bool biased;
  double temperature = 0.2, negative_weight = 1;
  bool zero_user = false;  // whose gradient is huge
};

template <class T>
void check_softmax_loss(Checks& checks, const SoftmaxCase& c) {
  using A = acc_t<T>;
  const std::string name = std::string("softmax_loss<") + type_name<T>() + "> dim=" + std::to_string(c.dim) +
                           " batch=" + std::to_string(c.batch) + (c.biased ? " bias" : "") +
                           (c.zero_user ? " a user of norm 0" : "");
  Random random = checks.random(name);
  auto user_emb = random.away_from_zero<T>(n_users * c.dim);
  const auto item_emb = random.away_from_zero<T>(n_items * c.dim);
  for (int64_t i = 0; c.zero_user && i < c.dim; ++i) store(user_emb[static_cast<size_t>(i)], A(0));
  auto users = random.ids<int64_t>(c.batch, 0, n_users);
  if (c.zero_user) users[0] = 0;
  const auto pos = random.ids<int64_t>(c.batch, 0, n_items);
  const auto bias = random.uniform<A>(c.biased ? c.batch : 0);
  // A gradient through the normalisation, of which the part along the row cancels.
  const double norm = 0.7 * std::sqrt(static_cast<double>(c.dim));
  const double terms = 1 / (c.temperature * static_cast<double>(std::max<int64_t>(c.batch, 1)) * norm);
  checks.run(name, [&](auto& on) {
    A* loss = on.template out<A>("loss", 1, close<A>(1, 1));
    A* user_rows = on.template out<A>("user_rows", c.batch * c.dim, close<A>(4, terms));
    A* item_rows = on.template out<A>("item_rows", c.batch * c.dim, close<A>(4, terms));
    const SoftmaxOptions<A> options{c.temperature, c.negative_weight, on.in(bias)};
    FGR_RUN(on, softmax_loss<T>, on.in(user_emb), n_users, on.in(item_emb), n_items, c.dim, on.in(users), on.in(pos),
            c.batch, options, loss, user_rows, item_rows,
            on.workspace(FGR_BYTES(on, softmax_loss_workspace_bytes, c.batch, c.dim, sizeof(A))));
  });
}

template <class T>
void check_l2_loss(Checks& checks, int64_t dim, int64_t batch) {
  const std::string name =
      std::string("l2_loss<") + type_name<T>() + "> dim=" + std::to_string(dim) + " batch=" + std::to_string(batch);
  Random random = checks.random(name);
  const auto emb = random.uniform<T>(n_users * dim);
  const auto ids = random.ids<int64_t>(batch, -1, n_users);
  checks.run(name, [&](auto& on) {
    acc_t<T>* loss = on.template out<acc_t<T>>("loss", 1, close<acc_t<T>>());
    double* panels = on.template out<double>("panels", column_panels(dim), close<acc_t<T>>());
    FGR_RUN(on, l2_loss<T>, on.in(emb), n_users, dim, on.in(ids), batch, panels, loss,
            on.workspace(l2_loss_workspace_bytes(batch, dim)));
  });
}

template <class T>
void check_type(Checks& checks) {
  const bool small = checks.small();
  constexpr PairLoss kinds[] = {PairLoss::bpr, PairLoss::binary, PairLoss::max_margin};
  int turn = 0;
  for (const int64_t dim : checks.dims()) {
    const int64_t batch = small ? 33 : 2048;
    for (const PairLoss kind : kinds) check_pair_loss<T>(checks, {kind, dim, batch, 1 + turn++ % 4});
    check_pair_loss<T>(checks, {kinds[turn % 3], dim, batch, small ? 7 : 130, true, turn % 2 == 0});
    check_softmax_loss<T>(checks, {dim, small ? 70 : 2048, turn % 2 == 0});
    check_l2_loss<T>(checks, dim, batch);
  }
  for (const int64_t batch : {0, 1, 2, 33, 5000, 70000}) {
    if (small && batch > 33) break;
    check_pair_loss<T>(checks, {PairLoss::bpr, 64, batch, 5});
    check_pair_loss<T>(checks, {PairLoss::bpr, 64, batch, 9, true, true});
    if (batch <= 5000) check_softmax_loss<T>(checks, {64, batch, true, 0.1, 1.5});
    check_l2_loss<T>(checks, 64, batch);
  }
  check_softmax_loss<T>(checks, {16, small ? 70 : 700, false, 0.2, 1, true});
  for (const PairLoss kind : kinds) {
    check_pair_loss<T>(checks, {kind, 16, 33, 0});
    check_pair_loss<T>(checks, {kind, 16, 33, 6, true, false});
    check_pair_loss<T>(checks, {kind, 16, 33, 6, true, true});
    check_pair_loss<T>(checks, {kind, 40, small ? 70 : 700, small ? 140 : 1000, true, true});
    check_pair_loss<T>(checks, {kind, 40, 33, 20, true, true, false, 1024});
  }
  check_pair_loss<T>(checks, {PairLoss::bpr, 72, small ? 140 : 2048, small ? 70 : 600, true, false, true});
  check_pair_loss<T>(checks, {PairLoss::binary, 24, small ? 70 : 2048, small ? 140 : 2048, true, true, true});
}

}  // namespace

void check_losses(Checks& checks) {
  check_type<float>(checks);
  check_type<double>(checks);
  check_type<bf16>(checks);
}

}  // namespace fgr::gpu
