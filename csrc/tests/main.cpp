// C++ tests of the CPU kernels, run under ASAN and UBSAN: buffers have exactly the sizes that the contracts name, so
// that a read or write beyond them is caught. The values are compared in Python; here they are only checked for
// plausibility.
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "common/sampling.h"
#include "cpu/isa/levels.h"
#include "cpu/parallel.h"
#include "fgr/adam_step.h"
#include "fgr/half_hop.h"
#include "fgr/l2_loss.h"
#include "fgr/pair_loss.h"
#include "fgr/ppr.h"
#include "fgr/ppr_push.h"
#include "fgr/propagate.h"
#include "fgr/random_walk.h"
#include "fgr/retrieve.h"
#include "fgr/sample.h"
#include "fgr/scatter_rows.h"
#include "fgr/select_negatives.h"
#include "fgr/softmax_loss.h"
#include "fgr/topk.h"
#include "fgr/train_step.h"
#include "tests/support.h"

namespace {

using namespace fgr;
using namespace fgr::tests;

template <class T>
bool all_finite(Buffer<T>& x) {
  for (int64_t i = 0; i < x.size; ++i) {
    if (!std::isfinite(static_cast<double>(load(x[i])))) return false;
  }
  return true;
}

template <class T>
void test_propagate(int64_t dim, int threads) {
  TestGraph g(23, 17, 150, 1);
  const int64_t n = g.both.n_nodes();
  Buffer<T> x(n * dim), y(n * dim);
  Buffer<acc_t<T>> scale(n), alphas(4), dots(4);
  fill(x, 2);
  for (int64_t i = 0; i < n; ++i) scale[i] = acc_t<T>(0.25);
  for (int64_t k = 0; k < 4; ++k) alphas[k] = acc_t<T>(0.5);
  for (int64_t n_alphas = 1; n_alphas <= 4; ++n_alphas) {
    Buffer<char> space(propagate_workspace_bytes<T>(g.both, dim, n_alphas));
    cpu::propagate<T>(g.both, x, dim, alphas, n_alphas, scale, scale, y, space.data, threads);
    CHECK(all_finite(y));
    Buffer<double> panels(4 * column_panels(dim));
    Buffer<char> dot_space(propagate_dots_workspace_bytes<T>(g.both, dim));
    cpu::propagate_dots<T>(g.both, x, y, dim, n_alphas, scale, nullptr, panels, dots, dot_space.data, threads);
    CHECK(std::isfinite(static_cast<double>(dots[0])));
  }
  Buffer<T> users(g.both.users.n_rows * dim), items(g.both.items.n_rows * dim);
  fill(items, 3);
  cpu::half_hop<T>(g.both, Side::users, items, dim, scale, nullptr, nullptr, users, nullptr, threads);
  cpu::half_hop<T>(g.both, Side::items, users, dim, nullptr, scale, items, items, nullptr, threads);
  CHECK(all_finite(users) && all_finite(items));
}

// Two processes that share a batch's softmax out find the bits of one.
template <class T>
void check_shared_softmax(const T* user_emb, const T* item_emb, int64_t dim, const int64_t* users, const int64_t* pos,
                          int64_t batch, const SoftmaxOptions<acc_t<T>>& options, acc_t<T> loss,
                          const Buffer<acc_t<T>>& user_rows, const Buffer<acc_t<T>>& item_rows, int threads) {
  using A = acc_t<T>;
  const int64_t n_bytes = cpu::softmax_loss_workspace_bytes(batch, dim, sizeof(A)), middle = batch / 3;
  Buffer<char> spaces[] = {Buffer<char>(n_bytes), Buffer<char>(n_bytes)};
  Buffer<A> scores(batch * batch), factor(batch), grad(batch * dim), value(1);
  Buffer<double> row_loss(batch);
  const int64_t bounds[] = {0, middle, batch};
  const auto same = [&](const Buffer<A>& expected) {
    return std::equal(expected.data, expected.data + expected.size, grad.data);
  };
  for (int rank = 0; rank < 2; ++rank) {
    const int64_t first = bounds[rank];
    cpu::softmax_users<T>(
        user_emb, item_emb, dim, users, pos, batch, options,
        {first, bounds[rank + 1], scores + first * batch, batch, factor + first, row_loss + first, grad + first * dim},
        spaces[rank].data, threads);
  }
  CHECK(same(user_rows));
  for (int rank = 0; rank < 2; ++rank) {
    const int64_t first = bounds[rank];
    cpu::softmax_items<T>(dim, batch, options,
                          {first, bounds[rank + 1], scores + first, batch, factor, row_loss, grad + first * dim}, value,
                          spaces[rank].data, threads);
    CHECK(value[0] == loss);
  }
  CHECK(same(item_rows));
}

template <class T>
void test_losses(int64_t batch, int64_t n_neg, bool shared, int64_t dim, int threads) {
  using A = acc_t<T>;
  const int64_t n_users = 7, n_items = 9;
  Buffer<T> user_emb(n_users * dim), item_emb(n_items * dim), grad(n_items * dim);
  fill(user_emb, 3);
  fill(item_emb, 4);
  Buffer<int64_t> users(batch), pos(batch), neg((shared ? 1 : batch) * n_neg);
  for (int64_t b = 0; b < batch; ++b) users[b] = b % n_users, pos[b] = b * 5 % n_items;
  for (int64_t i = 0; i < neg.size; ++i) neg[i] = i % (n_items + 1) - 1;
  Buffer<A> loss(1), user_rows(batch * dim), pos_coef(batch), neg_coef(batch * n_neg),
      neg_rows(shared ? n_neg * dim : 0);
  Buffer<char> space(cpu::pair_loss_workspace_bytes(batch, n_neg, dim, shared, sizeof(A)));
  Buffer<uint8_t> mask(batch * n_neg);
  for (int64_t i = 0; i < mask.size; ++i) mask[i] = i % 3 != 0;
  const PairBatch ids{users, pos, neg, batch, n_neg, shared, shared ? mask.data : nullptr};
  for (const PairLoss kind : {PairLoss::bpr, PairLoss::binary, PairLoss::max_margin}) {
    cpu::pair_loss<T>(kind, kind == PairLoss::max_margin ? 0.5 : 0.0, user_emb, n_users, item_emb, n_items, dim, ids,
                      loss, user_rows, pos_coef, neg_coef, neg_rows, space.data, threads);
    CHECK(std::isfinite(static_cast<double>(loss[0])) && all_finite(user_rows));
  }
  Buffer<char> sort_space(cpu::scatter_rows_workspace_bytes(batch, n_items));
  cpu::scatter_rows<A, T>(pos, pos_coef, user_rows, nullptr, batch, batch, dim, nullptr, grad, n_items, sort_space.data,
                          threads);
  CHECK(all_finite(grad));
  Buffer<A> item_rows(batch * dim);
  Buffer<char> softmax_space(cpu::softmax_loss_workspace_bytes(batch, dim, sizeof(A)));
  cpu::softmax_loss<T>(user_emb, n_users, item_emb, n_items, dim, users, pos, batch, {0.1, 1.5, pos_coef}, loss,
                       user_rows, item_rows, softmax_space.data, threads);
  CHECK(std::isfinite(static_cast<double>(loss[0])) && all_finite(user_rows) && all_finite(item_rows));
  check_shared_softmax<T>(user_emb, item_emb, dim, users, pos, batch, {0.1, 1.5, pos_coef}, loss[0], user_rows,
                          item_rows, threads);
  Buffer<double> panels(column_panels(dim));
  Buffer<char> l2_space(l2_loss_workspace_bytes(batch, dim));
  cpu::l2_loss<T>(user_emb, n_users, dim, users, batch, panels, loss, l2_space.data, threads);
  CHECK(loss[0] >= 0);
}

void test_sampling() {
  TestGraph g(23, 17, 250, 5);
  const int64_t batch = 2 * g.kept + 3, seed = 7, offset = 11;
  Buffer<int64_t> users(batch), pos(batch), neg(batch * 2), out(batch * 3);
  for (const BatchLaw law : {BatchLaw::by_edge, BatchLaw::by_user}) {
    cpu::sample_batch(g.both.users, g.kept, law, nullptr, 23, &seed, &offset, batch, 2, users, pos, neg, 2);
    for (int64_t i = 0; i < batch * 2; ++i) CHECK(neg[i] >= -1 && neg[i] < 17);
  }
  Buffer<int64_t> cumulative(17), order(17);
  Buffer<uint8_t> mask(batch * 17);
  for (int64_t i = 0; i < 17; ++i) cumulative[i] = i * i, order[i] = i;
  const Draws draws{&seed, &offset, Stream::negative, 0};
  for (const int64_t* weights : {static_cast<const int64_t*>(nullptr), static_cast<const int64_t*>(cumulative)}) {
    cpu::sample_negatives(g.both.users, weights, users, batch, 3, draws, out, 2);
    cpu::unseen_mask(g.both.users, users, batch, out, nullptr, 3, mask, 2);
    for (int64_t i = 0; i < out.size; ++i) CHECK((mask[i] == 1) == (out[i] >= 0));
  }
  cpu::unseen_mask(g.both.users, pos, 0, order, order, 17, mask, 2);
  cpu::unseen_mask(g.both.users, users, batch, order, order, 17, mask, 2);
  Buffer<float> user_emb(23 * 5), item_emb(17 * 5);
  fill(user_emb, 11);
  fill(item_emb, 12);
  Buffer<char> space(select_negatives_workspace_bytes(batch, 3));
  for (const Selection law : {Selection::hardest, Selection::semi_hard, Selection::distance_weighted}) {
    cpu::select_negatives<float>({law, 0.3, 0.5, 1.4}, user_emb, 23, item_emb, 17, 5, {users, pos, out, batch, 3},
                                 draws, 2, neg, space.data, 2);
    for (int64_t i = 0; i < batch * 2; ++i) CHECK(neg[i] >= -1 && neg[i] < 17);
  }
  for (int64_t n = 1; n < 70; ++n) {  // permute is a permutation, for every size around powers of two
    std::vector<bool> hit(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) hit[static_cast<size_t>(permute(3, 1, n, i))] = true;
    for (int64_t i = 0; i < n; ++i) CHECK(hit[static_cast<size_t>(i)]);
  }
  Buffer<double> scores(23 * 17), values(23 * 5);
  Buffer<int64_t> ids(23 * 5), rows(23);
  fill(scores, 6);
  for (int64_t r = 0; r < 23; ++r) rows[r] = r;
  cpu::topk<double>(scores, 23, 17, g.both.users, rows, 5, ids, values, nullptr, 2);
  for (int64_t i = 0; i < ids.size; ++i) CHECK(ids[i] >= -1 && ids[i] < 17);
}

void test_random_walks(bool weighted, int64_t n_walks, int64_t length, int threads) {
  TestGraph g(23, 17, 150, 11);
  Buffer<float> weight(g.kept);
  Buffer<uint64_t> alias(weighted ? g.kept : 0), alias_t(weighted ? g.kept : 0);
  for (int64_t e = 0; e < g.kept; ++e) weight[e] = static_cast<float>(1 + e % 7 * (e % 5));
  Csr users = g.both.users, items = g.both.items;
  users.weight = items.weight = weight;
  if (weighted) cpu::alias_table(users, alias, threads), cpu::alias_table(items, alias_t, threads);
  const WalkGraph walks{{{users.indptr, users.indices, alias, 23}, {items.indptr, items.indices, alias_t, 17}}};
  const int64_t n_seeds = 131, n_nodes = 40, top = 5, seed = 3;
  Buffer<int64_t> nodes(n_seeds), traces(n_seeds * (length + 1)), ids(n_seeds * top);
  Buffer<float> weights(n_seeds * top);
  for (int64_t s = 0; s < n_seeds; ++s) nodes[s] = s * 7 % n_nodes;
  cpu::random_walk(walks, nodes, n_seeds, length, 0.3, &seed, traces, threads);
  for (int64_t i = 0; i < traces.size; ++i) CHECK(traces[i] >= -1 && traces[i] < n_nodes);
  if (n_walks * length == 0) return;
  Buffer<char> space(cpu::random_walk_neighbors_workspace_bytes(n_nodes, n_seeds, n_walks, length));
  cpu::random_walk_neighbors(walks, nodes, n_seeds, n_walks, length, 0.3, top, &seed, ids, weights, space.data,
                             threads);
  for (int64_t i = 0; i < ids.size; ++i) CHECK(ids[i] >= -1 && ids[i] < n_nodes && (ids[i] < 0) == (weights[i] == 0));
}

void test_adam(int64_t n) {
  Buffer<float> p(n), g(n), m(n), v(n);
  for (Buffer<float>* x : {&p, &g}) fill(*x, 8);
  for (int64_t i = 0; i < n; ++i) m[i] = v[i] = 0;
  const int64_t step = 1;
  const double lr = 0.1;
  cpu::adam_step<float>(p, g, m, v, n, &step, &lr, {0.9, 0.999, 1e-8, 0.01}, 2);
  CHECK(all_finite(p));
}

// Two steps; with any number of threads they leave the same bits.
template <class T>
void test_train_step(StepLoss loss_kind, int64_t n_alphas, int64_t n_neg, bool shared, int64_t dim) {
  using A = acc_t<T>;
  TestGraph g(23, 17, 150, 9);
  const int64_t n = g.both.n_nodes(), batch = 21, n_negatives = (shared ? 1 : batch) * n_neg;
  Buffer<A> alphas(n_alphas), scale(n);
  Buffer<int64_t> users(batch), pos(batch), neg(n_negatives);
  for (int64_t k = 0; k < n_alphas; ++k) alphas[k] = A(0.25);
  for (int64_t i = 0; i < n; ++i) scale[i] = A(0.5);
  for (int64_t b = 0; b < batch; ++b) users[b] = b * 5 % 23, pos[b] = b * 3 % 17;
  for (int64_t j = 0; j < n_negatives; ++j) neg[j] = j % 18 - 1;
  std::vector<A> results[2];
  for (const int threads : {1, 3}) {
    Buffer<A> emb(n * dim), exp_avg(n * dim), exp_avg_sq(n * dim), bias(n), loss(1);
    Buffer<T> shadow(sizeof(T) == 2 ? n * dim : 0);
    fill(emb, 10);
    fill(bias, 11);
    for (int64_t i = 0; i < n * dim; ++i) exp_avg[i] = exp_avg_sq[i] = 0;
    for (int64_t i = 0; i < shadow.size; ++i) store(shadow[i], scale[i / dim] * emb[i]);
    Buffer<char> space(cpu::train_step_workspace_bytes<T>(g.both, dim, dim, n_alphas, batch, n_neg, shared));
    const StepModel<T> model{dim, alphas, n_alphas, scale, scale, emb, exp_avg, exp_avg_sq, bias, shadow};
    StepTimes times{};
    const double lr = 0.01;
    for (int64_t step = 1; step <= 2; ++step) {
      cpu::train_step<T>(
          g.both, model, {}, {users, pos, neg, batch, n_neg, shared},
          {loss_kind, 0.2, 1.0, loss_kind == StepLoss::max_margin ? 0.5 : 0.0, 0.01, {0.9, 0.999, 1e-8, 0}}, &lr, &step,
          loss, &times, space, threads);
      CHECK(std::isfinite(loss[0]) && loss[0] > 0);
    }
    CHECK(times.forward > 0 && times.update > 0);
    std::vector<A>& result = results[threads > 1];
    result.assign(emb.data, emb.data + n * dim);
    for (const A value : result) CHECK(std::isfinite(value));
  }
  CHECK(results[0] == results[1]);
}

// The reference values of Random123's known-answer tests: philox4x32-10, counter and key all zeros, all ones.
void test_philox() {
  const Philox4 zeros = philox4x32_10(0, 0, 0);
  CHECK(zeros.v[0] == 0x6627e8d5u && zeros.v[1] == 0xe169c58du && zeros.v[2] == 0xbc57ac4cu &&
        zeros.v[3] == 0x9b00dbd8u);
  const Philox4 ones = philox4x32_10(~0ull, ~0ull, ~0ull);
  CHECK(ones.v[0] == 0x408f276du && ones.v[1] == 0x41c83b0eu && ones.v[2] == 0xa20bc7c6u && ones.v[3] == 0x6d5451fdu);
}

template <class T>
void test_ppr(Side side, int64_t n_sources, int threads) {
  TestGraph g(60, 45, 300, 11);
  const int64_t n_nodes = g.both.n_nodes();
  Buffer<T> inverse(n_nodes), scores(n_sources * 45);
  Buffer<double> exact(n_nodes), bound(n_sources);
  for (int64_t v = 0; v < n_nodes; ++v) {
    const Csr& csr = v < 60 ? g.both.users : g.both.items;
    const int64_t row = v < 60 ? v : v - 60, degree = csr.indptr[row + 1] - csr.indptr[row];
    exact[v] = degree > 0 ? 1.0 / static_cast<double>(degree) : 0;
    inverse[v] = static_cast<T>(exact[v]);
  }
  Buffer<int64_t> nodes(n_sources);
  for (int64_t s = 0; s < n_sources; ++s) nodes[s] = (side == Side::users ? 0 : 60) + s % 45;
  Buffer<char> space(cpu::ppr_workspace_bytes<T>(g.both, n_sources));
  const PprBatch<T> batch{nodes, n_sources, side, inverse, exact, 0.15, 16};
  cpu::ppr<T>(g.both, batch, 60, n_nodes, scores, bound, space, threads);
  CHECK(all_finite(scores));
  for (int64_t s = 0; s < n_sources; ++s) CHECK(bound[s] >= 0 && bound[s] < 1e-4);
  cpu::ppr<T>(g.both, batch, 60, n_nodes, scores, nullptr, space, threads);

  const cpu::PprPush push = cpu::ppr_push(g.both, exact, nodes, n_sources, 0.15, 1e-4, threads);
  Buffer<int64_t> indptr(n_sources + 1), ids(push.n_entries());
  Buffer<double> found(push.n_entries());
  push.copy(indptr, ids, found);
  CHECK(indptr[n_sources] == push.n_entries());

  for (const int64_t k : {1, 40, 300, 700}) {
    Buffer<T> row(2 * 500), values(2 * k);
    Buffer<int64_t> best(2 * k);
    fill(row, 3);
    cpu::topk<T>(row, 2, 500, g.both.users, nullptr, k, best, values, nullptr, threads);
    for (int64_t j = 1; j < k; ++j) CHECK(values[j] <= values[j - 1]);
  }
}

template <class T>
void test_retrieve(int64_t n_queries, int64_t n_items, int64_t k, bool cosine, int threads) {
  const int64_t dim = 7, starts[] = {0, 4, 4};
  const int32_t excluded[] = {0, 0, 2, 2};
  Buffer<T> queries(n_queries * dim), items(n_items * dim), scores(n_queries * k);
  Buffer<int64_t> even((n_items + 1) / 2), rows(n_queries), ids(n_queries * k);
  fill(queries, 1);
  fill(items, 2);
  for (int64_t j = 0; j < even.size; ++j) even[j] = 2 * j;
  for (int64_t q = 0; q < n_queries; ++q) rows[q] = q % 2;
  for (const int64_t n : {1, 40, 10000}) {
    Retrieval<T> job{queries, items, n_queries, n_items, dim, cosine, even, even.size, {}, rows, k, n, n};
    job.exclude = {starts, excluded, nullptr, 2, n_items};
    Buffer<char> space(cpu::retrieve_workspace_bytes(job));
    cpu::retrieve<T>(job, ids, scores, space.data, threads);
    for (int64_t i = 0; i < n_queries * k; ++i) {
      CHECK(ids[i] == -1 || (ids[i] % 2 == 0 && ids[i] < n_items));
      CHECK(i / k % 2 == 1 || (ids[i] != 0 && ids[i] != 2));
      CHECK(i % k == 0 || scores[i] <= scores[i - 1]);
    }
  }
}

void test_bad_edges() {
  const int32_t rows[] = {0, 1, 0}, cols[] = {0, 0, 2}, missing[] = {0, 1, -1};
  const float weight[] = {1, 0, INFINITY};
  EdgeBounds bounds;
  cpu::edge_bounds<int32_t>(rows, cols, weight, 3, 2, 3, 0.5f, &bounds, 2);
  CHECK(bounds.row == 1 && bounds.col == 2 && bounds.from_bad == -1 && bounds.from_unfit == 1);
  cpu::edge_bounds<int32_t>(rows, cols, nullptr, 3, 2, 2, 0.5f, &bounds, 2);
  CHECK(bounds.from_bad == 0 && bounds.from_unfit == -1);
  cpu::edge_bounds<int32_t>(rows, missing, weight, 3, 1, 3, 0.0f, &bounds, 2);
  CHECK(bounds.from_bad == 1 && bounds.from_unfit == 0);
  cpu::edge_bounds<int32_t>(nullptr, nullptr, nullptr, 0, 1, 1, 0.0f, &bounds, 2);
  CHECK(bounds.row == -1 && bounds.col == -1 && bounds.from_bad == -1 && bounds.from_unfit == -1);
}

}  // namespace

