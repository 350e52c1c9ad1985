// What the checks share: one call of an op, described once, is run on the device twice and on the CPU, and what it
// wrote is compared.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "common/bf16.h"
#include "tests/gpu/graphs.h"

namespace fgr::gpu {

// How far from the CPU's an output may be: |out - ref| / |ref| as vectors, and for every element relative to the
// largest of ref. `terms`: the size of what is added up inside, where it may cancel to nothing. NaN is never near.
struct Tolerance {
  double norm, element, terms = 0;
};
constexpr Tolerance exact{0, 0};
// Sums in another order and with fused multiply-adds; a result that is stored in bf16 may fall to either side.
//   float: sums of 20,000 numbers of either sign lose 2e-6 of their largest; double: likewise.
//   bf16: half a unit in the last place is 2^-9 of an element; seldom is it the one or the other.
template <class T>
constexpr Tolerance close(double factor = 1, double terms = 0) {
  if (sizeof(T) == 8) return {1e-13 * factor, 1e-12 * factor, terms};
  if (sizeof(T) == 4) return {2e-6 * factor, 1e-5 * factor, terms};
  return {2e-3 * factor, 2e-2 * factor, terms};
}

template <class T>
constexpr const char* type_name() {
  return sizeof(T) == 8 ? "double" : sizeof(T) == 4 ? "float" : "bf16";
}

// An output of one call.
struct Output {
  std::string name;
  explicit Output(std::string name_) : name(std::move(name_)) {}
  virtual ~Output() = default;
  virtual std::string other_bits(const Output& other) const = 0;  // what differs, or ""
  // What differs by more than the tolerance; *margin: the error in units of what is allowed, if that is more.
  virtual std::string differs_from(const Output& ref, double* margin) const = 0;
};

inline double number(bf16 x) { return static_cast<double>(to_float(x)); }
template <class T>
double number(T x) {
  return static_cast<double>(x);
}

template <class T>
struct Values : Output {
  std::vector<T> values;
  Tolerance tolerance;
  Values(std::string name_, std::vector<T> values_, Tolerance tolerance_)
      : Output(std::move(name_)), values(std::move(values_)), tolerance(tolerance_) {}

  std::string other_bits(const Output& output) const override {
    const auto& other = dynamic_cast<const Values&>(output).values;
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::memcmp(&values[i], &other[i], sizeof(T)) != 0) {
        return difference("two runs give other bits", static_cast<int64_t>(i), number(values[i]), number(other[i]));
      }
    }
    return "";
  }

  std::string differs_from(const Output& output, double* margin) const override {
    const auto& ref = dynamic_cast<const Values&>(output).values;
    if (ref.size() != values.size()) return name + ": another number of values";
    if (tolerance.element == 0) return not_equal(ref);
    double largest = tolerance.terms, ref_square = 0, square = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < ref.size(); ++i) {
      const double r = number(ref[i]), error = std::fabs(number(values[i]) - r);
      if (!std::isfinite(error)) return difference("not finite", static_cast<int64_t>(i), number(values[i]), r);
      largest = std::max(largest, std::fabs(r));
      ref_square += r * r;
      square += error * error;
      if (error > worst) worst = error, at = i;
    }
    const double floor = tolerance.terms * std::sqrt(static_cast<double>(ref.size()));
    const double norm = std::max(std::sqrt(ref_square), floor);
    // One element as far off as it may be is within the norm's, however few there are.
    const double of_norm = std::max(tolerance.norm, tolerance.element / std::sqrt(static_cast<double>(ref.size())));
    if (square == 0) return "";
    const double used = std::max(worst / largest / tolerance.element, std::sqrt(square) / norm / of_norm);
    *margin = std::max(*margin, used);
    if (used <= 1) return "";
    char errors[160];
    std::snprintf(errors, sizeof errors, "error %.3g of the largest (%.3g allowed), %.3g of the norm (%.3g allowed)",
                  worst / largest, tolerance.element, std::sqrt(square) / norm, of_norm);
    return difference(errors, static_cast<int64_t>(at), number(values[at]), number(ref[at]));
  }

 private:
  std::string not_equal(const std::vector<T>& ref) const {
    size_t wrong = 0, first = 0;
    for (size_t i = ref.size(); i-- > 0;) {
      const bool equal = number(values[i]) == number(ref[i]) &&
                         (!std::is_integral_v<T> || std::memcmp(&values[i], &ref[i], sizeof(T)) == 0);
      if (!equal) ++wrong, first = i;
    }
    if (wrong == 0) return "";
    const std::string what = std::to_string(wrong) + " of " + std::to_string(ref.size()) + " are not equal";
    return difference(what.c_str(), static_cast<int64_t>(first), number(values[first]), number(ref[first]));
  }
  std::string difference(const char* what, int64_t at, double value, double expected) const {
    char line[320];
    std::snprintf(line, sizeof line, "%s: %s; [%lld] is %.17g, not %.17g", name.c_str(), what,
                  static_cast<long long>(at), value, expected);
    return line;
  }
};

