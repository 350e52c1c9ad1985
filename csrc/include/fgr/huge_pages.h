// Huge pages for tables that hops gather rows from: a row of a table far beyond the caches costs a walk through the
// page tables beside its own lines, and 2 MiB pages are 512 times fewer.
#pragma once

#include <cstdint>

namespace fgr::cpu {

// Asks the system for huge pages in the whole ones between `begin` and `end`; those that hold small pages already are
// exchanged for huge ones with `now`, their values as they are. Returns whether the system agreed: it may still give
// small pages where memory is scarce. False where there are no huge pages, and for a stretch without a whole one.
bool advise_huge_pages(uintptr_t begin, uintptr_t end, bool now);

}  // namespace fgr::cpu
