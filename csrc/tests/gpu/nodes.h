// What each node of a captured call takes, whatever the call is made of.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace fgr::gpu {

struct NodeTime {
  std::string name;  // of its kernel, or what else it is
  double us;         // by which the graph up to this node takes longer than the graph up to the one before
};
// None under the emulator, which has no graphs.
std::vector<NodeTime> node_times(const std::function<void(void*)>& run, void* stream);

}  // namespace fgr::gpu