int main() {
  const int64_t grain = cpu::grain();
  cpu::set_grain(16);  // so that small inputs are shared out
  int n_levels = 0;
  const cpu::Level* const* levels = cpu::usable_levels(&n_levels);
  for (int l = 0; l < n_levels; ++l) {
    cpu::select_level(levels[l]->name);
    for (const int threads : {1, 3}) {
      for (const int64_t dim : {0, 1, 3, 31, 64, 129}) {
        test_propagate<float>(dim, threads);
        test_propagate<double>(dim, threads);
        test_propagate<bf16>(dim, threads);
        for (const int64_t batch : {0, 1, 40, 131}) {
          for (const bool shared : {false, true}) {
            test_losses<float>(batch, 3, shared, dim, threads);
            test_losses<double>(batch, 0, shared, dim, threads);
            test_losses<bf16>(batch, 2, shared, dim, threads);
          }
        }
      }
    }
    test_level();
    test_ridge_rows();
    for (const Side side : {Side::users, Side::items}) {
      for (const int64_t n_sources : {0, 1, 17, 64}) {
        test_ppr<float>(side, n_sources, 1);
        test_ppr<double>(side, n_sources, 3);
      }
    }
    for (const int64_t n : {0, 1, 7, 100003}) test_adam(n);
    for (const int64_t k : {1, 20, 700}) {
      test_retrieve<float>(k == 20 ? 131 : 3, 600, k, false, 1);
      test_retrieve<double>(50, 600, k, true, 3);
      test_retrieve<float>(0, 5, k, true, 3);
    }
    for (const int threads : {1, 3}) {
      for (const bool weighted : {false, true}) {
        for (const int64_t n_walks : {1, 10, 64, 65}) {
          for (const int64_t length : {0, 1, 4}) test_random_walks(weighted, n_walks, length, threads);
        }
      }
    }
    for (const int64_t n_alphas : {1, 2, 3, 5}) {
      for (const int64_t dim : {1, 64, 129}) {
        for (const bool shared : {false, true}) {
          test_train_step<float>(StepLoss::bpr, n_alphas, 2, shared, dim);
          test_train_step<double>(StepLoss::binary, n_alphas, 1, shared, dim);
          test_train_step<bf16>(StepLoss::bpr, n_alphas, 3, shared, dim);
          test_train_step<float>(StepLoss::max_margin, n_alphas, 2, shared, dim);
        }
        test_train_step<float>(StepLoss::softmax, n_alphas, 0, false, dim);
        test_train_step<bf16>(StepLoss::softmax, n_alphas, 0, false, dim);
      }
    }
  }
  test_sampling();
  test_philox();
  test_bad_edges();
  test_data();
  test_text_lines();
  test_sparse_inverse();
  test_threads();
  cpu::set_grain(grain);
  test_late_threads();
  std::printf("%s, %d levels\n", failures == 0 ? "all C++ tests passed" : "C++ tests FAILED", n_levels);
  return failures == 0 ? 0 : 1;
}
