// Samplers, losses with their gradients, and what brings gradients to the parameters.
#include <algorithm>

#include "fgr/adam_step.h"
#include "fgr/dense.h"
#include "fgr/l2_loss.h"
#include "fgr/neighbor_pool.h"
#include "fgr/pair_loss.h"
#include "fgr/sample.h"
#include "fgr/scatter_rows.h"
#include "fgr/select_negatives.h"
#include "fgr/softmax_loss.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

const int64_t batch_size = sized(2048, 16);

// neg [n_neg] shared by the batch, or one of its own for each row.
template <class T>
void add_pair_loss(Cases& cases, const char* name, int64_t n_neg, bool shared, double predicted) {
  using A = acc_t<T>;
  constexpr int64_t dim = 64;
  const World& w = cases.world;
  const int64_t n_users = w.n_users(), n_items = w.n_items(), size = batch_size;
  const Batch b = w.batch(size, shared ? 0 : n_neg);
  auto neg = shared ? w.batch(n_neg, 0).pos : b.neg;
  auto users = uniform<T>(n_users * dim, 5), items = uniform<T>(n_items * dim, 6);
  auto loss = empty<A>(1), user_rows = empty<A>(size * dim), pos_coef = empty<A>(size),
       neg_coef = empty<A>(size * n_neg);
  auto neg_rows = empty<A>(shared ? n_neg * dim : 0);
  auto space = workspace(cuda::pair_loss_workspace_bytes(size, n_neg, dim, shared, sizeof(A)));
  Case c;
  c.name = name;
  c.dtype = dtype_of<T>();
  c.sizes = "B=" + std::to_string(size) + ", " + std::to_string(n_neg) + " negatives, d=64";
  c.bytes = static_cast<double>(size * (2 + (shared ? 0 : n_neg))) * (8 + dim * sizeof(T)) +
            static_cast<double>((size + (shared ? n_neg : 0)) * dim + size * n_neg) * sizeof(A);
  if (shared) {
    c.work = 3 * 2.0 * static_cast<double>(size * n_neg * dim);
    c.unit = "FLOP";
  }
  c.predicted_us = predicted;
  c.run = [=](void* stream) {
    const PairBatch pairs{b.users->get(), b.pos->get(), neg->get(), size, n_neg, shared};
    cuda::pair_loss<T>(PairLoss::bpr, 0.0, users->get(), n_users, items->get(), n_items, dim, pairs, loss->get(),
                       user_rows->get(), pos_coef->get(), neg_coef->get(), neg_rows->get(), space->get(), stream);
  };
  cases.add(c);
}

template <class T>
void add_softmax(Cases& cases, int64_t size, int64_t dim, double predicted) {
  using A = acc_t<T>;
  const World& w = cases.world;
  const int64_t n_users = w.n_users(), n_items = w.n_items();
  const Batch b = w.batch(size, 0);
  auto users = uniform<T>(n_users * dim, 5), items = uniform<T>(n_items * dim, 6);
  auto loss = empty<A>(1), user_rows = empty<A>(size * dim), item_rows = empty<A>(size * dim);
  auto space = workspace(cuda::softmax_loss_workspace_bytes(size, dim, sizeof(A)));
  Case c;
  c.name = "softmax_loss B=" + std::to_string(size) + " d=" + std::to_string(dim);
  c.dtype = dtype_of<T>();
  c.sizes = "in-batch, cosines";
  c.bytes = static_cast<double>(2 * size) * (8 + static_cast<double>(dim) * (sizeof(T) + sizeof(A)));
  c.work = 3 * 2.0 * static_cast<double>(size) * static_cast<double>(size * dim);
  c.unit = "FLOP";
  c.predicted_us = predicted;
  c.run = [=](void* stream) {
    cuda::softmax_loss<T>(users->get(), n_users, items->get(), n_items, dim, b.users->get(), b.pos->get(), size,
                          {0.1, 1.0, nullptr}, loss->get(), user_rows->get(), item_rows->get(), space->get(), stream);
  };
  cases.add(c);
}

const Registered softmax(20, "softmax_loss", [](Cases& cases) {
  add_softmax<float>(cases, sized(2048, 16), 64, 32);
  add_softmax<float>(cases, sized(2048, 24), 256, 58);
  add_softmax<bf16>(cases, sized(2048, 16), 64, 32);
});
const Registered large_softmax(70, "softmax_loss of large batches", [](Cases& cases) {
  add_softmax<float>(cases, sized(4096, 32), 512, 340);
  add_softmax<float>(cases, sized(8192, 40), 64, 355);
  add_softmax<float>(cases, sized(8192, 40), 256, 780);
  add_softmax<float>(cases, sized(65536, 72), 64, 31000);
});

