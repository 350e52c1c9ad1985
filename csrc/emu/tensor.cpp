// Halves and the warp's products of csrc/cuda/mma.cuh.
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace fgr::emu {
namespace {

constexpr unsigned all_lanes = 0xffffffffu;

// The half of two in a word.
float half_of(uint64_t word, unsigned which) { return float_of_half(static_cast<uint16_t>(word >> (16 * which))); }

}  // namespace

uint16_t half_bits(float x) {
  const auto half = static_cast<_Float16>(x);
  uint16_t bits;
  memcpy(&bits, &half, sizeof bits);
  return bits;
}

float float_of_half(uint16_t bits) {
  _Float16 half;
  memcpy(&half, &bits, sizeof half);
  return static_cast<float>(half);
}

void load_matrices(const void* row, uint32_t (&to)[4], bool transposed, Site site) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    throw std::runtime_error(std::string(site.file) + ": a row of a matrix is not aligned to 16 bytes");
  }
  const Exchanged rows = meet_warp(all_lanes, to_word(row), site);
  const unsigned lane = threadIdx.x % 32, slow = lane / 4, fast = lane % 4 * 2;
  for (unsigned m = 0; m < 4; ++m) {
    uint16_t halves[2];
    for (unsigned e = 0; e < 2; ++e) {
      const unsigned r = transposed ? fast + e : slow, c = transposed ? slow : fast + e;
      halves[e] = from_word<const uint16_t*>(rows.lanes[8 * m + r])[c];
    }
    to[m] = halves[0] | static_cast<uint32_t>(halves[1]) << 16;
  }
}

void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Site site) {
  const auto pair = [](uint32_t low, uint32_t high) { return low | static_cast<uint64_t>(high) << 32; };
  const Exchanged left = meet_warp(all_lanes, pair(a[0], a[1]), site);  // columns 0 to 7 of A, rows g and g + 8
  const Exchanged right = meet_warp(all_lanes, pair(a[2], a[3]), site);
  const Exchanged b = meet_warp(all_lanes, pair(b0, b1), site);
  const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned lower = i / 2, column = 2 * t + i % 2;
    double sum = static_cast<double>(c[i]);
    for (unsigned k = 0; k < 16; ++k) {
      const uint64_t of_a = (k < 8 ? left : right).lanes[4 * g + k % 8 / 2] >> (32 * lower);
      const uint64_t of_b = b.lanes[4 * column + k % 8 / 2] >> (k < 8 ? 0 : 32);
      sum += static_cast<double>(half_of(of_a, k % 2)) * static_cast<double>(half_of(of_b, k % 2));
    }
    c[i] = static_cast<float>(sum);
  }
}

}  // namespace fgr::emu
