// The programs within gpu_main. argv[0] is the program's name; they return the exit code.
#pragma once

namespace fgr::gpu {

int check_main(int argc, char** argv);
int time_main(int argc, char** argv);

}  // namespace fgr::gpu
