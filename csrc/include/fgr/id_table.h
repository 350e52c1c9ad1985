// Raw ids that come in batches, and codes for them; on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fgr::cpu {

// A hash table in memory of its own: 16 bytes a slot, of which at most 3/4 are taken.
struct IdSlots {
  struct Slot {
    uint64_t hash;
    int32_t code;  // -1: free
  };
  std::vector<Slot> slots;
  int64_t taken = 0;
  int shift = 64;  // from a hash to its first slot
};

// Distinct integers, numbered in the order in which they first come: 8 bytes each beside the table.
class IntegerTable {
 public:
  // codes [n], overwritten: what numbers ids [n] have, new ones among them; the same for any number of threads. Throws
  // std::bad_alloc, std::length_error where int32 does not count them.
  void add(const int64_t* ids, int64_t n, int32_t* codes, int threads);
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  // ids [size] ascending; ranks [size]: the place there of each number.
  void sorted(int64_t* ids, int32_t* ranks) const;

 private:
  IdSlots table_;
  std::vector<int64_t> ids_;
};

// Distinct texts, likewise: their bytes and 8 more each beside the table.
class TextTable {
 public:
  // Text r of n is bytes[offsets[r], offsets[r + 1]); offsets are int32_t or int64_t, as Arrow has them.
  template <class O>
  void add(const O* offsets, const char* bytes, int64_t n, int32_t* codes, int threads);
  int64_t size() const { return static_cast<int64_t>(ends_.size()); }
  bool has(std::string_view text) const;
  // What some of the texts are, or may be.
  struct Forms {
    bool blank = false;    // with a blank at an end
    bool decimal = false;  // an integer with a fraction of zeros
    bool other = false;    // no integer
  };
  Forms forms() const;
  // order [size]: the numbers by the bytes of their texts, which is the order of code points if they are UTF-8.
  void sorted(int32_t* order) const;
  const char* begin(int64_t number) const {
    return bytes_.data() + (number == 0 ? 0 : ends_[static_cast<size_t>(number) - 1]);
  }
  const char* end(int64_t number) const { return bytes_.data() + ends_[static_cast<size_t>(number)]; }

 private:
  IdSlots table_;
  std::vector<char> bytes_;
  std::vector<int64_t> ends_;
};

// out[e] = table[codes[e]], e < n. O = int32_t or int64_t.
template <class O>
void take(const int32_t* table, const int32_t* codes, int64_t n, O* out, int threads);

}  // namespace fgr::cpu
