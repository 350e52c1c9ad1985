#include "fgr/text_lines.h"

#include <cstring>
#include <limits>

#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

constexpr int64_t rows_of_a_look = 1 << 16;  // between two looks for an interrupt

// The columns that one line after the other is put into.
class Rows {
 public:
  Rows(const TextColumn* columns, int64_t n_columns) : columns_(columns), n_columns_(n_columns) {
    for (int64_t c = 0; c < n_columns; ++c) columns[c].offsets[0] = 0;
  }
  void begin_field(int64_t place) {
    wanted_ = column_ < n_columns_ && columns_[column_].place == place;
    if (wanted_) end_ = columns_[column_].offsets[n_rows_];
  }
  void add(const char* begin, const char* end) {
    if (!wanted_) return;
    std::memcpy(columns_[column_].bytes + end_, begin, static_cast<size_t>(end - begin));
    end_ += static_cast<int32_t>(end - begin);
  }
  void end_field() {
    if (wanted_) columns_[column_++].offsets[n_rows_ + 1] = end_;
  }
  void end_line() {
    ++n_rows_;
    column_ = 0;
  }
  int64_t size() const { return n_rows_; }

 private:
  const TextColumn* columns_;
  int64_t n_columns_;
  int64_t column_ = 0;  // the next one
  int64_t n_rows_ = 0;
  int32_t end_ = 0;  // of the texts of this column
  bool wanted_ = false;
};

bool starts_with(const char* p, const char* end, std::string_view text) {
  return p < end && *p == text[0] && static_cast<size_t>(end - p) >= text.size() &&
         (text.size() == 1 || std::memcmp(p, text.data(), text.size()) == 0);
}

// The bytes of the line end at p, 0 where there is none.
int64_t line_end(const char* p, const char* end) {
  return p == end ? 0 : *p == '\n' ? 1 : *p == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 0;
}

}  // namespace

int64_t split_lines(const char* bytes, int64_t n, const LineForm& form, const TextColumn* columns, int64_t n_columns) {
  const std::string_view sep = form.sep;
  bool stops[256] = {};  // what may end a field
  for (const char c : {sep[0], '\n', '\r', '\0', form.quoted ? '"' : '\n'}) stops[static_cast<unsigned char>(c)] = true;
  Rows rows(columns, n_columns);
  const char *p = bytes, *const end = bytes + n;
  const auto run = [&] {  // to the next that stops
    while (p < end && !stops[static_cast<unsigned char>(*p)]) ++p;
  };
  while (p < end) {
    if (const int64_t blank = line_end(p, end); blank > 0) {
      p += blank;
      continue;
    }
    if (rows.size() % rows_of_a_look == 0) throw_if_interrupted();
    const char* const line = p;
    for (int64_t place = 0;; ++place) {
      rows.begin_field(place);
      if (form.quoted && p < end && *p == '"') {
        for (bool twice = false;; twice = true) {
          const char* const begin = p + (twice ? 0 : 1);  // the second one of two stands for both
          for (++p; p < end && *p != '"'; ++p) {
            if (*p == '\n' || *p == '\r' || *p == '\0') return -1;
          }
          if (p == end) return -1;
          rows.add(begin, p++);
          if (p == end || *p != '"') break;
        }
      } else {
        const char* const begin = p;
        for (run(); p < end && *p == sep[0] && !starts_with(p, end, sep); run()) ++p;
        rows.add(begin, p);
      }
      rows.end_field();
      if (starts_with(p, end, sep)) {
        p += sep.size();
        continue;
      }
      const int64_t last = line_end(p, end);
      if ((last == 0 && p < end) || place + 1 != form.width || p - line > form.longest) return -1;
      p += last;
      break;
    }
    rows.end_line();
  }
  return rows.size();
}

bool whole_numbers(const int32_t* offsets, const char* bytes, int64_t n, int64_t* out) {
  for (int64_t r = 0; r < n; ++r) {
    const char *p = bytes + offsets[r], *const end = bytes + offsets[r + 1];
    const bool negative = p < end && *p == '-';
    p += negative;
    const int64_t digits = end - p;
    if (digits < 1 || digits > 19 || (*p == '0' && (digits > 1 || negative))) return false;
    uint64_t value = 0;
    for (; p < end; ++p) {
      const unsigned digit = static_cast<unsigned char>(*p) - unsigned{'0'};
      if (digit > 9) return false;
      value = 10 * value + digit;
    }
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + negative) return false;
    out[r] = static_cast<int64_t>(negative ? -value : value);
  }
  return true;
}

bool short_decimals(const int32_t* offsets, const char* bytes, int64_t n, double* out) {
  static constexpr double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
  for (int64_t r = 0; r < n; ++r) {
    const char *p = bytes + offsets[r], *const end = bytes + offsets[r + 1];
    const bool negative = p < end && *p == '-';
    p += negative;
    const char* const begin = p;
    const char* point = nullptr;
    int64_t value = 0;
    for (; p < end; ++p) {
      if (*p == '.' && point == nullptr && p > begin) {
        point = p;
        continue;
      }
      const unsigned digit = static_cast<unsigned char>(*p) - unsigned{'0'};
      if (digit > 9 || p - begin > 15) return false;
      value = 10 * value + digit;
    }
    const int64_t fraction = point == nullptr ? 0 : end - point - 1, digits = end - begin - (point != nullptr);
    if (digits < 1 || digits > 15 || (point != nullptr && fraction < 1)) return false;
    const double number = static_cast<double>(value) / tens[fraction];  // of two exact numbers: rounded once
    out[r] = negative ? -number : number;
  }
  return true;
}

}  // namespace fgr::cpu
