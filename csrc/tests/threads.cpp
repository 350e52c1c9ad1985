// Every kernel that shares out its work, on three threads and in chunks of a few elements: it opens a region, leaves
// the bits of one thread, and stops when it is told to. Run under ThreadSanitizer too.
#include "tests/threads.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "cpu/parallel.h"
#include "fgr/adam_step.h"
#include "fgr/dense.h"
#include "fgr/half_hop.h"
#include "fgr/l2_loss.h"
#include "fgr/neighbor_pool.h"
#include "fgr/pair_loss.h"
#include "fgr/propagate.h"
#include "fgr/scatter_rows.h"
#include "fgr/softmax_loss.h"
#include "fgr/train_step.h"

namespace fgr::tests {
namespace {

void add_building(Inputs& in, Kernels& kernels) {
  const auto sorted = [&in](auto tag, int threads) {
    using I = decltype(tag);
    const int64_t n_edges = 3000;
    Buffer<I> rows(n_edges), cols(n_edges);
    Buffer<float> weight(n_edges), out_weight(n_edges);
    fill(weight, 4);
    for (int64_t e = 0; e < n_edges; ++e) rows[e] = static_cast<I>(e * e % 61), cols[e] = static_cast<I>(e * 13 % 47);
    Buffer<int64_t> indptr(62);
    Buffer<int32_t> indices(n_edges);
    cpu::bucket_edges<I>(rows, cols, weight, n_edges, 61, indptr, indices, out_weight, threads);
    Buffer<EdgeBounds> bounds(1);
    cpu::edge_bounds<I>(rows, cols, weight, n_edges, 60, 47, 0.5f, bounds, threads);
    Result result;
    result.add(indptr), result.add(indices), result.add(out_weight), result.add(bounds);
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

void add_products(Inputs& in, Kernels& kernels) {
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
    Buffer<double> panels(4 * column_panels(dim));
    Buffer<char> space(propagate_dots_workspace_bytes<float>(in.graph.both, dim));
    cpu::propagate_dots<float>(in.graph.both, in.table, in.table, dim, 4, in.scale, in.scale, panels, dots, space.data,
                               threads);
    Result result;
    result.add(dots), result.add(panels);
    return result;
  };
  kernels["half_hop"] = [&in](int threads) {
    Buffer<float> y(n_users * dim);
    cpu::half_hop<float>(in.graph.both, Side::users, in.table, dim, in.scale, nullptr, in.table, y, nullptr, threads);
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

void add_losses(Inputs& in, Kernels& kernels) {
  for (const bool shared : {false, true}) {
    kernels[shared ? "pair_loss, shared negatives" : "pair_loss"] = [&in, shared](int threads) {
      Buffer<float> loss(1), user_rows(batch * dim), pos_coef(batch), neg_coef(batch * 40), neg_rows(40 * dim);
      const PairBatch ids{in.users, in.items, in.negatives, batch, shared ? 40 : n_neg, shared, nullptr};
      Buffer<char> space(cpu::pair_loss_workspace_bytes(batch, ids.n_neg, dim, shared, sizeof(float)));
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
    Buffer<int64_t> ids(3 * panel_block_rows);
    for (int64_t i = 0; i < ids.size; ++i) ids[i] = i % n_nodes;
    Buffer<float> loss(1);
    Buffer<double> panels(column_panels(dim));
    Buffer<char> space(l2_loss_workspace_bytes(ids.size, dim));
    cpu::l2_loss<float>(in.table, n_nodes, dim, ids, ids.size, panels, loss, space.data, threads);
    Result result;
    result.add(loss), result.add(panels);
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
  kernels["neighbor_pool"] = [&in](int threads) {
    constexpr int64_t width = 4;
    Buffer<float> out(batch / width * dim), weights(batch);
    fill(weights, 9);
    cpu::neighbor_pool<float>(in.table, n_nodes, dim, in.items, weights, batch / width, width, out, threads);
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
      Buffer<char> space(cpu::train_step_workspace_bytes<float>(in.graph.both, dim, dim, n_alphas, batch, m, false));
      const StepModel<float> model{dim, in.alphas, n_alphas,   in.scale, in.scale,
                                   emb, exp_avg,   exp_avg_sq, nullptr,  nullptr};
      cpu::train_step<float>(in.graph.both, model, {}, {in.users, in.items, in.negatives, batch, m, false, nullptr},
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

void test_calls_side_by_side(const Kernels& kernels) {
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

// Threads that come late, as where neighbours keep the cores busy, are waited for a few times and then left alone for
// a while; every chunk is worked at once, whoever does it.
void test_late_threads() {
  const std::thread::id caller = std::this_thread::get_id();
  constexpr int64_t chunks = 8;
  constexpr int regions = 300;
  int with_others = 0;
  for (int region = 0; region < regions; ++region) {
    std::atomic<int64_t> done{0}, of_others{0};
    cpu::for_chunks(chunks, 64.0 * static_cast<double>(cpu::grain()), 2, [&](int64_t) {
      ++done;
      if (std::this_thread::get_id() == caller) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
        while (std::chrono::steady_clock::now() < until) {
        }
      } else {
        ++of_others;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
    CHECK(done == chunks);
    with_others += of_others > 0;
  }
  CHECK(with_others < regions / 4);
}

void test_threads() {
  Inputs in;
  Kernels kernels;
  add_building(in, kernels);
  add_products(in, kernels);
  add_losses(in, kernels);
  add_sampling(in, kernels);
  add_ranking(in, kernels);
  add_data(kernels);
  add_inverse(in, kernels);
  add_ridge(in, kernels);
  for (const auto& [name, kernel] : kernels) test_kernel(name, kernel);
  test_calls_side_by_side(kernels);
}

}  // namespace fgr::tests