const Registered pairs(21, "pair_loss", [](Cases& cases) {
  add_pair_loss<float>(cases, "pair_loss", 1, false, 7);
  add_pair_loss<bf16>(cases, "pair_loss", 1, false, 7);
  add_pair_loss<float>(cases, "pair_loss, shared 512", sized(512, 8), true, 40);
  add_pair_loss<float>(cases, "pair_loss, in-batch", batch_size, true, 65);
});

const Registered samplers(22, "samplers", [](Cases& cases) {
  const World& w = cases.world;
  const Csr r = w.graph().users;
  const int64_t n_edges = w.n_edges(), size = batch_size, many = sized(64, 3);
  auto seed = holding(std::vector<int64_t>{7}), offset = zeros<int64_t>(1);
  auto users = empty<int64_t>(size), pos = empty<int64_t>(size), neg = empty<int64_t>(size);
  Case c;
  c.dtype = "-";
  c.name = "sample_batch";
  c.sizes = "B=" + std::to_string(size) + ", 1 negative, another batch at every call";
  c.work = static_cast<double>(size);
  c.unit = "samples";
  c.predicted_us = 7.5 + 2.5;  // 6 to 9, and the node that counts
  c.run = [=](void* stream) {
    cuda::sample_batch(r, n_edges, BatchLaw::by_edge, nullptr, 0, seed->get(), offset->get(), size, 1, users->get(),
                       pos->get(), neg->get(), stream);
    advance(offset->get(), size, stream);
  };
  cases.add(c);

  const Batch b = w.batch(size, 0);
  auto drawn = empty<int64_t>(size * many);
  std::vector<int64_t> sums;
  for (int64_t item = 0; item < w.n_items(); ++item) {
    sums.push_back((sums.empty() ? 0 : sums.back()) + w.host.degree(w.n_users() + item) + 1);
  }
  auto cumulative = holding(sums);
  for (const bool weighted : {false, true}) {
    c.name = weighted ? "sample_negatives by weight" : "sample_negatives";
    c.sizes = "B=" + std::to_string(size) + ", " + std::to_string(many) + " a row";
    c.work = static_cast<double>(size * many);
    c.predicted_us = 0;
    c.run = [=](void* stream) {
      const Draws draws{seed->get(), offset->get(), fgr::Stream::negative, 0};
      cuda::sample_negatives(r, weighted ? cumulative->get() : nullptr, b.users->get(), size, many, draws, drawn->get(),
                             stream);
    };
    cases.add(c);
  }

  constexpr int64_t dim = 64;
  const int64_t n_users = w.n_users(), n_items = w.n_items();
  const Batch candidates = w.batch(size, many);
  auto user_emb = uniform<float>(n_users * dim, 5), item_emb = uniform<float>(n_items * dim, 6);
  auto space = workspace(select_negatives_workspace_bytes(size, many));
  for (const Selection law : {Selection::hardest, Selection::semi_hard, Selection::distance_weighted}) {
    const char* names[] = {"select_negatives hardest", "select_negatives semi_hard",
                           "select_negatives distance_weighted"};
    Case s;
    s.name = names[static_cast<int>(law)];
    s.sizes = "B=" + std::to_string(size) + ", 1 of " + std::to_string(many) + ", d=64";
    s.bytes = static_cast<double>(size * (many + 2)) * (8 + 4 * dim);
    s.run = [=](void* stream) {
      const Draws draws{seed->get(), offset->get(), fgr::Stream::negative, 0};
      cuda::select_negatives<float>({law, 0.2, 0.5, 1.4}, user_emb->get(), n_users, item_emb->get(), n_items, dim,
                                    {candidates.users->get(), candidates.pos->get(), candidates.neg->get(), size, many},
                                    draws, 1, neg->get(), space->get(), stream);
    };
    cases.add(s);
  }
});

