// Every kernel that shares out its work, on three threads and in chunks of a few elements: it opens a region, leaves
// the bits of one thread, and stops when it is told to. Run under ThreadSanitizer too.
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "common/sampling.h"
#include "cpu/parallel.h"
#include "fgr/adam_step.h"
#include "fgr/dense.h"
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

namespace fgr::tests {
namespace {

// The bytes that a kernel wrote.
class Result {
 public:
  template <class T>
  void add(Buffer<T>& x) {
    const char* data = reinterpret_cast<const char*>(x.data);
    bytes_.insert(bytes_.end(), data, data + x.size * static_cast<int64_t>(sizeof(T)));
  }
  bool operator==(const Result& other) const { return bytes_ == other.bytes_ && !bytes_.empty(); }

 private:
  std::vector<char> bytes_;
};
using Kernel = std::function<Result(int threads)>;

constexpr int64_t n_users = 90, n_items = 70, n_nodes = n_users + n_items, dim = 19, batch = 120, n_neg = 3;

// What all kernels read.
struct Inputs {
  Inputs()
      : graph(n_users, n_items, 900, 3),
        table(n_nodes * dim),
        scale(n_nodes),
        exact(n_nodes),
        alphas(4),
        weight(graph.kept),
        users(batch),
        items(batch),
        negatives(batch * n_neg),
        nodes(batch) {
    fill(table, 1);
    fill(weight, 2);
    for (int64_t e = 0; e < graph.kept; ++e) weight[e] += 1.5f;
    for (int64_t k = 0; k < 4; ++k) alphas[k] = 0.25f;
    for (int64_t v = 0; v < n_nodes; ++v) {
      const Csr& csr = v < n_users ? graph.both.users : graph.both.items;
      const int64_t row = v < n_users ? v : v - n_users;
      exact[v] = 1.0 / static_cast<double>(std::max<int64_t>(csr.indptr[row + 1] - csr.indptr[row], 1));
      scale[v] = static_cast<float>(exact[v]);
    }
    for (int64_t b = 0; b < batch; ++b) users[b] = b * 7 % n_users, items[b] = b * 5 % n_items, nodes[b] = b * 3 % 64;
    for (int64_t j = 0; j < batch * n_neg; ++j) negatives[j] = j % (n_items + 1) - 1;
  }
  TestGraph graph;
  Buffer<float> table, scale;
  Buffer<double> exact;
  Buffer<float> alphas, weight;
  Buffer<int64_t> users, items, negatives, nodes;
  const int64_t seed = 7, offset = 11, step = 1;
  const double lr = 0.01;
};

void add_building(Inputs& in, std::map<std::string, Kernel>& kernels) {
  const auto sorted = [&in](auto tag, int threads) {
    using I = decltype(tag);
    const int64_t n_edges = 3000;
    Buffer<I> rows(n_edges), cols(n_edges);
    Buffer<float> weight(n_edges), out_weight(n_edges);
    fill(weight, 4);
    for (int64_t e = 0; e < n_edges; ++e) rows[e] = static_cast<I>(e * e % 61), cols[e] = static_cast<I>(e * 13 % 47);
    Buffer<int64_t> indptr(62);
    Buffer<int32_t> indices(n_edges);
    cpu::bucket_edges<I>(rows, cols, weight, n_edges, 61, 47, indptr, indices, out_weight, threads);
    Result result;
    result.add(indptr), result.add(indices), result.add(out_weight);
    return result;
  };
  kernels["bucket_edges"] = [sorted](int threads) { return sorted(int32_t{}, threads); };
  kernels["bucket_edges, wide"] = [sorted](int threads) { return sorted(int64_t{}, threads); };
  kernels["transpose"] = [&in](int threads) {
    Csr users = in.graph.both.users;
    users.weight = in.weight;
    Buffer<int64_t> indptr(n_items + 1);
    Buffer<int32_t> indices(in.graph.kept);
    Buffer<float> weight(in.graph.kept);
    cpu::transpose(users, indptr, indices, weight, threads);
    Result result;
    result.add(indptr), result.add(indices), result.add(weight);
    return result;
  };
  kernels["alias_table"] = [&in](int threads) {
    Csr users = in.graph.both.users;
    users.weight = in.weight;
    Buffer<uint64_t> alias(in.graph.kept);
    cpu::alias_table(users, alias, threads);
    Result result;
    result.add(alias);
    return result;
  };
}

void add_products(Inputs& in, std::map<std::string, Kernel>& kernels) {
  for (const int64_t n_alphas : {1, 4}) {
    kernels["propagate, alphas " + std::to_string(n_alphas)] = [&in, n_alphas](int threads) {
      Buffer<float> y(n_nodes * dim);
      Buffer<char> space(propagate_workspace_bytes<float>(in.graph.both, dim, n_alphas));
      cpu::propagate<float>(in.graph.both, in.table, dim, in.alphas, n_alphas, in.scale, in.scale, y, space.data,
                            threads);
      Result result;
      result.add(y);
      return result;
    };
  }
  kernels["propagate_dots"] = [&in](int threads) {
    Buffer<float> dots(4);
    Buffer<char> space(propagate_dots_workspace_bytes<float>(in.graph.both, dim));
    cpu::propagate_dots<float>(in.graph.both, in.table, in.table, dim, 4, in.scale, in.scale, dots, space.data,
                               threads);
    Result result;
    result.add(dots);
    return result;
  };
  kernels["half_hop"] = [&in](int threads) {
    Buffer<float> y(n_users * dim);
    cpu::half_hop<float>(in.graph.both, Side::users, in.table, dim, in.scale, nullptr, y, nullptr, threads);
    Result result;
    result.add(y);
    return result;
  };
  kernels["dense"] = [&in](int threads) {
    const int64_t outputs = 270;
    Buffer<float> w(dim * outputs), y(n_nodes * outputs);
    fill(w, 5);
    Buffer<char> space(cpu::dense_workspace_bytes(dim, outputs, sizeof(float)));
    Result result;
    for (const bool transposed : {false, true}) {
      cpu::dense<float>(in.table, w, transposed ? 1 : dim, transposed ? outputs : 1, nullptr, n_nodes, dim, outputs, y,
                        space.data, threads);
      result.add(y);
    }
    return result;
  };
  kernels["outer_sum"] = [](int threads) {
    const int64_t n = 600, m = 8;
    Buffer<float> a(n * m), product(m * m), sums(m);
    fill(a, 6);
    Buffer<char> space(outer_sum_workspace_bytes(n, m, m, sizeof(float)));
    cpu::outer_sum<float>(a, a, n, m, m, product, sums, space.data, threads);
    Result result;
    result.add(product), result.add(sums);
    return result;
  };
}

void add_losses(Inputs& in, std::map<std::string, Kernel>& kernels) {
  for (const bool shared : {false, true}) {
    kernels[shared ? "pair_loss, shared negatives" : "pair_loss"] = [&in, shared](int threads) {
      Buffer<float> loss(1), user_rows(batch * dim), pos_coef(batch), neg_coef(batch * 40), neg_rows(40 * dim);
      const PairBatch ids{in.users, in.items, in.negatives, batch, shared ? 40 : n_neg, shared, nullptr};
      Buffer<char> space(pair_loss_workspace_bytes(batch));
      cpu::pair_loss<float>(PairLoss::bpr, 0, in.table, n_users, in.table + n_users * dim, n_items, dim, ids, loss,
                            user_rows, pos_coef, neg_coef, shared ? neg_rows.data : nullptr, space.data, threads);
      Result result;
      result.add(loss), result.add(user_rows), result.add(pos_coef);
      if (shared) result.add(neg_rows);
      return result;
    };
  }
  kernels["softmax_loss"] = [&in](int threads) {
    Buffer<float> loss(1), user_rows(batch * dim), item_rows(batch * dim);
    Buffer<char> space(cpu::softmax_loss_workspace_bytes(batch, dim, sizeof(float)));
    cpu::softmax_loss<float>(in.table, n_users, in.table + n_users * dim, n_items, dim, in.users, in.items, batch,
                             {0.2, 1.0, nullptr}, loss, user_rows, item_rows, space.data, threads);
    Result result;
    result.add(loss), result.add(user_rows), result.add(item_rows);
    return result;
  };
  kernels["l2_loss"] = [&in](int threads) {
    Buffer<float> loss(1);
    Buffer<char> space(l2_loss_workspace_bytes(batch));
    cpu::l2_loss<float>(in.table, n_nodes, dim, in.users, batch, loss, space.data, threads);
    Result result;
    result.add(loss);
    return result;
  };
  kernels["scatter_rows"] = [&in](int threads) {
    Buffer<float> out(n_items * dim);
    Buffer<char> space(cpu::scatter_rows_workspace_bytes(batch, n_items));
    cpu::scatter_rows<float, float>(in.items, nullptr, in.table, in.users, batch, n_users, dim, nullptr, out, n_items,
                                    space.data, threads);
    Result result;
    result.add(out);
    return result;
  };
  kernels["adam_step"] = [&in](int threads) {
    Buffer<float> state[3] = {Buffer<float>(n_nodes * dim), Buffer<float>(n_nodes * dim), Buffer<float>(n_nodes * dim)};
    for (Buffer<float>& x : state) fill(x, 8);
    for (int64_t i = 0; i < state[2].size; ++i) state[2][i] = 0.5f;
    cpu::adam_step<float>(state[0], in.table, state[1], state[2], n_nodes * dim, &in.step, &in.lr,
                          {0.9, 0.999, 1e-8, 0.01}, threads);
    Result result;
    for (Buffer<float>& x : state) result.add(x);
    return result;
  };
  const auto add_step = [&](const char* name, StepLoss loss, int64_t n_alphas) {
    kernels[name] = [&in, loss, n_alphas](int threads) {
      const int64_t m = loss == StepLoss::softmax ? 0 : n_neg;
      Buffer<float> emb(n_nodes * dim), exp_avg(n_nodes * dim), exp_avg_sq(n_nodes * dim), value(1);
      fill(emb, 9);
      for (int64_t i = 0; i < emb.size; ++i) exp_avg[i] = exp_avg_sq[i] = 0;
      Buffer<char> space(cpu::train_step_workspace_bytes<float>(in.graph.both, dim, n_alphas, batch, m, false));
      const StepModel<float> model{dim, in.alphas, n_alphas,   in.scale, in.scale,
                                   emb, exp_avg,   exp_avg_sq, nullptr,  nullptr};
      cpu::train_step<float>(in.graph.both, model, {in.users, in.items, in.negatives, batch, m, false, nullptr},
                             {loss, 0.2, 1.0, 0, 0.01, {0.9, 0.999, 1e-8, 0}}, &in.lr, &in.step, value, nullptr, space,
                             threads);
      Result result;
      result.add(emb), result.add(exp_avg), result.add(value);
      return result;
    };
  };
  add_step("train_step", StepLoss::bpr, 4);
  add_step("train_step, no hop", StepLoss::bpr, 1);
  add_step("train_step, softmax", StepLoss::softmax, 3);
}

void add_sampling(Inputs& in, std::map<std::string, Kernel>& kernels) {
  for (const BatchLaw law : {BatchLaw::by_edge, BatchLaw::by_user}) {
    kernels[law == BatchLaw::by_edge ? "sample_batch, by edge" : "sample_batch, by user"] = [&in, law](int threads) {
      Buffer<int64_t> users(batch), pos(batch), neg(batch * n_neg);
      cpu::sample_batch(in.graph.both.users, in.graph.kept, law, nullptr, n_users, &in.seed, &in.offset, batch, n_neg,
                        users, pos, neg, threads);
      Result result;
      result.add(users), result.add(pos), result.add(neg);
      return result;
    };
  }
  const auto draws = [&in] { return Draws{&in.seed, &in.offset, Stream::negative, 0}; };
  for (const bool weighted : {false, true}) {
    kernels[weighted ? "sample_negatives, by weight" : "sample_negatives"] = [&in, draws, weighted](int threads) {
      Buffer<int64_t> cumulative(n_items), out(batch * n_neg);
      for (int64_t i = 0; i < n_items; ++i) cumulative[i] = i * i;
      cpu::sample_negatives(in.graph.both.users, weighted ? cumulative.data : nullptr, in.users, batch, n_neg, draws(),
                            out, threads);
      Result result;
      result.add(out);
      return result;
    };
    kernels[weighted ? "unseen_mask, shared" : "unseen_mask"] = [&in, shared = weighted](int threads) {
      Buffer<int64_t> sorted(n_items), order(n_items);
      for (int64_t i = 0; i < n_items; ++i) sorted[i] = order[i] = i;
      Buffer<uint8_t> mask(batch * (shared ? n_items : n_neg));
      cpu::unseen_mask(in.graph.both.users, in.users, batch, shared ? sorted.data : in.negatives.data,
                       shared ? order.data : nullptr, shared ? n_items : n_neg, mask, threads);
      Result result;
      result.add(mask);
      return result;
    };
    kernels[weighted ? "random_walk, by weight" : "random_walk"] = [&in, weighted](int threads) {
      Csr users = in.graph.both.users, items = in.graph.both.items;
      users.weight = items.weight = in.weight;
      Buffer<uint64_t> alias(in.graph.kept), alias_t(in.graph.kept);
      cpu::alias_table(users, alias, 1), cpu::alias_table(items, alias_t, 1);
      const WalkGraph walks{{{users.indptr, users.indices, weighted ? alias.data : nullptr, n_users},
                             {items.indptr, items.indices, weighted ? alias_t.data : nullptr, n_items}}};
      const int64_t length = 6, n_walks = 10, top = 5;
      Buffer<int64_t> traces(batch * (length + 1)), ids(batch * top);
      Buffer<float> weights(batch * top);
      cpu::random_walk(walks, in.nodes, batch, length, 0.3, &in.seed, traces, threads);
      Buffer<char> space(cpu::random_walk_neighbors_workspace_bytes(n_nodes, batch, n_walks, length));
      cpu::random_walk_neighbors(walks, in.nodes, batch, n_walks, length, 0.3, top, &in.seed, ids, weights, space.data,
                                 threads);
      Result result;
      result.add(traces), result.add(ids), result.add(weights);
      return result;
    };
  }
  kernels["sample_listed"] = [&in](int threads) {
    Buffer<int32_t> lists(n_users * 4), counts(n_users);
    for (int64_t i = 0; i < lists.size; ++i) lists[i] = static_cast<int32_t>(i);
    for (int64_t u = 0; u < n_users; ++u) counts[u] = static_cast<int32_t>(u % 5);
    Buffer<int64_t> out(batch * n_neg);
    cpu::sample_listed(lists, counts, n_users, 4, in.users, batch, n_neg, &in.seed, &in.offset, out, threads);
    Result result;
    result.add(out);
    return result;
  };
  kernels["uniform_rows"] = [&in](int threads) {
    Buffer<float> out(batch * dim);
    cpu::uniform_rows(in.users, batch, dim, &in.seed, &in.step, 0, out, threads);
    Result result;
    result.add(out);
    return result;
  };
  kernels["select_negatives"] = [&in, draws](int threads) {
    Buffer<int64_t> out(batch);
    Buffer<char> space(select_negatives_workspace_bytes(batch, n_neg));
    cpu::select_negatives<float>({Selection::hardest, 0, 0, 0}, in.table, n_users, in.table + n_users * dim, n_items,
                                 dim, {in.users, in.items, in.negatives, batch, n_neg}, draws(), 1, out, space.data,
                                 threads);
    Result result;
    result.add(out);
    return result;
  };
}

void add_ranking(Inputs& in, std::map<std::string, Kernel>& kernels) {
  kernels["ppr"] = [&in](int threads) {
    const int64_t n_sources = 20;
    Buffer<float> scores(n_sources * n_nodes);
    Buffer<double> bound(n_sources);
    Buffer<char> space(cpu::ppr_workspace_bytes<float>(in.graph.both, n_sources));
    const PprBatch<float> job{in.nodes, n_sources, Side::users, in.scale, in.exact, 0.15, 16};
    cpu::ppr<float>(in.graph.both, job, 0, n_nodes, scores, bound, space, threads);
    Result result;
    result.add(scores), result.add(bound);
    return result;
  };
  kernels["ppr_push"] = [&in](int threads) {
    const cpu::PprPush push = cpu::ppr_push(in.graph.both, in.exact, in.nodes, batch, 0.15, 1e-4, threads);
    Buffer<int64_t> indptr(batch + 1), ids(push.n_entries());
    Buffer<double> scores(push.n_entries());
    push.copy(indptr, ids, scores);
    Result result;
    result.add(indptr), result.add(ids), result.add(scores);
    return result;
  };
  for (const int64_t k : {5, 60}) {
    kernels["topk " + std::to_string(k)] = [&in, k](int threads) {
      Buffer<float> scores(n_users * n_items), values(n_users * k);
      Buffer<int64_t> ids(n_users * k);
      fill(scores, 10);
      cpu::topk<float>(scores, n_users, n_items, in.graph.both.users, nullptr, k, ids, values, nullptr, threads);
      Result result;
      result.add(ids), result.add(values);
      return result;
    };
  }
  for (const int64_t queries_at_once : {20, 60}) {  // few, and shared out
    kernels["retrieve, queries at once " + std::to_string(queries_at_once)] = [&in, queries_at_once](int threads) {
      const int64_t k = 5, items_at_once = 64;
      Buffer<int64_t> ids(n_users * k);
      Buffer<float> scores(n_users * k);
      Retrieval<float> job{
          in.table, in.table + n_users * dim, n_users,      n_items, dim, true, nullptr, n_items, {}, nullptr,
          k,        queries_at_once,          items_at_once};
      job.exclude = in.graph.both.users;
      Buffer<char> space(cpu::retrieve_workspace_bytes(job));
      cpu::retrieve<float>(job, ids, scores, space.data, threads);
      Result result;
      result.add(ids), result.add(scores);
      return result;
    };
  }
}

template <class Fn>
bool is_interrupted(const Fn& fn) {
  try {
    fn();
  } catch (const cpu::Interrupted&) {
    return true;
  }
  return false;
}

std::atomic<int> polls{0};

void test_kernel(const std::string& name, const Kernel& kernel) {
  const auto expect = [&name](bool good, const char* what) {
    if (!good) std::printf("%s: %s\n", name.c_str(), what), ++failures;
  };
  const Result alone = kernel(1);
  const int64_t before = cpu::parallel_regions();
  const Result shared = kernel(3);
  expect(cpu::parallel_regions() > before, "opens no region");
  expect(alone == shared, "other bits on three threads");
  for (const int threads : {1, 3}) {
    cpu::set_poll([] { return true; });
    cpu::begin_call(0);
    expect(is_interrupted([&] { kernel(threads); }), "is not interrupted");
    cpu::set_poll([] { return polls++ < 0; });  // never
    cpu::begin_call(0);
    polls = 0;
    expect(kernel(threads) == alone, "other bits where a poll changes nothing, or after an interrupt");
    expect(polls > 0, "does not ask whether to end");
    cpu::set_poll(nullptr);
  }
}

void test_calls_side_by_side(const std::map<std::string, Kernel>& kernels) {
  std::map<std::string, Result> expected;
  for (const auto& [name, kernel] : kernels) expected[name] = kernel(1);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&] {
      for (const auto& [name, kernel] : kernels) wrong += !(kernel(2) == expected.at(name));
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

}  // namespace

void test_threads() {
  Inputs in;
  std::map<std::string, Kernel> kernels;
  add_building(in, kernels);
  add_products(in, kernels);
  add_losses(in, kernels);
  add_sampling(in, kernels);
  add_ranking(in, kernels);
  for (const auto& [name, kernel] : kernels) test_kernel(name, kernel);
  test_calls_side_by_side(kernels);
}

}  // namespace fgr::tests
