#include "tests/gpu/nodes.h"

#include <cxxabi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <stdexcept>

#include "tests/gpu/replay.h"

namespace fgr::gpu {

#if defined(FGR_EMULATE)

std::vector<NodeTime> node_times(const std::function<void(void*)>&, void*) { return {}; }

#else

namespace {

constexpr int calls = 10;  // of the graph's beginning, in one that is replayed
constexpr int rounds = 5;

std::string name_of(cudaGraphNode_t node) {
  cudaGraphNodeType type{};
  check(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
  if (type == cudaGraphNodeTypeMemset) return "memset";
  if (type == cudaGraphNodeTypeMemcpy) return "memcpy";
  if (type != cudaGraphNodeTypeKernel) return "node of type " + std::to_string(static_cast<int>(type));
  cudaKernelNodeParams params{};
  const char* mangled = nullptr;
  if (cudaGraphKernelNodeGetParams(node, &params) != cudaSuccess ||
      cudaFuncGetName(&mangled, params.func) != cudaSuccess || mangled == nullptr) {
    cudaGetLastError();
    return "kernel";
  }
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> demangled(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                         &std::free);
  std::string name = demangled != nullptr ? demangled.get() : mangled;
  for (const char* scope : {"(anonymous namespace)::", "fgr::cuda::", "fgr::", "void "}) {
    const std::string what = scope;
    for (size_t at = name.find(what); at != std::string::npos; at = name.find(what)) name.erase(at, what.size());
  }
  return name.substr(0, name.find('('));
}

// The nodes, none of them before one that it waits for.
std::vector<cudaGraphNode_t> ordered_nodes(const Graph& graph) {
  size_t n = 0, n_edges = 0;
  check(cudaGraphGetNodes(graph.get(), nullptr, &n), "cudaGraphGetNodes");
  std::vector<cudaGraphNode_t> nodes(n);
  check(cudaGraphGetNodes(graph.get(), nodes.data(), &n), "cudaGraphGetNodes");
  check(cudaGraphGetEdges(graph.get(), nullptr, nullptr, nullptr, &n_edges), "cudaGraphGetEdges");
  std::vector<cudaGraphNode_t> from(n_edges), to(n_edges);
  std::vector<cudaGraphEdgeData> data(n_edges);
  check(cudaGraphGetEdges(graph.get(), from.data(), to.data(), data.data(), &n_edges), "cudaGraphGetEdges");
  std::map<cudaGraphNode_t, size_t> place;
  for (size_t i = 0; i < n; ++i) place[nodes[i]] = i;
  for (size_t e = 0; e < n_edges; ++e) {
    if (place.at(from[e]) >= place.at(to[e])) throw std::runtime_error("the graph's nodes are not in an order");
  }
  return nodes;
}

// Microseconds of the first `count` nodes.
double microseconds_of_first(const Graph& whole, const std::vector<cudaGraphNode_t>& nodes, size_t count,
                             void* stream) {
  cudaGraph_t made = nullptr;
  check(cudaGraphClone(&made, whole.get()), "cudaGraphClone");
  const Graph first(made);
  for (size_t i = nodes.size(); i > count; --i) {
    cudaGraphNode_t node = nullptr;
    check(cudaGraphNodeFindInClone(&node, nodes[i - 1], first.get()), "cudaGraphNodeFindInClone");
    check(cudaGraphDestroyNode(node), "cudaGraphDestroyNode");
  }
  check(cudaGraphCreate(&made, 0), "cudaGraphCreate");
  const Graph repeated(made);
  cudaGraphNode_t last = nullptr;
  for (int i = 0; i < calls; ++i) {
    cudaGraphNode_t next = nullptr;
    check(cudaGraphAddChildGraphNode(&next, repeated.get(), &last, i > 0 ? 1 : 0, first.get()),
          "cudaGraphAddChildGraphNode");
    last = next;
  }
  Replay replay(repeated, calls, stream);
  std::array<double, rounds> us{};
  for (double& one : us) one = replay.microseconds(true);
  std::sort(us.begin(), us.end());
  return us[rounds / 2];
}

}  // namespace

std::vector<NodeTime> node_times(const std::function<void(void*)>& run, void* stream) {
  const Graph whole = captured(run, 1, stream);
  const std::vector<cudaGraphNode_t> nodes = ordered_nodes(whole);
  std::vector<NodeTime> times;
  double before = 0;
  for (size_t count = 1; count <= nodes.size(); ++count) {
    const double us = microseconds_of_first(whole, nodes, count, stream);
    times.push_back({name_of(nodes[count - 1]), us - before});
    before = us;
  }
  return times;
}

#endif

}  // namespace fgr::gpu
