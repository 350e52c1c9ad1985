// Lines of text and numbers: what was written is read, in buffers of exactly the sizes that the contracts name, and
// what is doubtful is refused.
#include "fgr/text_lines.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support.h"

namespace fgr::tests {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// The columns at places, row by row.
std::optional<Rows> split(const std::string& text, const cpu::LineForm& form, const std::vector<int64_t>& places) {
  const int64_t n = static_cast<int64_t>(text.size());
  Buffer<char> bytes(n);
  std::copy(text.begin(), text.end(), bytes.data);
  std::vector<std::unique_ptr<Buffer<int32_t>>> offsets;
  std::vector<std::unique_ptr<Buffer<char>>> data;
  std::vector<cpu::TextColumn> columns;
  for (const int64_t place : places) {
    offsets.push_back(std::make_unique<Buffer<int32_t>>(n / form.width + 2));
    data.push_back(std::make_unique<Buffer<char>>(n));
    columns.push_back({place, *offsets.back(), *data.back()});
  }
  const int64_t n_rows = cpu::split_lines(bytes, n, form, columns.data(), static_cast<int64_t>(columns.size()));
  if (n_rows < 0) return std::nullopt;
  Rows rows(static_cast<size_t>(n_rows));
  for (size_t r = 0; r < rows.size(); ++r) {
    for (const cpu::TextColumn& column : columns) {
      rows[r].emplace_back(column.bytes + column.offsets[r], column.bytes + column.offsets[r + 1]);
    }
  }
  return rows;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

void test_what_was_written(const std::string& sep, bool quotes, int64_t width, unsigned seed) {
  std::mt19937 rng(seed);
  const std::vector<std::string> fields = {"", "a", "\xc3\xa9 b", "12", "a longer one than the others"};
  const std::vector<std::string> marked = {"\"", sep, "x\"\"y", "\"" + sep + "\"", ""};
  std::vector<int64_t> places;
  for (int64_t place = 0; place < width; ++place) {
    if (rng() % 2 == 0) places.push_back(place);
  }
  std::string text;
  Rows expected;
  for (unsigned row = 0, n = rng() % 40; row < n; ++row) {
    if (row > 0) text += rng() % 2 == 0 ? "\n" : "\r\n";
    for (unsigned blank = rng() % 8; blank > 5; --blank) text += blank == 7 ? "\n" : "\r\n";
    expected.emplace_back();
    for (int64_t place = 0; place < width; ++place) {
      const bool mark = quotes && rng() % 3 == 0;
      const std::string field = (mark ? marked : fields)[rng() % 5];
      text += (place > 0 ? sep : "") + (mark ? quoted(field) : field);
      if (std::find(places.begin(), places.end(), place) != places.end()) expected.back().push_back(field);
    }
  }
  if (rng() % 2 == 0) text += "\n";
  CHECK(split(text, {sep, quotes, width, 1 << 16}, places) == expected);
}

void test_what_is_doubtful() {
  const cpu::LineForm quotes{",", true, 2, 20}, none{",", false, 2, 20};
  for (const std::string text :
       {"a", "a,b,c", "a,b\nc", "a,b\rc,d", "a,b\r", "a,\"b", "a,\"b\n\"", "a,\"b\r\n\"", "a\"b,c", "\"a\"b,c",
        "\"a\" ,b", "a,\"b\"\"", "\"a\"\rb", "012345678901234567890,a"}) {
    CHECK(!split(text, quotes, {0, 1}).has_value());
  }
  CHECK(!split(std::string("a\0,b", 4), none, {0}).has_value());
  CHECK(!split(std::string("a,\"\0\"", 5), quotes, {0}).has_value());
  CHECK(split("a,\"b\nc\"d,", none, {1}) == (Rows{{"\"b"}, {""}}));
  CHECK(split("", quotes, {0}) == Rows{} && split("\n\r\n\n", quotes, {0}) == Rows{});
  CHECK(split("0123456789,012345678\n", none, {1}) == (Rows{{"012345678"}}));
  std::mt19937 rng(7);
  for (int round = 0; round < 20000; ++round) {  // whatever comes is read within its bytes
    std::string text;
    for (unsigned n = rng() % 12; n > 0; --n) text += "a,\"\n\r:"[rng() % 7];
    split(text, {round % 3 == 0 ? "::" : ",", round % 2 == 0, 1 + round % 3, 9}, {0});
  }
}

template <class T>
std::optional<T> number(const std::string& text, bool (*parse)(const int32_t*, const char*, int64_t, T*)) {
  const int64_t n = static_cast<int64_t>(text.size());
  Buffer<char> bytes(n);
  std::copy(text.begin(), text.end(), bytes.data);
  Buffer<int32_t> offsets(2);
  Buffer<T> out(1);
  offsets[0] = 0, offsets[1] = static_cast<int32_t>(n);
  return parse(offsets, bytes, 1, out) ? std::optional<T>(out[0]) : std::nullopt;
}

void test_numbers() {
  for (const char* text :
       {"0", "7", "-1", "10", "9223372036854775807", "-9223372036854775808", "1000000000000000000"}) {
    CHECK(number(text, cpu::whole_numbers) == std::optional<int64_t>(std::strtoll(text, nullptr, 10)));
  }
  for (const char* text :
       {"", "-", "-0", "00", "07", "-07", "+7", " 7", "7 ", "7.0", "1e3", "0x1", "9223372036854775808",
        "-9223372036854775809", "99999999999999999999", "18446744073709551617", "7-"}) {
    CHECK(!number(text, cpu::whole_numbers).has_value());
  }
  for (const char* text : {"", "-", ".", "-.", "5.", ".5", "1.2.3", "+1", "1e3", "nan", "inf", " 1", "1 ", "1_0",
                           "1234567890123456", "0.123456789012345", "--1", "1.-2"}) {
    CHECK(!number(text, cpu::short_decimals).has_value());
  }
  std::mt19937_64 rng(3);
  for (int round = 0; round < 20000; ++round) {
    std::string text = std::to_string(rng() >> (14 + rng() % 50));
    if (text.size() > 15) text.resize(15);
    if (rng() % 2 == 0 && text.size() > 1) text.insert(1 + rng() % (text.size() - 1), ".");
    if (rng() % 3 == 0) text = "-" + text;
    const std::optional<double> found = number(text, cpu::short_decimals);
    CHECK(found == std::optional<double>(std::strtod(text.c_str(), nullptr)));
    CHECK(std::signbit(*found) == (text[0] == '-'));
  }
}

}  // namespace

void test_text_lines() {
  for (unsigned seed = 0; seed < 200; ++seed) {
    for (const int64_t width : {2, 5}) {
      test_what_was_written(",", true, width, seed);
      test_what_was_written("\t", false, width, seed);
      test_what_was_written("::", false, width, seed);
      test_what_was_written("\xc2\xa6", true, width, seed);
    }
  }
  test_what_is_doubtful();
  test_numbers();
}

}  // namespace fgr::tests
