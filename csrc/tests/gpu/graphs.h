// Graphs for the programs that test kernels on a device: made up, or read from a file; on the host, then on the device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fgr/types.h"
#include "tests/gpu/device.h"

namespace fgr::gpu {

// As core/graph.py's; a row is heavy with more than heavy_degree edges, split with more than part_edges.
constexpr int64_t heavy_degree = 128, part_edges = 4096;

struct HostCsr {
  std::vector<int64_t> indptr;
  std::vector<int32_t> indices;
  std::vector<float> weight;  // empty: none
  Csr view(int64_t n_cols) const {
    return {indptr.data(), indices.data(), weight.empty() ? nullptr : weight.data(),
            static_cast<int64_t>(indptr.size()) - 1, n_cols};
  }
};

struct HostGraph {
  int64_t n_users, n_items;
  HostCsr users, items;                                // R and its transpose
  std::vector<int32_t> split_node, split_part, heavy;  // the schedule
  int64_t heavy_from, part_size;                       // its heavy_degree and part_edges

  // Duplicate edges are merged, their weights added; weight may be empty. Scheduled by heavy_degree and part_edges.
  HostGraph(int64_t n_users, int64_t n_items, const std::vector<int32_t>& edge_users,
            const std::vector<int32_t>& edge_items, const std::vector<float>& weight = {});
  int64_t n_nodes() const { return n_users + n_items; }
  int64_t n_edges() const { return static_cast<int64_t>(users.indices.size()); }
  int64_t degree(int64_t node) const {
    const std::vector<int64_t>& indptr = node < n_users ? users.indptr : items.indptr;
    const size_t row = static_cast<size_t>(node < n_users ? node : node - n_users);
    return indptr[row + 1] - indptr[row];
  }
  Schedule schedule() const;
  Bipartite view() const { return {users.view(n_items), items.view(n_users), schedule()}; }
  // Rows are heavy and split by other bounds: a small graph can have all kinds of them.
  void make_schedule(int64_t more_is_heavy, int64_t edges_of_a_part);
};

// User u has an edge to about most / (u + 1)^1.1 items, some users to none; items are drawn so that few are popular.
// Weights are multiples of 1/8 in [1/2, 2].
HostGraph power_law_graph(int64_t n_users, int64_t n_items, int64_t most, bool weighted, uint64_t seed);

// "user item item ..." a line, as gowalla's train.txt is.
HostGraph read_graph(const std::string& file);

struct DeviceCsr {
  Buffer<int64_t> indptr;
  Buffer<int32_t> indices;
  Buffer<float> weight;
  explicit DeviceCsr(const HostCsr& from) : indptr(from.indptr), indices(from.indices), weight(from.weight) {}
  Csr view(int64_t n_cols) const { return {indptr.get(), indices.get(), weight.get(), indptr.size() - 1, n_cols}; }
};

struct DeviceGraph {
  DeviceCsr users, items;
  Buffer<int32_t> split_node, split_part, heavy;
  int64_t heavy_from, part_size;
  explicit DeviceGraph(const HostGraph& from)
      : users(from.users),
        items(from.items),
        split_node(from.split_node),
        split_part(from.split_part),
        heavy(from.heavy),
        heavy_from(from.heavy_from),
        part_size(from.part_size) {}
  Bipartite view() const {
    const int64_t n_users = users.indptr.size() - 1, n_items = items.indptr.size() - 1;
    return {users.view(n_items),
            items.view(n_users),
            {split_node.get(), split_part.get(), heavy.get(), split_node.size(), heavy.size(), heavy_from, part_size}};
  }
};

}  // namespace fgr::gpu