using Outputs = std::vector<std::unique_ptr<Output>>;

// A graph on both sides.
struct TestGraph {
  HostGraph host;
  DeviceGraph device;
  explicit TestGraph(HostGraph graph) : host(std::move(graph)), device(host) {}
};

// A call's arguments on the CPU. An empty vector is a null pointer.
class OnHost {
 public:
  explicit OnHost(int threads) : threads_(threads) {}
  static constexpr bool on_device = false;
  template <class T>
  const T* in(const std::vector<T>&&) = delete;  // it would be gone before the call
  template <class T>
  const T* in(const std::vector<T>& values) {
    return values.empty() ? nullptr : values.data();
  }
  template <class T>
  T* inout(const char* name, const std::vector<T>& values, Tolerance tolerance) {
    auto output = std::make_unique<Values<T>>(name, values, tolerance);
    T* at = values.empty() ? nullptr : output->values.data();
    outputs_.push_back(std::move(output));
    return at;
  }
  template <class T>
  T* out(const char* name, int64_t n, Tolerance tolerance) {
    std::vector<T> values(static_cast<size_t>(n));
    if (n > 0) std::memset(values.data(), poison_byte, static_cast<size_t>(n) * sizeof(T));
    return inout(name, values, tolerance);
  }
  void* workspace(int64_t n_bytes) {
    workspaces_.emplace_back(static_cast<size_t>(n_bytes), static_cast<char>(poison_byte));
    return workspaces_.back().data();
  }
  Bipartite graph(const TestGraph& graph) { return graph.host.view(); }
  int where() const { return threads_; }
  Outputs take_outputs() { return std::move(outputs_); }

 private:
  int threads_;
  Outputs outputs_;
  std::vector<std::vector<char>> workspaces_;
};

// The same on the device, every array in a buffer of its own.
class OnDevice {
 public:
  explicit OnDevice(const Stream& stream) : stream_(stream) {}
  static constexpr bool on_device = true;
  template <class T>
  const T* in(const std::vector<T>& values) {
    return keep<T>(nullptr, std::make_unique<Array<T>>(values));
  }
  template <class T>
  T* inout(const char* name, const std::vector<T>& values, Tolerance tolerance) {
    return keep<T>(name, std::make_unique<Array<T>>(values), tolerance);
  }
  template <class T>
  T* out(const char* name, int64_t n, Tolerance tolerance) {
    return keep<T>(name, std::make_unique<Array<T>>(n), tolerance);
  }
  void* workspace(int64_t n_bytes) { return keep<char>(nullptr, std::make_unique<Array<char>>(n_bytes)); }
  Bipartite graph(const TestGraph& graph) { return graph.device.view(); }
  void* where() const { return stream_.get(); }
  // Waits; throws where something was written behind an array.
  Outputs take_outputs();

 private:
  struct Kept {
    virtual ~Kept() = default;
    virtual bool intact() const = 0;
    virtual std::unique_ptr<Output> output() const = 0;  // null: it is none
    std::string name;
    bool is_output = false;
    Tolerance tolerance = exact;
  };
  template <class T>
  struct Array : Kept {
    Buffer<T> buffer;
    template <class From>
    explicit Array(const From& from) : buffer(from) {}
    bool intact() const override { return buffer.intact(); }
    std::unique_ptr<Output> output() const override {
      return std::make_unique<Values<T>>(this->name, buffer.host(), this->tolerance);
    }
  };
  template <class T>
  T* keep(const char* name, std::unique_ptr<Array<T>> array, Tolerance tolerance = exact) {
    T* at = array->buffer.get();
    array->is_output = name != nullptr;
    array->name = name != nullptr ? name : "an input or the workspace";
    array->tolerance = tolerance;
    kept_.push_back(std::move(array));
    return at;
  }

  const Stream& stream_;
  std::vector<std::unique_ptr<Kept>> kept_;
};

// Calls cpu::op or cuda::op; FGR_BYTES gives what an op's function of the same name on either side returns.
#define FGR_RUN(on, op, ...)                               \
  do {                                                     \
    if constexpr (std::decay_t<decltype(on)>::on_device) { \
      cuda::op(__VA_ARGS__, (on).where());                 \
    } else {                                               \
      cpu::op(__VA_ARGS__, (on).where());                  \
    }                                                      \
  } while (0)
