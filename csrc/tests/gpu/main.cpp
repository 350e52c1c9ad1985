// gpu_main: whether every kernel is right, and how fast it is, on this machine's GPU; without Python.
//   gpu_main check [...]   see check.cpp
//   gpu_main time [...]    see time.cpp
#include "tests/gpu/main.h"

#include <cstdio>
#include <cstring>
#include <exception>

int main(int argc, char** argv) {
  try {
    if (argc > 1 && std::strcmp(argv[1], "check") == 0) return fgr::gpu::check_main(argc - 1, argv + 1);
    if (argc > 1 && std::strcmp(argv[1], "time") == 0) return fgr::gpu::time_main(argc - 1, argv + 1);
  } catch (const std::exception& error) {
    std::printf("gpu_main: %s\n", error.what());
    return 2;
  }
  std::printf(
      "usage: gpu_main check [--small] [--only SUBSTRING] [--seed N] | gpu_main time "
      "[--data FILE] [--json FILE] [--only SUBSTRING] [--seconds N]\n");
  return 2;
}
