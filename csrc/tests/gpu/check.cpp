#include "tests/gpu/check.h"

#include <cstdio>

#include "tests/gpu/main.h"

namespace fgr::gpu {

int check_main(int, char**) {
  const HostGraph graph = power_law_graph(200, 300, 200, true, 1);
  const DeviceGraph on_device(graph);
  const bool equal = on_device.users.indices.host() == graph.users.indices;
  std::printf("%s: %lld edges, copied %s\n", device_name().c_str(), static_cast<long long>(graph.n_edges()),
              equal ? "and back" : "wrongly");
  return equal ? 0 : 1;
}

}  // namespace fgr::gpu
