// What `gpu_main time` measures. A file adds its cases from anywhere in the program:
//
//   const Registered hops(20, "hops", [](Cases& cases) {
//     auto y = empty<float>(n);
//     Case c;
//     c.name = "hop"; c.dtype = "float32"; c.sizes = "d=64"; c.bytes = ...; c.predicted_us = 95;
//     c.run = [=](void* stream) { cuda::propagate(..., y->get(), nullptr, stream); };
//     cases.add(c);
//   });
//
// A variant of a kernel is one more case of the same name with another `variant`; its `check` compares its output with
// the other's before it is timed, and leaves it out where they differ.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/gpu/inputs.h"

namespace fgr::gpu {

struct Case {
  std::string name;             // what is computed; a label is name, dtype and variant
  std::string variant = "now";  // how
  std::string dtype = "float32";
  std::string sizes;
  std::string data = "L2";  // where the inputs lie when a call begins, called again and again: L2 or HBM
  double bytes = 0;         // that it must move, a row at every gather; 0: says nothing
  double work = 0;          // units of a call, for a rate; 0: none
  std::string unit;         // "edges", "FLOP", ...
  double predicted_us = 0;  // of a call on an H100, from the review of the code before its first run; 0: none
  std::vector<std::shared_ptr<const void>> holds;  // what lives as long, beside what run holds
  std::function<void(void* stream)> run;  // one call on the stream: is captured, so it may not wait nor allocate
  int calls = 1;                          // that one run is: times are of a call
  std::function<std::string()> check;     // what is wrong with its output, "" if nothing is; may be empty
  bool by_node = false;                   // what each node of its graph takes is told, too
  std::function<double(void* stream)> measure = nullptr;  // in place of run, where no graph can: microseconds a call
  std::string label() const { return name + " " + dtype + (variant == "now" ? "" : " [" + variant + "]"); }
};

class Cases {
 public:
  Cases(const World& w, std::string only) : world(w), only_(std::move(only)) {}
  const World& world;
  bool wants(const std::string& label) const { return label.find(only_) != std::string::npos; }
  void add(Case c) {
    if (wants(c.label())) all.push_back(std::move(c));
  }
  std::vector<Case> all;

 private:
  std::string only_;
};

// A function that adds cases; those of a lower order come first, and run even where time is short.
struct Group {
  int order;
  std::string name;
  void (*make)(Cases&);
};
std::vector<Group>& groups();
struct Registered {
  Registered(int order, const char* name, void (*make)(Cases&)) { groups().push_back({order, name, make}); }
};

// For a check: "" where got is near want, |got - want| <= tolerance |want| (Euclidean), and holds no NaN.
template <class T>
std::string differs(const Buffer<T>& got, const Buffer<T>& want, double tolerance) {
  const std::vector<T> a = got.host(), b = want.host();
  double off = 0, norm = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double x = static_cast<double>(load(a[i])), y = static_cast<double>(load(b[i]));
    off += (x - y) * (x - y);
    norm += y * y;
  }
  if (a.size() == b.size() && std::sqrt(off) <= tolerance * std::sqrt(norm)) return "";
  return "its output is off by " + std::to_string(std::sqrt(off / norm)) + ", more than " + std::to_string(tolerance);
}

}  // namespace fgr::gpu
