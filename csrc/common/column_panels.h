// Sums across columns go by panels of 16 columns, each added up in double, and panels are added in order. So processes
// that share the columns out by whole panels (core/columns.py) find the same bits as one that has them all.
#pragma once

#include "fgr/types.h"

namespace fgr {

constexpr int64_t column_panel = 16;
constexpr int64_t panel_block_rows = 256;  // rows whose products are added up before those of others are added
FGR_HOST_DEVICE constexpr int64_t column_panels(int64_t dim) { return (dim + column_panel - 1) / column_panel; }
constexpr int64_t panel_blocks(int64_t n_rows) { return (n_rows + panel_block_rows - 1) / panel_block_rows; }

}  // namespace fgr
