#include "fgr/id_table.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "cpu/parallel.h"
#include "cpu/radix_sort.h"

namespace fgr::cpu {
namespace {

constexpr int64_t ahead = 32;                // lookups whose slots are fetched together
constexpr int64_t rows_of_a_look = 1 << 13;  // rows of a chunk, and between two looks for an interrupt

uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
  return x ^ (x >> 32);
}

uint64_t hash_of(int64_t id) { return mixed(static_cast<uint64_t>(id)); }

uint64_t hash_of(std::string_view text) {
  uint64_t h = text.size();
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    h = mixed(h ^ word);
  }
  uint64_t rest = 0;
  if (at < text.size()) std::memcpy(&rest, text.data() + at, text.size() - at);
  return mixed(h ^ rest);
}

// Whether a text, not empty, begins or ends with what str.strip() takes away, or may do so: of the others of Unicode's
// blanks are U+0085 and U+00A0 c2 85 and c2 a0, U+1680 e1 9a 80, U+2000 to U+205F e2 80 .. and e2 81 .., U+3000 e3
// 80 80.
bool begins_blank(std::string_view text) {
  const std::string_view two = text.substr(0, 2);
  return static_cast<unsigned char>(text[0]) <= ' ' || two == "\xc2\x85" || two == "\xc2\xa0" || two == "\xe1\x9a" ||
         two == "\xe2\x80" || two == "\xe2\x81" || two == "\xe3\x80";
}

bool ends_blank(std::string_view text) {
  if (static_cast<signed char>(text.back()) >= 0) return text.back() <= ' ';
  const std::string_view two = text.substr(text.size() - std::min<size_t>(text.size(), 2));
  const std::string_view three = text.substr(text.size() - std::min<size_t>(text.size(), 3));
  return two == "\xc2\x85" || two == "\xc2\xa0" || begins_blank(three);
}

// The slot of an id, or the free one in which its search ends. same(code) says whether that code's id is it.
template <class Same>
size_t find(const IdSlots& table, uint64_t hash, const Same& same) {
  size_t s = static_cast<size_t>(hash >> table.shift);
  for (;; s = (s + 1) & (table.slots.size() - 1)) {
    const IdSlots::Slot& slot = table.slots[s];
    if (slot.code < 0 || (slot.hash == hash && same(slot.code))) return s;
  }
}

// Room for one more.
void reserve(IdSlots& table) {
  if (4 * (table.taken + 1) <= 3 * static_cast<int64_t>(table.slots.size())) return;
  IdSlots larger;
  larger.slots.assign(std::max<size_t>(2 * table.slots.size(), 1 << 10), {0, -1});
  larger.taken = table.taken;
  while (larger.slots.size() >> (64 - larger.shift) > 1) --larger.shift;
  for (const IdSlots::Slot& slot : table.slots) {
    if (slot.code >= 0) larger.slots[find(larger, slot.hash, [](int32_t) { return false; })] = slot;
  }
  table = std::move(larger);
}

// codes[r] of all ids: those known are looked up by all threads, then the others get numbers in their order.
// fetch(code, step) asks for the memory that same(code, row) is about to read, what one step needs to know by the step
// before it.
template <class IdOf, class Fetch, class Same, class Insert>
void number(IdSlots& table, int64_t n, int32_t* codes, int threads, int steps, const IdOf& id, const Fetch& fetch,
            const Same& same, const Insert& insert) {
  const int64_t chunks = (n + rows_of_a_look - 1) / rows_of_a_look;
  const std::unique_ptr<bool[]> unknown(new bool[static_cast<size_t>(chunks)]());
  reserve(table);
  for_chunks(chunks, 16.0 * static_cast<double>(n), threads, [&](int64_t c) {
    const int64_t stop = std::min(n, (c + 1) * rows_of_a_look);
    for (int64_t begin = c * rows_of_a_look; begin < stop; begin += ahead) {
      const int64_t end = std::min(stop, begin + ahead);
      uint64_t hashes[ahead];
      for (int64_t r = begin; r < end; ++r) {
        hashes[r - begin] = hash_of(id(r));
        __builtin_prefetch(&table.slots[static_cast<size_t>(hashes[r - begin] >> table.shift)]);
      }
      for (int step = 0; step < steps; ++step) {
        for (int64_t r = begin; r < end; ++r) {
          const IdSlots::Slot& slot = table.slots[static_cast<size_t>(hashes[r - begin] >> table.shift)];
          if (slot.code >= 0) fetch(slot.code, step);
        }
      }
      for (int64_t r = begin; r < end; ++r) {
        codes[r] = table.slots[find(table, hashes[r - begin], [&](int32_t code) { return same(code, r); })].code;
        if (codes[r] < 0) unknown[static_cast<size_t>(c)] = true;
      }
    }
  });
  for (int64_t c = 0; c < chunks; ++c) {
    if (!unknown[static_cast<size_t>(c)]) continue;
    throw_if_interrupted();
    for (int64_t r = c * rows_of_a_look, stop = std::min(n, (c + 1) * rows_of_a_look); r < stop; ++r) {
      if (codes[r] >= 0) continue;
      const uint64_t hash = hash_of(id(r));
      reserve(table);
      IdSlots::Slot& slot = table.slots[find(table, hash, [&](int32_t code) { return same(code, r); })];
      if (slot.code < 0) {
        if (table.taken == std::numeric_limits<int32_t>::max()) {
          throw std::length_error("more distinct ids than int32 counts");
        }
        insert(r);
        slot = {hash, static_cast<int32_t>(table.taken++)};
      }
      codes[r] = slot.code;
    }
  }
}

}  // namespace

