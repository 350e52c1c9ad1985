// What was measured, as JSON and as a table.
#pragma once

#include <string>
#include <vector>

#include "tests/gpu/nodes.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {

struct Measured {
  std::string name, variant, dtype, sizes, data, unit;  // as the case's
  double bytes = 0, work = 0, predicted_us = 0;
  std::vector<double> us;  // microseconds a call, one for each round
  int calls = 0;           // of a round
  int64_t nodes = 0;       // of a call, in a CUDA graph
  std::vector<NodeTime> by_node;
  std::string error;      // why there is no more
  double median() const;  // NaN without a round
};

struct Report {
  explicit Report(const World& world, std::string file, std::string data);
  // Rewrites the file, so that a run that is killed leaves what it has; "" writes none.
  void write() const;
  void print() const;

  std::string running;  // what runs now
  std::string ended;    // "" while it goes on, then why it ended
  double seconds = 0;
  std::vector<Measured> cases;

 private:
  std::string file_, about_;
};

}  // namespace fgr::gpu
