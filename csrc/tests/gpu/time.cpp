// Times of the kernels.
#include <cstdio>

#include "tests/gpu/main.h"

namespace fgr::gpu {

int time_main(int, char**) {
  std::printf("gpu_main time: nothing is timed yet\n");
  return 2;
}

}  // namespace fgr::gpu
