// Powers of one number, from tables of its powers by the digits of the exponent.
#pragma once

#include <cstdint>

namespace fgr {

class Powers {
 public:
  explicit Powers(double base) {
    for (auto& digit : table_) {
      digit[0] = 1;
      for (int k = 1; k < digits; ++k) digit[k] = digit[k - 1] * base;
      base *= digit[digits - 1];
    }
  }

  // n >= 0.
  double operator()(int64_t n) const {
    double power = table_[0][n % digits];
    for (int d = 1; n >= digits && d < places; ++d) {
      n /= digits;
      power *= table_[d][n % digits];
    }
    return power;
  }

 private:
  static constexpr int places = 11, digits = 64;
  double table_[places][digits];
};

}  // namespace fgr
