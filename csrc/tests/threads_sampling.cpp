// Kernels that draw or rank, for threads.cpp.
#include "common/sampling.h"
#include "fgr/nearest_rows.h"
#include "fgr/ppr.h"
#include "fgr/ppr_push.h"
#include "fgr/random_walk.h"
#include "fgr/retrieve.h"
#include "fgr/sample.h"
#include "fgr/select_negatives.h"
#include "fgr/slim.h"
#include "fgr/topk.h"
#include "tests/threads.h"

namespace fgr::tests {

void add_sampling(Inputs& in, Kernels& kernels) {
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

void add_ranking(Inputs& in, Kernels& kernels) {
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
  for (const bool turned : {false, true}) {
    kernels[turned ? "nearest_rows, sapling" : "nearest_rows"] = [&in, turned](int threads) {
      const Csr &items = in.graph.both.items, &users = in.graph.both.users;
      Buffer<double> of(n_items), likeness(n_items * 5), total(n_items);
      Buffer<int32_t> ids(n_items * 5);
      for (int64_t i = 0; i < n_items; ++i) of[i] = static_cast<double>(items.indptr[i + 1] - items.indptr[i]);
      const cpu::Alike alike{turned ? cpu::Likeness::sapling_turned : cpu::Likeness::jaccard, of, of,
                             turned ? static_cast<double>(n_users) : 1.0};
      cpu::nearest_rows({items.indptr, items.indices, nullptr, n_items},
                        {users.indptr, users.indices, nullptr, n_users}, n_items, alike, 0, 5, ids, likeness, total,
                        threads);
      Result result;
      result.add(ids), result.add(likeness), result.add(total);
      return result;
    };
  }
  kernels["slim"] = [&in](int threads) {
    const cpu::Slim slim = cpu::slim(in.graph.both, {0.5, 1.0, 1e-6, 0, 1000}, threads);
    Buffer<int64_t> indptr(n_items + 1);
    Buffer<int32_t> ids(slim.n_entries());
    Buffer<float> values(slim.n_entries());
    slim.copy(indptr, ids, values);
    Result result;
    result.add(indptr), result.add(ids), result.add(values);
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

}  // namespace fgr::tests
