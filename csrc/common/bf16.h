// bfloat16 <-> float, the same on host and device: round to nearest even, NaN stays NaN.
#pragma once

#include <cstring>

#include "fgr/types.h"

namespace fgr {

FGR_HOST_DEVICE float to_float(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

FGR_HOST_DEVICE bf16 to_bf16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(nan ? ((bits >> 16) | 0x40u) : rounded)};
}

// load: storage type -> accumulator type; store: the way back.
FGR_HOST_DEVICE float load(float x) { return x; }
FGR_HOST_DEVICE double load(double x) { return x; }
FGR_HOST_DEVICE float load(bf16 x) { return to_float(x); }
FGR_HOST_DEVICE void store(float& out, float x) { out = x; }
FGR_HOST_DEVICE void store(double& out, double x) { out = x; }
FGR_HOST_DEVICE void store(bf16& out, float x) { out = to_bf16(x); }

}  // namespace fgr