#define FGR_BYTES(on, function, ...) \
  (std::decay_t<decltype(on)>::on_device ? cuda::function(__VA_ARGS__) : cpu::function(__VA_ARGS__))

// Numbers for the inputs: a stream that its name and the seed decide.
class Random {
 public:
  Random(const std::string& name, uint64_t seed) : key_(seed) {
    for (const char c : name) key_ = key_ * 0x100000001b3u + static_cast<unsigned char>(c);
  }
  uint64_t bits() {
    uint64_t x = key_ + ++count_ * 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() >> 1) % n; }
  template <class T>
  std::vector<T> uniform(int64_t n, double low = -1, double high = 1) {
    return made<T>(n, [&] { return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53; });
  }
  // Of either sign, from 0.3 to 1.
  template <class T>
  std::vector<T> away_from_zero(int64_t n) {
    return made<T>(n, [&] {
      const double x = 0.3 + 0.7 * static_cast<double>(bits() >> 11) * 0x1p-53;
      return below(2) == 0 ? x : -x;
    });
  }
  // Multiples of 1/8 from -1/2 to 1/2: their products add up exactly in float, in any order.
  template <class T>
  std::vector<T> grid(int64_t n) {
    return made<T>(n, [&] { return 0.125 * static_cast<double>(below(9) - 4); });
  }
  template <class I>
  std::vector<I> ids(int64_t n, int64_t low, int64_t end) {
    std::vector<I> values(static_cast<size_t>(n));
    for (I& value : values) value = static_cast<I>(low + below(end - low));
    return values;
  }

 private:
  template <class T, class Fn>
  static std::vector<T> made(int64_t n, const Fn& fn) {
    std::vector<T> values(static_cast<size_t>(n));
    for (T& value : values) store(value, static_cast<acc_t<T>>(fn()));
    return values;
  }
  uint64_t key_, count_ = 0;
};

struct CheckOptions {
  bool small = false;
  std::string only;
  uint64_t seed = 1;
  bool verbose = false, list = false;
};

class Checks {
 public:
  explicit Checks(CheckOptions options);

  bool small() const { return options_.small; }
  std::vector<int64_t> dims() const;
  Random random(const std::string& name) const { return Random(name, options_.seed); }
  // Rows of 0 to 20,000 edges; small: 4,500.
  const TestGraph& graph(bool weighted) { return graph_of(small() ? Size::medium : Size::large, weighted); }
  // For tables of `dim` columns: of fewer nodes where they would be large. Small: of rows of 0 to 250 edges, which are
  // heavy and split all the same.
  const TestGraph& hop_graph(bool weighted, int64_t dim) {
    return graph_of(small() ? Size::small : dim > 100 ? Size::medium : Size::large, weighted);
  }

  // call(on) makes its arguments by `on` and calls the op once. What it throws fails the check.
  template <class Call>
  void run(const std::string& name, const Call& call) {
    if (name.find(options_.only) == std::string::npos) return;
    if (options_.list) return list(name);
    attempt(name, [&](double* margin) {
      Outputs runs[2];
      for (int i = 0; i < 2; ++i) {
        order_threads(i);
        OnDevice device(stream_);
        call(device);
        runs[i] = device.take_outputs();
      }
      OnHost host(threads_);
      call(host);
      return compare(runs[0], runs[1], host.take_outputs(), margin);
    });
  }

  int finish() const;  // prints the last line; the exit code

 private:
  enum class Size { small, medium, large };
  const TestGraph& graph_of(Size size, bool weighted);
  // fn(margin) returns what is wrong, or "".
  void attempt(const std::string& name, const std::function<std::string(double*)>& fn);
  void list(const std::string& name);
  static void order_threads(int run);  // emulated: another order in every run
  static std::string compare(const Outputs& first, const Outputs& second, const Outputs& host, double* margin);
  void report(const std::string& name, const std::string& what);
  void give_up_if_broken();

  CheckOptions options_;
  Stream stream_;
  int threads_;
  std::unique_ptr<TestGraph> graphs_[3][2];
  int64_t count_ = 0, failed_ = 0;
  bool broken_ = false;  // the device takes no more work
};

// The checks, by subject.
void check_build(Checks& checks);
void check_hops(Checks& checks);
void check_products(Checks& checks);
void check_losses(Checks& checks);
void check_updates(Checks& checks);
void check_sampling(Checks& checks);
void check_walks(Checks& checks);
void check_ranking(Checks& checks);
void check_retrieve_halves(Checks& checks);
void check_number(Checks& checks);
void check_train_step(Checks& checks);
void check_row_step(Checks& checks);

}  // namespace fgr::gpu
