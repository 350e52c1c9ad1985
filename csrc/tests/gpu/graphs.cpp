#include "tests/gpu/graphs.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>

#include "fgr/build.h"

namespace fgr::gpu {
namespace {

constexpr int threads = 8;

HostCsr csr_of(int64_t n_rows, size_t n_edges, bool weighted) {
  HostCsr csr;
  csr.indptr.resize(static_cast<size_t>(n_rows) + 1);
  csr.indices.resize(n_edges);
  csr.weight.resize(weighted ? n_edges : 0);
  return csr;
}
float* data_or_null(std::vector<float>& x) { return x.empty() ? nullptr : x.data(); }
HostCsr transpose(const HostCsr& in, int64_t n_cols) {
  HostCsr out = csr_of(n_cols, in.indices.size(), !in.weight.empty());
  cpu::transpose(in.view(n_cols), out.indptr.data(), out.indices.data(), data_or_null(out.weight), threads);
  return out;
}

}  // namespace

// As core/csr.py: by item, transposed, so that rows are sorted; then duplicates are neighbours.
HostGraph::HostGraph(int64_t users_, int64_t items_, const std::vector<int32_t>& edge_users,
                     const std::vector<int32_t>& edge_items, const std::vector<float>& weight)
    : n_users(users_), n_items(items_) {
  HostCsr by_item = csr_of(n_items, edge_users.size(), !weight.empty());
  cpu::bucket_edges<int32_t>(edge_items.data(), edge_users.data(), weight.empty() ? nullptr : weight.data(),
                             static_cast<int64_t>(edge_users.size()), n_items, by_item.indptr.data(),
                             by_item.indices.data(), data_or_null(by_item.weight), threads);
  users = transpose(by_item, n_users);
  const int64_t kept =
      cpu::merge_duplicates(users.indptr.data(), users.indices.data(), data_or_null(users.weight), n_users);
  users.indices.resize(static_cast<size_t>(kept));
  if (!users.weight.empty()) users.weight.resize(static_cast<size_t>(kept));
  items = transpose(users, n_items);
  cpu::check_csr(users.indptr.data(), users.indices.data(), n_users, n_items, kept);
  make_schedule(heavy_degree, part_edges);
}

// core/graph.py's _make_schedule.
void HostGraph::make_schedule(int64_t more_is_heavy, int64_t edges_of_a_part) {
  heavy_from = more_is_heavy;
  part_size = edges_of_a_part;
  for (std::vector<int32_t>* list : {&split_node, &split_part, &heavy}) list->clear();
  std::vector<int64_t> nodes;
  for (int64_t node = 0; node < n_nodes(); ++node) {
    if (degree(node) > heavy_from) nodes.push_back(node);
  }
  std::stable_sort(nodes.begin(), nodes.end(), [&](int64_t a, int64_t b) { return degree(a) > degree(b); });
  for (const int64_t node : nodes) {
    const int64_t parts = (degree(node) - 1) / part_size + 1;
    if (parts == 1) heavy.push_back(static_cast<int32_t>(node));
    for (int64_t part = 0; parts > 1 && part < parts; ++part) {
      split_node.push_back(static_cast<int32_t>(node));
      split_part.push_back(static_cast<int32_t>(part));
    }
  }
}

Schedule HostGraph::schedule() const {
  return {split_node.data(),
          split_part.data(),
          heavy.data(),
          static_cast<int64_t>(split_node.size()),
          static_cast<int64_t>(heavy.size()),
          heavy_from,
          part_size};
}

HostGraph power_law_graph(int64_t n_users, int64_t n_items, int64_t most, bool weighted, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto unit = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  std::vector<int32_t> users, items, all(static_cast<size_t>(n_items));
  std::iota(all.begin(), all.end(), 0);
  for (int64_t user = 0; user < n_users; ++user) {
    if (user % 7 == 5) continue;  // no edges
    const int64_t wanted = std::max<int64_t>(
        1, static_cast<int64_t>(static_cast<double>(most) / std::pow(static_cast<double>(user) + 1, 1.1)));
    const bool dense = 4 * wanted > n_items;  // drawn without replacement, so that the degree is exact
    for (int64_t e = 0; e < std::min(wanted, n_items); ++e) {
      int64_t item = static_cast<int64_t>(std::pow(unit(), 2.5) * static_cast<double>(n_items));
      if (dense) {
        std::swap(all[static_cast<size_t>(e)],
                  all[static_cast<size_t>(e + static_cast<int64_t>(random() % static_cast<uint64_t>(n_items - e)))]);
        item = all[static_cast<size_t>(e)];
      }
      users.push_back(static_cast<int32_t>(user));
      items.push_back(static_cast<int32_t>(item));
    }
  }
  std::vector<float> weight(weighted ? users.size() : 0);
  for (float& w : weight) w = 0.5f + 0.125f * static_cast<float>(random() % 13);
  return HostGraph(n_users, n_items, users, items, weight);
}

HostGraph read_graph(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error(file + ": cannot be read");
  std::vector<int32_t> users, items;
  int32_t n_users = 0, n_items = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    int32_t user, item;
    if (!(words >> user)) continue;
    n_users = std::max(n_users, user + 1);
    while (words >> item) {
      n_items = std::max(n_items, item + 1);
      users.push_back(user);
      items.push_back(item);
    }
  }
  return HostGraph(n_users, n_items, users, items);
}

}  // namespace fgr::gpu
