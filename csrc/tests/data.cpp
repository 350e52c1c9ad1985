// Raw ids and events: against std::map, in buffers of exactly the sizes that the contracts name, and by several
// threads.
#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "cpu/parallel.h"
#include "fgr/events.h"
#include "fgr/id_table.h"
#include "tests/support.h"
#include "tests/threads.h"

namespace fgr::tests {
namespace {

// Batches of integers, of which some come again, some are the outermost of all.
std::vector<int64_t> some_integers(int64_t n, unsigned seed) {
  std::mt19937_64 rng(seed);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t drawn = rng();
    ids.push_back(drawn % 7 == 0   ? std::numeric_limits<int64_t>::min() + static_cast<int64_t>(drawn % 3)
                  : drawn % 7 == 1 ? static_cast<int64_t>(drawn)
                                   : static_cast<int64_t>(drawn % 500) - 250);
  }
  return ids;
}

void test_integers(int64_t n, int threads) {
  cpu::IntegerTable table;
  std::map<int64_t, int32_t> known;
  for (const unsigned seed : {1, 2, 3}) {
    const std::vector<int64_t> ids = some_integers(n, seed);
    Buffer<int32_t> codes(n);
    table.add(ids.data(), n, codes, threads);
    for (int64_t r = 0; r < n; ++r) {
      const auto found = known.emplace(ids[static_cast<size_t>(r)], static_cast<int32_t>(known.size()));
      CHECK(codes[r] == found.first->second);
    }
  }
  CHECK(table.size() == static_cast<int64_t>(known.size()));
  Buffer<int64_t> sorted(table.size());
  Buffer<int32_t> ranks(table.size());
  table.sorted(sorted, ranks);
  int64_t at = 0;
  for (const auto& [id, number] : known) {
    CHECK(sorted[at] == id && ranks[number] == at);
    ++at;
  }
}

template <class O>
void test_texts(int64_t n, int threads) {
  cpu::TextTable table;
  std::map<std::string, int32_t> known;
  for (const int64_t seed : {1, 2}) {
    std::string bytes = "xx";  // offsets need not begin at 0
    Buffer<O> offsets(n + 1);
    std::vector<std::string> texts;
    offsets[0] = 2;
    for (int64_t r = 0; r < n; ++r) {
      std::string text(static_cast<size_t>(r * seed % 21), r % 5 == 0 ? '\0' : static_cast<char>('a' + r % 3));
      text += r % 2 == 0 ? std::to_string(r * seed % 40) : "\xc3\xa9";
      texts.push_back(r % 11 == 0 ? "" : text);
      bytes += texts.back();
      offsets[r + 1] = static_cast<O>(bytes.size());
    }
    Buffer<char> data(static_cast<int64_t>(bytes.size()));
    bytes.copy(data.data, bytes.size());
    Buffer<int32_t> codes(n);
    table.add<O>(offsets, data, n, codes, threads);
    for (int64_t r = 0; r < n; ++r) {
      const auto found = known.emplace(texts[static_cast<size_t>(r)], static_cast<int32_t>(known.size()));
      CHECK(codes[r] == found.first->second);
    }
  }
  CHECK(!table.has("none of them") && (n == 0 || table.has("")));
  for (const auto& [text, number] : known) CHECK(table.has(text));
  Buffer<int32_t> order(table.size());
  table.sorted(order);
  int64_t at = 0;
  for (const auto& [text, number] : known) {
    CHECK(order[at++] == number);
    CHECK(std::string(table.begin(number), table.end(number)) == text);
  }
}

void test_forms() {
  const auto forms = [](std::initializer_list<std::string_view> texts) {
    cpu::TextTable table;
    for (const std::string_view text : texts) {
      const int32_t offsets[] = {0, static_cast<int32_t>(text.size())};
      int32_t code;
      table.add(offsets, text.data(), 1, &code, 1);
    }
    const cpu::TextTable::Forms found = table.forms();
    return std::tuple(found.blank, found.decimal, found.other);
  };
  CHECK(forms({}) == std::tuple(false, false, false) &&
        forms({"", "12", "-7", "007"}) == std::tuple(false, false, false));
  CHECK(forms({"a b", "1.5", "\xc3\xa9", "\xe2\x82\xac"}) == std::tuple(false, false, true));
  CHECK(forms({"7.0", "7"}) == std::tuple(false, true, true));
  for (const std::string_view blank :
       {" ", "\t", "\x1c", "\x1f", "\r", "\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x8a",
        "\xe2\x80\xa8", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"}) {
    const std::string own(blank);
    for (const std::string& text : {own, own + "7", "7" + own, own + "\xc3\xa9", "\xc3\xa9" + own}) {
      CHECK(std::get<0>(forms({"a", text})));
    }
  }
}

template <class I, class R>
void test_events(int64_t n, int64_t n_users, int64_t n_items, bool real, int threads) {
  std::mt19937 rng(static_cast<unsigned>(n + n_users));
  Buffer<I> users(n), items(n);
  Buffer<int64_t> whole(n), indptr(n_users + 1), most(2 * n_users);
  Buffer<double> times(n);
  Buffer<R> rows(n);
  Buffer<uint8_t> part(n);
  std::map<std::pair<int64_t, int64_t>, std::tuple<double, int64_t>> earliest;
  for (int64_t e = 0; e < n; ++e) {
    users[e] = static_cast<I>(rng() % static_cast<unsigned>(n_users) * (rng() % 3) / 2);
    items[e] = static_cast<I>(rng() % static_cast<unsigned>(n_items));
    whole[e] = static_cast<int64_t>(rng() % 5) - 2;
    times[e] = real && whole[e] == 2 ? NAN : static_cast<double>(whole[e]) * (rng() % 2 == 0 ? -0.0 : 1.0);
    const double when = !real ? static_cast<double>(whole[e]) : std::isnan(times[e]) ? INFINITY : times[e];
    const auto found = earliest.emplace(std::pair<int64_t, int64_t>(users[e], items[e]), std::tuple(when, e));
    if (!found.second) found.first->second = std::min(found.first->second, std::tuple(when, e));
    part[e] = 0;
  }
  const cpu::Order time{real ? nullptr : whole.data, real ? times.data : nullptr};
  const int64_t kept = cpu::first_events<I, R>(users, items, time, n, n_users, n_items, rows, indptr, threads);
  CHECK(kept == static_cast<int64_t>(earliest.size()) && indptr[n_users] == kept);
  int64_t at = 0;
  for (const auto& [pair, first] : earliest) {
    CHECK(indptr[pair.first] <= at && at < indptr[pair.first + 1]);
    CHECK(rows[at++] == std::get<1>(first));
  }
  for (int64_t u = 0; u < n_users; ++u) {
    most[u] = u % 4;
    most[n_users + u] = most[u] + u % 3 * 5;
  }
  for (const bool placed : {false, true}) {
    cpu::share_out<R>(indptr, n_users, time, placed, rows, most, 2, part, threads);
    for (int64_t u = 0; u < n_users; ++u) {
      std::vector<std::tuple<double, int64_t, int64_t>> own;
      for (int64_t i = indptr[u]; i < indptr[u + 1]; ++i) {
        const int64_t by = placed ? i : rows[i];
        own.emplace_back(real ? (std::isnan(times[by]) ? INFINITY : times[by]) : static_cast<double>(whole[by]), by,
                         rows[i]);
      }
      std::sort(own.rbegin(), own.rend());
      for (int64_t rank = 0; rank < static_cast<int64_t>(own.size()); ++rank) {
        const int expected = rank < most[u] ? 1 : rank < most[n_users + u] ? 2 : 3;
        CHECK(part[std::get<2>(own[static_cast<size_t>(rank)])] == expected);
      }
    }
  }
}

void test_bad_events() {
  const int64_t users[] = {0, 2}, items[] = {1, 1}, negative[] = {0, -1};
  Buffer<int32_t> rows(2);
  Buffer<int64_t> indptr(3);
  for (const auto* bad : {users, negative}) {
    bool refused = false;
    try {
      cpu::first_events<int64_t, int32_t>(bad, items, {}, 2, 2, 2, rows, indptr, 1);
    } catch (const std::out_of_range&) {
      refused = true;
    }
    CHECK(refused);
  }
}

}  // namespace

void test_data() {
  for (const int threads : {1, 3}) {
    for (const int64_t n : {0, 1, 40, 20000}) {
      test_integers(n, threads);
      test_texts<int32_t>(n, threads);
      test_texts<int64_t>(n, threads);
      for (const bool real : {false, true}) {
        test_events<int32_t, int32_t>(n, 7, 3, real, threads);
        test_events<int64_t, int32_t>(n, 1, 900, real, threads);
        test_events<int32_t, int64_t>(n, 500, 400, real, threads);
        test_events<int64_t, int64_t>(n, 3000, 1, real, threads);
      }
    }
  }
  test_forms();
  test_bad_events();
}

void add_data(Kernels& kernels) {
  kernels["IntegerTable"] = [](int threads) {
    const std::vector<int64_t> ids = some_integers(30000, 5);
    Buffer<int32_t> codes(30000);
    cpu::IntegerTable table;
    for (int times = 0; times < 2; ++times) table.add(ids.data(), codes.size, codes, threads);
    Buffer<int64_t> wide(codes.size);
    cpu::take<int64_t>(codes, codes, 0, wide, threads);
    cpu::take<int64_t>(codes, codes, codes.size, wide, threads);
    Result result;
    result.add(codes), result.add(wide);
    return result;
  };
  kernels["first_events, share_out"] = [](int threads) {
    const int64_t n = 40000, users_of_all = 300;
    Buffer<int32_t> users(n), items(n), rows(n);
    Buffer<int64_t> indptr(users_of_all + 1), most(users_of_all);
    Buffer<uint8_t> part(n);
    for (int64_t e = 0; e < n; ++e) {
      users[e] = static_cast<int32_t>(e * e % 293);
      items[e] = static_cast<int32_t>(e * 31 % 997);
      part[e] = 0;
    }
    for (int64_t u = 0; u < users_of_all; ++u) most[u] = u % 9;
    const int64_t kept =
        cpu::first_events<int32_t, int32_t>(users, items, {}, n, users_of_all, 1000, rows, indptr, threads);
    for (int64_t i = kept; i < n; ++i) rows[i] = 0;
    cpu::share_out<int32_t>(indptr, users_of_all, {}, false, rows, most, 1, part, threads);
    Result result;
    result.add(rows), result.add(indptr), result.add(part);
    return result;
  };
}

}  // namespace fgr::tests