const Registered gradients(23, "scatter_rows, adam_step, l2_loss", [](Cases& cases) {
  constexpr int64_t dim = 64;
  const World& w = cases.world;
  const int64_t n_nodes = w.n_nodes(), n = n_nodes * dim;
  auto nodes = holding(w.nodes_of(w.batch(batch_size, 1)));
  const int64_t count = nodes->size();
  auto rows = uniform<float>(count * dim, 7), emb = uniform<float>(n, 8), out = empty<float>(n);
  auto space = workspace(cuda::scatter_rows_workspace_bytes(count, n_nodes));
  Case c;
  c.name = "scatter_rows of a batch";
  c.sizes = std::to_string(count) + " rows into " + std::to_string(n_nodes) + ", d=64";
  c.bytes = static_cast<double>(n) * 4 + static_cast<double>(count) * (8 + 2 * 4 * dim);
  c.predicted_us = 35;  // 30 to 40
  c.run = [=](void* stream) {
    cuda::scatter_rows<float, float>(nodes->get(), nullptr, rows->get(), nullptr, count, count, dim, nullptr,
                                     out->get(), n_nodes, space->get(), stream);
  };
  cases.add(c);

  auto few = holding(std::vector<int64_t>(static_cast<size_t>(count), 7));
  c.name = "scatter_rows of one row";
  c.sizes = std::to_string(count) + " rows into one, d=64";
  c.predicted_us = 70;  // 30 for the sum, the rest for the sort and the zeros
  c.run = [=](void* stream) {
    cuda::scatter_rows<float, float>(few->get(), nullptr, rows->get(), nullptr, count, count, dim, nullptr, out->get(),
                                     n_nodes, space->get(), stream);
  };
  cases.add(c);

  const int64_t n_lists = w.n_items(), width = sized(50, 5);
  std::vector<int64_t> listed(static_cast<size_t>(n_lists * width));
  for (size_t t = 0; t < listed.size(); ++t) listed[t] = static_cast<int64_t>(t * 7919 % static_cast<size_t>(n_nodes));
  auto ids = holding(listed);
  auto weights = uniform<float>(n_lists * width, 18), pooled = empty<float>(n_lists * dim);
  c.name = "neighbor_pool";
  c.sizes = std::to_string(n_lists) + " x " + std::to_string(width) + " rows of " + std::to_string(n_nodes) + ", d=64";
  c.bytes = static_cast<double>(n_lists * width) * (12 + 4 * dim) + static_cast<double>(n_lists * dim) * 4;
  c.predicted_us = 90;  // rows from L2
  c.run = [=](void* stream) {
    cuda::neighbor_pool<float>(emb->get(), n_nodes, dim, ids->get(), weights->get(), n_lists, width, pooled->get(),
                               stream);
  };
  cases.add(c);

  auto loss = empty<float>(1);
  auto panels = empty<double>(column_panels(dim));
  auto sums = workspace(l2_loss_workspace_bytes(count, dim));
  c = Case();
  c.name = "l2_loss";
  c.sizes = std::to_string(count) + " rows, d=64";
  c.bytes = static_cast<double>(count) * (8 + 4 * dim);
  c.run = [=](void* stream) {
    cuda::l2_loss<float>(emb->get(), n_nodes, dim, nodes->get(), count, panels->get(), loss->get(), sums->get(),
                         stream);
  };
  cases.add(c);

  auto grad = uniform<float>(n, 9), exp_avg = zeros<float>(n), exp_avg_sq = zeros<float>(n),
       param = uniform<float>(n, 10);
  auto step = holding(std::vector<int64_t>{1});
  auto lr = holding(std::vector<double>{1e-3});
  c = Case();
  c.name = "adam_step";
  c.sizes = std::to_string(n) + " values";
  c.data = "HBM";
  c.bytes = 28.0 * static_cast<double>(n);
  c.predicted_us = 47.5;  // 45 to 50
  c.run = [=](void* stream) {
    cuda::adam_step<float>(param->get(), grad->get(), exp_avg->get(), exp_avg_sq->get(), n, step->get(), lr->get(),
                           {0.9, 0.999, 1e-8, 0.0}, stream);
  };
  cases.add(c);
});

// PinSAGE's layer W [64, 128] on as many rows as gowalla has items, and on those of a batch; its gradient.
const Registered layers(40, "dense, outer_sum", [](Cases& cases) {
  constexpr int64_t inputs = 128, outputs = 64;
  constexpr double flop_per_us = 67e6 / 2;  // half the rate of FFMA: few tiles for so many multiprocessors
  for (const int64_t n : {sized(40981, 70), sized(20480, 33)}) {
    auto x = uniform<float>(n * inputs, 11), weights = uniform<float>(outputs * inputs, 12),
         b = uniform<float>(outputs, 13);
    auto y = empty<float>(n * outputs);
    auto space = workspace(cuda::dense_workspace_bytes(inputs, outputs, sizeof(float)));
    Case c;
    c.name = "dense n=" + std::to_string(n);
    c.sizes = "128 -> 64";
    c.bytes = static_cast<double>(n * (inputs + outputs)) * 4;
    c.work = 2.0 * static_cast<double>(n * inputs * outputs);
    c.unit = "FLOP";
    c.predicted_us = c.work / flop_per_us;
    c.run = [=](void* stream) {
      cuda::dense<float>(x->get(), weights->get(), inputs, 1, b->get(), n, inputs, outputs, y->get(), space->get(),
                         stream);
    };
    cases.add(c);

    auto grad = uniform<float>(n * outputs, 14), product = empty<float>(outputs * inputs), sums = empty<float>(outputs);
    auto parts = workspace(outer_sum_workspace_bytes(n, outputs, inputs, sizeof(float)));
    c.name = "outer_sum n=" + std::to_string(n);
    c.sizes = "[64, 128]";
    c.predicted_us *= 2;  // 128 blocks, then the sums of columns and of the parts
    c.run = [=](void* stream) {
      cuda::outer_sum<float>(grad->get(), x->get(), n, outputs, inputs, product->get(), sums->get(), parts->get(),
                             stream);
    };
    cases.add(c);
  }
});

}  // namespace
}  // namespace fgr::gpu
