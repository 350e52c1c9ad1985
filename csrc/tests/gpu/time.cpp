// gpu_main time [--data FILE] [--json FILE] [--only SUBSTRING] [--seconds N]
//
// Every case is called once, then captured into a CUDA graph of up to 20 calls and replayed: at once, then in rounds of
// all cases in turn, so that what drifts hits all alike. At the end training steps are taken apart. A case that fails
// is reported and left out; an error that stays ends the run. When the time is over, what was measured is what there
// is.
#include "tests/gpu/time.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>

#include "tests/gpu/main.h"
#include "tests/gpu/replay.h"
#include "tests/gpu/report.h"

namespace fgr::gpu {

std::vector<Group>& groups() {
  static std::vector<Group> all;
  return all;
}

namespace {

const int most_calls = static_cast<int>(sized(20, 2));                         // in a graph, as long as it is short:
constexpr double long_us = 20000, very_long_us = 100000;                       // of a graph; of a call
const size_t most_rounds = static_cast<size_t>(sized(12, 2)), few_rounds = 3;  // few: of a call that is very long

struct Options {
  std::string data, json, only;
  double seconds = 60;
};

Options parsed(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(name + " needs a value");
    const std::string value = argv[i + 1];
    if (name == "--data") {
      o.data = value;
    } else if (name == "--json") {
      o.json = value;
    } else if (name == "--only") {
      o.only = value;
    } else if (name == "--seconds") {
      char* end = nullptr;
      o.seconds = std::strtod(value.c_str(), &end);
      if (*end != '\0' || !(o.seconds > 0)) throw std::invalid_argument("--seconds must be > 0, got " + value);
    } else {
      throw std::invalid_argument("time: unknown option " + name);
    }
  }
  return o;
}

class Timing {
 public:
  explicit Timing(const Options& options)
      : begin_(seconds_now()),
        seconds_(options.seconds),
        world_(options.data),
        cases_(world_, options.only),
        report_(world_, options.json, options.data) {
    report_.write();
  }

  int run() {
    std::stable_sort(groups().begin(), groups().end(),
                     [](const Group& a, const Group& b) { return a.order < b.order; });
    for (const Group& group : groups()) make(group);
    for (bool more = true; more && ended().empty();) more = round();
    for (size_t i = 0; i < cases_.all.size() && ended().empty(); ++i) time_by_node(i);
    if (report_.ended.empty()) report_.ended = "done";
    report_.running.clear();
    save();
    report_.print();
    const auto failed = [](const Measured& m) { return !m.error.empty(); };
    return report_.ended == "done" && std::none_of(report_.cases.begin(), report_.cases.end(), failed) ? 0 : 1;
  }

 private:
  double spent() const { return seconds_now() - begin_; }
  const std::string& ended() {
    if (report_.ended.empty() && spent() > seconds_) report_.ended = "the time was over";
    return report_.ended;
  }
  void save() {
    report_.seconds = spent();
    report_.write();
  }

  // Calls fn; what it throws is the error of the case.
  template <class Fn>
  void guarded(Measured& m, const Fn& fn) {
    try {
      fn();
      return;
    } catch (const std::exception& error) {
      m.error = error.what();
    }
    std::printf("%s %s [%s]: %s\n", m.name.c_str(), m.dtype.c_str(), m.variant.c_str(), m.error.c_str());
    if (device_is_lost()) report_.ended = "the device is lost after " + m.name + " " + m.dtype;
  }

  // The cases of a group, each with its first measurement.
  void make(const Group& group) {
    if (!ended().empty()) return;
    const size_t before = cases_.all.size();
    report_.running = "making " + group.name;
    Measured whole;
    whole.name = group.name;
    whole.dtype = "-";
    guarded(whole, [&] { group.make(cases_); });
    for (size_t i = before; i < cases_.all.size(); ++i) prepare(cases_.all[i]);
    if (!whole.error.empty()) {
      cases_.all.push_back(Case());
      replays_.push_back(nullptr);
      report_.cases.push_back(whole);
    }
    std::printf("%6.1f s  %s\n", spent(), group.name.c_str());
    std::fflush(stdout);
    save();
  }

  void prepare(Case& c) {
    Measured m;
    m.name = c.name;
    m.variant = c.variant;
    m.dtype = c.dtype;
    m.sizes = c.sizes;
    m.data = c.data;
    m.unit = c.unit;
    m.bytes = c.bytes;
    m.work = c.work;
    m.predicted_us = static_cast<double>(sized(1, 0)) * c.predicted_us;
    replays_.push_back(nullptr);
    if (!ended().empty()) m.error = "not begun: " + ended();
    report_.cases.push_back(m);
    if (!m.error.empty()) return;
    report_.running = c.label();
    save();  // should it hang, the file says what did
    Measured& kept = report_.cases.back();
    guarded(kept, [&] {
      if (c.measure) {
        kept.calls = 1;
        kept.us.push_back(c.measure(stream_.get()));
        return;
      }
      c.run(stream_.get());  // loads its kernels
      stream_.synchronize();
      if (c.check) {
        const std::string wrong = c.check();
        if (!wrong.empty()) throw std::runtime_error(wrong);
      }
      const double begin = seconds_now();
      c.run(stream_.get());
      stream_.synchronize();
      const double us = (seconds_now() - begin) * 1e6;
      kept.calls = std::clamp(static_cast<int>(long_us / us), 1, most_calls);
      auto replay = std::make_unique<Replay>(c.run, kept.calls, stream_.get());
      kept.nodes = replay->nodes() / c.calls;
      kept.us.push_back(replay->microseconds(us < very_long_us) / c.calls);
      replays_.back() = std::move(replay);
    });
  }

  // One more measurement of every case; whether there is another round.
  bool round() {
    bool more = false;
    for (size_t i = 0; i < cases_.all.size() && ended().empty(); ++i) {
      Measured& m = report_.cases[i];
      const bool very_long = m.us.empty() || m.us.front() > very_long_us;
      if (!m.error.empty() || m.us.size() >= (very_long ? few_rounds : most_rounds)) continue;
      more = true;
      report_.running = cases_.all[i].label();
      guarded(m, [&] {
        m.us.push_back(replays_[i] != nullptr ? replays_[i]->microseconds(!very_long) / cases_.all[i].calls
                                              : cases_.all[i].measure(stream_.get()));
      });
    }
    save();
    return more;
  }

  void time_by_node(size_t i) {
    Measured& m = report_.cases[i];
    if (!cases_.all[i].by_node || !m.error.empty()) return;
    report_.running = cases_.all[i].label() + " by node";
    save();
    guarded(m, [&] { m.by_node = node_times(cases_.all[i].run, stream_.get()); });
  }

  double begin_, seconds_;
  Stream stream_;
  World world_;
  Cases cases_;
  std::vector<std::unique_ptr<Replay>> replays_;  // one for each case, or null
  Report report_;
};

}  // namespace

int time_main(int argc, char** argv) { return Timing(parsed(argc, argv)).run(); }

}  // namespace fgr::gpu
