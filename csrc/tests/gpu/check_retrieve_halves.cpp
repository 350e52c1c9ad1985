// Retrieval that begins with scores in halves gives what retrieval in float alone gives, to the bit, whatever the
// vectors are like. Who does not allow a copy of the items, by asking for less than all of them at once, gets the
// latter.
#include <cmath>
#include <limits>

#include "fgr/retrieve.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct Vectors {
  std::string name;
  int64_t n_queries, n_items, dim, k;
  bool cosine = false, subset = false;
  const TestGraph* exclude = nullptr;
};
using Change = void (*)(std::vector<float>& queries, std::vector<float>& items, int64_t dim);

void check_same(Checks& checks, const Vectors& c, Change change) {
  const std::string name = "retrieve<float> in halves, " + c.name + ": queries=" + std::to_string(c.n_queries) +
                           " items=" + std::to_string(c.n_items) + " dim=" + std::to_string(c.dim) +
                           " k=" + std::to_string(c.k);
  Random random = checks.random(name);
  auto queries = random.uniform<float>(c.n_queries * c.dim), items = random.uniform<float>(c.n_items * c.dim);
  change(queries, items, c.dim);
  std::vector<int64_t> subset;
  for (int64_t i = 0; c.subset && i < c.n_items; ++i) {
    if (random.below(3) != 0) subset.push_back(i);
  }
  checks.run(name, [&](auto& on) {
    int64_t* differing = on.template out<int64_t>("entries that differ", 1, exact);
    if constexpr (std::decay_t<decltype(on)>::on_device) {
      Retrieval<float> job{};
      job.queries = on.in(queries);
      job.items = on.in(items);
      job.n_queries = job.queries_at_once = c.n_queries;
      job.n_items = c.n_items;
      job.dim = c.dim;
      job.cosine = c.cosine;
      job.subset = on.in(subset);
      job.n_candidates = c.subset ? static_cast<int64_t>(subset.size()) : c.n_items;
      if (c.exclude != nullptr) job.exclude = on.graph(*c.exclude).users;
      job.k = c.k;
      const auto n = static_cast<size_t>(c.n_queries * c.k);
      std::vector<int64_t> ids[2] = {std::vector<int64_t>(n), std::vector<int64_t>(n)};
      std::vector<float> scores[2] = {std::vector<float>(n), std::vector<float>(n)};
      for (const int in_float : {0, 1}) {
        job.items_at_once = job.n_candidates - in_float;
        auto* some_ids = static_cast<int64_t*>(on.workspace(c.n_queries * c.k * 8));
        auto* some_scores = static_cast<float*>(on.workspace(c.n_queries * c.k * 4));
        cuda::retrieve<float>(job, some_ids, some_scores, on.workspace(cuda::retrieve_workspace_bytes(job)),
                              on.where());
        copy(ids[in_float].data(), some_ids, c.n_queries * c.k * 8);
        copy(scores[in_float].data(), some_scores, c.n_queries * c.k * 4);
      }
      int64_t count = 0;
      for (size_t i = 0; i < n; ++i) {
        count += ids[0][i] != ids[1][i] || std::memcmp(&scores[0][i], &scores[1][i], sizeof(float)) != 0;
      }
      copy(differing, &count, sizeof count);
    } else {
      *differing = 0;
    }
  });
}

void as_they_are(std::vector<float>&, std::vector<float>&, int64_t) {}
// Norms from 2^-20 to 2^19, as popular items and rare ones may have them; every seventh row is zeros.
void of_all_lengths(std::vector<float>& queries, std::vector<float>& items, int64_t dim) {
  for (auto* rows : {&queries, &items}) {
    for (size_t i = 0; i < rows->size(); ++i) {
      const auto r = static_cast<int64_t>(i) / dim;
      (*rows)[i] = r % 7 == 3 ? 0.0f : std::ldexp((*rows)[i], static_cast<int>(r * 13 % 40) - 20);
    }
  }
}
// All items within what halves can tell apart, many of them equal.
void nearly_equal(std::vector<float>&, std::vector<float>& items, int64_t dim) {
  for (size_t i = 0; i < items.size(); ++i) {
    const auto r = static_cast<int64_t>(i) / dim, c = static_cast<int64_t>(i) % dim;
    items[i] = std::sin(static_cast<float>(c)) + (r % 3 == 0 ? 0.0f : 1e-5f * items[i]);
  }
}
// Numbers so small that products are subnormal or vanish.
void vanishing(std::vector<float>& queries, std::vector<float>& items, int64_t) {
  for (float& x : queries) x *= 0x1p-70f;
  for (float& x : items) x *= 0x1p-76f;
}
// Numbers so large that sums are infinite, and infinities: no halves can hold them.
void overflowing(std::vector<float>& queries, std::vector<float>& items, int64_t dim) {
  for (float& x : queries) x = std::fabs(x) * 0x1p80f;
  for (float& x : items) x = std::fabs(x) * 0x1p40f;
  items[static_cast<size_t>(5 * dim)] = std::numeric_limits<float>::infinity();
}

}  // namespace

void check_retrieve_halves(Checks& checks) {
  const bool small = checks.small();
  const TestGraph medium(power_law_graph(60, 300, 298, false, 4));
  const int64_t n = small ? 9 : 500, m = small ? 700 : 20000;
  for (const int64_t dim : checks.dims()) check_same(checks, {"uniform", n, m, dim, 20}, as_they_are);
  check_same(checks, {"all lengths", n, m, 64, 20}, of_all_lengths);
  check_same(checks, {"all lengths, cosine", n, m, 72, 20, true, true}, of_all_lengths);
  check_same(checks, {"nearly equal", n, m, 48, 20}, nearly_equal);
  check_same(checks, {"nearly equal, cosine", small ? 5 : 130, m, 20, 150, true}, nearly_equal);
  check_same(checks, {"vanishing", n, m, 64, 20}, vanishing);
  check_same(checks, {"overflowing", n, small ? 300 : 3000, 64, 20}, overflowing);
  check_same(checks, {"seen ones left out", 60, 300, 24, 20, false, true, &medium}, of_all_lengths);
  check_same(checks, {"more than there are", n, 300, 64, 310}, of_all_lengths);
  check_same(checks, {"many", n, m, 64, small ? 300 : 2000}, as_they_are);
}

}  // namespace fgr::gpu
