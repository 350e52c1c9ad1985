// Lines of delimited text to columns, texts to numbers; on the CPU, by one thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace fgr::cpu {

struct LineForm {
  std::string_view sep;  // of one byte or several, none of them a line end or NUL
  bool quoted;           // whether " quotes a field that it begins and ends, in which "" is one
  int64_t width;         // fields of a line
  int64_t longest;       // bytes of a line
};

// Texts as Arrow has them: offsets [n / width + 2], bytes [n], of n bytes that are split.
struct TextColumn {
  int64_t place;  // in the line, from 0
  int32_t* offsets;
  char* bytes;
};

// Splits whole lines, bytes [n], n < 2^31, into columns, whose places ascend; blank lines are left out. Returns the
// number of rows, or -1 where a line has another width or is too long, and where readers differ: NUL, a carriage return
// that ends no line, quotation marks within fields, or quoted line ends.
int64_t split_lines(const char* bytes, int64_t n, const LineForm& form, const TextColumn* columns, int64_t n_columns);

// Whether all texts are integers as Python writes them; then they are in out [n].
bool whole_numbers(const int32_t* offsets, const char* bytes, int64_t n, int64_t* out);

// Whether all texts are [-]digits[.digits] of at most 15 digits; then they are in out [n], correctly rounded.
bool short_decimals(const int32_t* offsets, const char* bytes, int64_t n, double* out);

}  // namespace fgr::cpu
