#include "tests/gpu/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace fgr::gpu {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + '"';
}
std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", x);
  return std::isfinite(x) ? text : "null";
}

// A JSON object, member by member.
class Object {
 public:
  Object& add(const char* name, const std::string& value) { return raw(name, quoted(value)); }
  Object& add(const char* name, double value) { return raw(name, number(value)); }
  Object& raw(const char* name, const std::string& json) {
    text_ += (text_.empty() ? "" : ", ") + quoted(name) + ": " + json;
    return *this;
  }
  std::string members() const { return text_; }
  std::string json() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};

// Of the card only what it says of itself.
std::string card() {
  Object about;
  about.add("name", device_name());
#if !defined(FGR_EMULATE)
  const auto attribute = [](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, 0), "cudaDeviceGetAttribute");
    return static_cast<double>(value);
  };
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  size_t free_bytes = 0, total_bytes = 0;
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  about.add("multiprocessors", attribute(cudaDevAttrMultiProcessorCount))
      .add("compute_capability",
           attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor) / 10)
      .add("clock_mhz", attribute(cudaDevAttrClockRate) / 1e3)
      .add("memory_clock_mhz", attribute(cudaDevAttrMemoryClockRate) / 1e3)
      .add("memory_bus_bits", attribute(cudaDevAttrGlobalMemoryBusWidth))
      .add("l2_bytes", attribute(cudaDevAttrL2CacheSize))
      .add("memory_bytes", static_cast<double>(total_bytes))
      .add("driver", driver)
      .add("runtime", runtime);
#endif
  return about.json();
}

std::string now() {
  const std::time_t t = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&t));
  return text;
}

std::string json_of(const Measured& m) {
  const double us = m.median();
  Object o;
  o.add("name", m.name).add("variant", m.variant).add("dtype", m.dtype).add("sizes", m.sizes).add("data", m.data);
  const auto end = [&](auto pick) { return m.us.empty() ? NAN : *pick(m.us.begin(), m.us.end()); };
  o.add("us", us)
      .add("us_min", end([](auto a, auto b) { return std::min_element(a, b); }))
      .add("us_max", end([](auto a, auto b) { return std::max_element(a, b); }));
  std::string rounds;
  for (const double one : m.us) rounds += (rounds.empty() ? "" : ", ") + number(one);
  o.raw("us_rounds", "[" + rounds + "]").add("calls_a_round", m.calls);
  if (m.nodes > 0) o.add("graph_nodes", static_cast<double>(m.nodes));
  if (m.bytes > 0) o.add("bytes", m.bytes).add("gb_per_s", m.bytes / us / 1e3);
  if (m.work > 0) o.add("work", m.work).add("unit", m.unit).add("giga_per_s", m.work / us / 1e3);
  if (m.predicted_us > 0) o.add("predicted_us", m.predicted_us).add("measured_over_predicted", us / m.predicted_us);
  std::string by_node;
  for (const NodeTime& node : m.by_node) {
    by_node += (by_node.empty() ? "" : ", ") + Object().add("node", node.name).add("us", node.us).json();
  }
  if (!by_node.empty()) o.raw("by_node", "[" + by_node + "]");
  if (!m.error.empty()) o.add("error", m.error);
  return o.json();
}

}  // namespace

double Measured::median() const {
  if (us.empty()) return NAN;
  std::vector<double> sorted = us;
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

Report::Report(const World& world, std::string file, std::string data) : file_(std::move(file)) {
  Object graph, about;
  const std::filesystem::path from(data);  // its folder names it, whatever the machine's own paths are
  graph.add("from", data.empty() ? "made up" : (from.parent_path().filename() / from.filename()).string());
  graph.add("users", static_cast<double>(world.n_users())).add("items", static_cast<double>(world.n_items()));
  graph.raw("edges", std::to_string(world.n_edges()));
  about.add("program", "gpu_main time").add("date", now());
#if defined(FGR_EMULATE)
  about.raw("emulated", "true");
#else
  about.raw("emulated", "false");
#endif
  about.raw("card", card()).raw("graph", graph.json());
  about_ = about.members();
}

void Report::write() const {
  if (file_.empty()) return;
  const std::string unfinished = file_ + ".part";
  {
    std::ofstream out(unfinished);
    Object state;
    state.add("ended", ended).add("running", running).add("seconds", seconds);
    out << "{" << about_ << ", " << state.members() << ", \"cases\": [";
    for (size_t i = 0; i < cases.size(); ++i) out << (i == 0 ? "\n" : ",\n") << json_of(cases[i]);
    out << "\n]}\n";
    if (!out.flush()) throw std::runtime_error(unfinished + ": cannot be written");
  }
  if (std::rename(unfinished.c_str(), file_.c_str()) != 0) throw std::runtime_error(file_ + ": cannot be written");
}

void Report::print() const {
  std::printf("{%s}\n", about_.c_str());
  std::printf("%-44s %-9s %11s %11s %11s %8s %16s %11s %6s\n", "case", "dtype", "us", "min", "max", "GB/s", "rate",
              "predicted", "ratio");
  for (const Measured& m : cases) {
    const std::string name = m.name + (m.variant == "now" ? "" : " [" + m.variant + "]");
    const double us = m.median();
    std::printf("%-44s %-9s ", name.c_str(), m.dtype.c_str());
    if (m.us.empty()) {
      std::printf("%s\n", m.error.c_str());
      continue;
    }
    std::printf("%11.2f %11.2f %11.2f ", us, *std::min_element(m.us.begin(), m.us.end()),
                *std::max_element(m.us.begin(), m.us.end()));
    char rate[32] = "-", bandwidth[16] = "-", predicted[16] = "-", ratio[16] = "-";
    if (m.bytes > 0) std::snprintf(bandwidth, sizeof bandwidth, "%.0f", m.bytes / us / 1e3);
    if (m.work > 0) std::snprintf(rate, sizeof rate, "%.4g G%.8s/s", m.work / us / 1e3, m.unit.c_str());
    if (m.predicted_us > 0) {
      std::snprintf(predicted, sizeof predicted, "%.1f", m.predicted_us);
      std::snprintf(ratio, sizeof ratio, "%.2f", us / m.predicted_us);
    }
    std::printf("%8s %16s %11s %6s%s%s\n", bandwidth, rate, predicted, ratio, m.error.empty() ? "" : "  ",
                m.error.c_str());
  }
  for (const Measured& m : cases) {
    if (!m.by_node.empty())
      std::printf("\n%s %s, us by node, the time of the graph up to it\n", m.name.c_str(), m.dtype.c_str());
    double sum = 0;
    for (const NodeTime& node : m.by_node) {
      std::printf("%9.2f %9.2f  %.120s\n", node.us, sum += node.us, node.name.c_str());
    }
  }
  std::printf("%s, %.1f s\n", ended.empty() ? "goes on" : ended.c_str(), seconds);
}

}  // namespace fgr::gpu
