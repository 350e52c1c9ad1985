#include "fgr/huge_pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fgr::cpu {

bool advise_huge_pages(uintptr_t begin, uintptr_t end, bool now) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = uintptr_t{2} << 20;
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (begin >= end) return false;
  void* const at = reinterpret_cast<void*>(begin);
  if (madvise(at, end - begin, MADV_HUGEPAGE) != 0) return false;
  constexpr int collapse = 25;  // MADV_COLLAPSE, which the system has from 6.1 and older headers do not name
  return !now || madvise(at, end - begin, collapse) == 0;
#else
  return false;
#endif
}

}  // namespace fgr::cpu
