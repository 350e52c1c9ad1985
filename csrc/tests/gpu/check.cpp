// gpu_main check [--small] [--only SUBSTRING] [--seed N] ...: every kernel against the CPU's.
//   --small       few small sizes: for compute-sanitizer's tools and the emulator
//   --only        the checks whose name contains it
//   --unpoisoned  buffers are not written at birth: for initcheck, which reports what is read before it was
//   --verbose     a line for each check: its largest error in units of the tolerance, its time
//   --list        the names, and nothing else
// A line for each check that fails, and a last one with the numbers; the exit code is 1 if one has failed.
#include "tests/gpu/check.h"

#include <chrono>
#include <stdexcept>
#include <thread>

#if defined(FGR_EMULATE)
#include <cuda_runtime.h>
#endif

#include "tests/gpu/main.h"

namespace fgr::gpu {

Outputs OnDevice::take_outputs() {
  stream_.synchronize();
  Outputs outputs;
  for (const std::unique_ptr<Kept>& array : kept_) {
    if (!array->intact()) throw std::runtime_error(array->name + ": bytes behind its end were written");
    if (array->is_output) outputs.push_back(array->output());
  }
  return outputs;
}

Checks::Checks(CheckOptions options)
    : options_(std::move(options)), threads_(static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))) {}

std::vector<int64_t> Checks::dims() const {
  if (small()) return {1, 3, 33, 64};
  return {1, 3, 33, 64, 100, 256, 512};
}

const TestGraph& Checks::graph_of(Size size, bool weighted) {
  struct Shape {
    int64_t n_users, n_items, most;
  };
  constexpr Shape shapes[] = {{100, 300, 250}, {250, 5000, 4500}, {1500, 21000, 20000}};
  std::unique_ptr<TestGraph>& graph = graphs_[static_cast<int>(size)][weighted];
  if (graph == nullptr) {
    const Shape& shape = shapes[static_cast<int>(size)];
    HostGraph host = power_law_graph(shape.n_users, shape.n_items, shape.most, weighted, options_.seed);
    if (size == Size::small) host.make_schedule(20, 64);
    graph = std::make_unique<TestGraph>(std::move(host));
  }
  return *graph;
}

void Checks::order_threads(int run) {
#if defined(FGR_EMULATE)
  emu::set_thread_order(static_cast<uint64_t>(run));
#else
  static_cast<void>(run);
#endif
}

void Checks::list(const std::string& name) {
  ++count_;
  std::printf("%s\n", name.c_str());
}

void Checks::attempt(const std::string& name, const std::function<std::string(double*)>& fn) {
  if (broken_) return;
  ++count_;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  double margin = 0;
  try {
    const std::string difference = fn(&margin);
    if (!difference.empty()) report(name, difference);
  } catch (const std::exception& error) {
    report(name, error.what());
    give_up_if_broken();
  }
  if (options_.verbose) {
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    std::printf("%6.3f of the tolerance %8.1f ms  %s\n", margin, ms, name.c_str());
  }
}

std::string Checks::compare(const Outputs& first, const Outputs& second, const Outputs& host, double* margin) {
  for (size_t i = 0; i < first.size(); ++i) {
    std::string difference = first[i]->other_bits(*second[i]);
    if (difference.empty()) difference = first[i]->differs_from(*host[i], margin);
    if (!difference.empty()) return difference;
  }
  return "";
}

void Checks::report(const std::string& name, const std::string& what) {
  ++failed_;
  std::printf("FAILED %s: %s\n", name.c_str(), what.c_str());
  std::fflush(stdout);
}

// After an illegal access or a trap a CUDA context does nothing any more.
void Checks::give_up_if_broken() {
  try {
    synchronize();
  } catch (const std::exception& error) {
    std::printf("the device takes no more work (%s): what follows is not checked\n", error.what());
    broken_ = true;
  }
}

int Checks::finish() const {
  if (options_.list) return 0;
  std::printf("%lld checks, %lld failed%s\n", static_cast<long long>(count_), static_cast<long long>(failed_),
              broken_ ? ", stopped there" : "");
  if (count_ == 0) std::printf("no check's name contains \"%s\"\n", options_.only.c_str());
  return failed_ > 0 || count_ == 0 ? 1 : 0;
}

namespace {

CheckOptions options_of(int argc, char** argv) {
  CheckOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&] {
      if (i + 1 == argc) throw std::invalid_argument("check: " + option + " takes a value");
      return argv[++i];
    };
    if (option == "--small") {
      options.small = true;
    } else if (option == "--unpoisoned") {
      poisons = false;
    } else if (option == "--verbose") {
      options.verbose = true;
    } else if (option == "--list") {
      options.list = true;
    } else if (option == "--only") {
      options.only = value();
    } else if (option == "--seed") {
      options.seed = std::stoull(value());
    } else {
      throw std::invalid_argument(
          "check: unknown option " + option +
          "; there are --small, --only SUBSTRING, --seed N, --unpoisoned, --verbose and --list");
    }
  }
  return options;
}

}  // namespace

int check_main(int argc, char** argv) {
  const CheckOptions options = options_of(argc, argv);
  guard_bytes = options.small ? 0 : 256;  // the small set is what memory checkers see
  if (!options.list) std::printf("%s\n", device_name().c_str());
  Checks checks(options);
  check_build(checks);
  check_hops(checks);
  check_products(checks);
  check_losses(checks);
  check_updates(checks);
  check_sampling(checks);
  check_walks(checks);
  check_ranking(checks);
  check_retrieve_halves(checks);
  check_number(checks);
  check_train_step(checks);
  check_row_step(checks);
  return checks.finish();
}

}  // namespace fgr::gpu
