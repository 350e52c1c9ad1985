#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cpu/isa/levels.h"

namespace fgr::cpu {
namespace {

struct Usable {
  const Level* list[3];
  int n = 0;

  Usable() {
    list[n++] = &level_baseline();
#if defined(FGR_HAS_X86_LEVELS)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
    const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    if (v3) list[n++] = &level_v3();
    if (v3 && v4) list[n++] = &level_v4();
#endif
  }
};

const Usable& usable() {
  static const Usable u;
  return u;
}

const Level*& current() {
  static const Level* chosen = usable().list[usable().n - 1];
  return chosen;
}

}  // namespace

const Level& level() { return *current(); }

const Level* const* usable_levels(int* n) {
  *n = usable().n;
  return usable().list;
}

void select_level(const char* name) {
  std::string known;
  for (int i = 0; i < usable().n; ++i) {
    if (std::string(name) == usable().list[i]->name) {
      current() = usable().list[i];
      return;
    }
    known += (i > 0 ? ", " : "") + std::string(usable().list[i]->name);
  }
  throw std::invalid_argument("instruction-set level \"" + std::string(name) +
                              "\" is not available here; choose one of " + known);
}

}  // namespace fgr::cpu