void IntegerTable::add(const int64_t* ids, int64_t n, int32_t* codes, int threads) {
  number(
      table_, n, codes, threads, 0, [&](int64_t r) { return ids[r]; }, [](int32_t, int) {},
      [](int32_t, int64_t) { return true; },  // equal hashes are of equal integers, since `mixed` is a bijection
      [&](int64_t r) { ids_.push_back(ids[r]); });
}

void IntegerTable::sorted(int64_t* ids, int32_t* ranks) const {
  struct Numbered {
    uint64_t key;
    int32_t number;
  };
  constexpr uint64_t sign = uint64_t{1} << 63;
  const std::unique_ptr<Numbered[]> all(new Numbered[ids_.size()]), scratch(new Numbered[ids_.size()]);
  for (size_t i = 0; i < ids_.size(); ++i) all[i] = {static_cast<uint64_t>(ids_[i]) ^ sign, static_cast<int32_t>(i)};
  radix_sort(all.get(), scratch.get(), size(), [](const Numbered& x) { return x.key; });
  for (size_t i = 0; i < ids_.size(); ++i) {
    ids[i] = static_cast<int64_t>(all[i].key ^ sign);
    ranks[all[i].number] = static_cast<int32_t>(i);
  }
}

template <class O>
void TextTable::add(const O* offsets, const char* bytes, int64_t n, int32_t* codes, int threads) {
  const auto text = [&](int64_t r) {
    return std::string_view(bytes + offsets[r], static_cast<size_t>(offsets[r + 1] - offsets[r]));
  };
  const auto same = [&](int32_t code, int64_t r) {
    return std::string_view(begin(code), static_cast<size_t>(end(code) - begin(code))) == text(r);
  };
  const auto fetch = [&](int32_t code, int step) {
    __builtin_prefetch(step == 0 ? static_cast<const void*>(&ends_[static_cast<size_t>(code)]) : begin(code));
  };
  number(table_, n, codes, threads, 2, text, fetch, same, [&](int64_t r) {
    bytes_.insert(bytes_.end(), text(r).begin(), text(r).end());
    ends_.push_back(static_cast<int64_t>(bytes_.size()));
  });
}
template void TextTable::add<int32_t>(const int32_t*, const char*, int64_t, int32_t*, int);
template void TextTable::add<int64_t>(const int64_t*, const char*, int64_t, int32_t*, int);

bool TextTable::has(std::string_view text) const {
  if (table_.slots.empty()) return false;
  const auto same = [&](int32_t code) {
    return std::string_view(begin(code), static_cast<size_t>(end(code) - begin(code))) == text;
  };
  return table_.slots[find(table_, hash_of(text), same)].code >= 0;
}

TextTable::Forms TextTable::forms() const {
  Forms found;
  for (int64_t i = 0; i < size(); ++i) {
    const std::string_view text(begin(i), static_cast<size_t>(end(i) - begin(i)));
    if (text.empty()) continue;
    found.blank = found.blank || begins_blank(text) || ends_blank(text);
    const size_t point = text.find_first_not_of("-0123456789");
    found.other = found.other || point != std::string_view::npos;
    found.decimal = found.decimal || (point != std::string_view::npos && text[point] == '.' && text.back() == '0');
  }
  return found;
}

void TextTable::sorted(int32_t* order) const {
  struct Numbered {
    uint64_t head;  // the first 8 bytes, the first one highest
    int32_t number;
  };
  const auto text = [&](int32_t code) {
    return std::string_view(begin(code), static_cast<size_t>(end(code) - begin(code)));
  };
  const std::unique_ptr<Numbered[]> all(new Numbered[ends_.size()]), scratch(new Numbered[ends_.size()]);
  for (int32_t i = 0; i < static_cast<int32_t>(ends_.size()); ++i) {
    const std::string_view own = text(i);
    uint64_t head = 0;
    for (size_t b = 0; b < 8; ++b) head = head << 8 | (b < own.size() ? static_cast<unsigned char>(own[b]) : 0u);
    all[static_cast<size_t>(i)] = {head, i};
  }
  radix_sort(all.get(), scratch.get(), size(), [](const Numbered& x) { return x.head; });
  for (size_t run = 0, stop = 0; run < ends_.size(); run = stop) {
    while (stop < ends_.size() && all[stop].head == all[run].head) ++stop;
    if (stop - run > 1) {
      throw_if_interrupted();
      std::sort(&all[run], &all[0] + stop,
                [&](const Numbered& a, const Numbered& b) { return text(a.number) < text(b.number); });
    }
  }
  for (size_t i = 0; i < ends_.size(); ++i) order[i] = all[i].number;
}

template <class O>
void take(const int32_t* table, const int32_t* codes, int64_t n, O* out, int threads) {
  parallel_for(n, 4, threads, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) out[e] = table[codes[e]];
  });
}
template void take<int32_t>(const int32_t*, const int32_t*, int64_t, int32_t*, int);
template void take<int64_t>(const int32_t*, const int32_t*, int64_t, int64_t*, int);

}  // namespace fgr::cpu
