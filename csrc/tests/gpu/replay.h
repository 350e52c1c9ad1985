// Some calls recorded as a CUDA graph, which is replayed between two events. Without a GPU: called, by the clock.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "tests/gpu/device.h"

namespace fgr::gpu {

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

#if defined(FGR_EMULATE)

class Replay {
 public:
  Replay(const std::function<void(void*)>& run, int calls, void*) : run_(run), calls_(calls) {}
  double microseconds(bool) {
    const double begin = seconds_now();
    for (int i = 0; i < calls_; ++i) run_(nullptr);
    return (seconds_now() - begin) * 1e6 / calls_;
  }
  int calls() const { return calls_; }
  int64_t nodes() const { return 0; }

 private:
  std::function<void(void*)> run_;
  int calls_;
};

inline bool device_is_lost() { return false; }

#else

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using Graph = std::unique_ptr<CUgraph_st, DestroyGraph>;

// What run launches on the stream, `calls` times.
inline Graph captured(const std::function<void(void*)>& run, int calls, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  check(cudaStreamBeginCapture(on, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t made = nullptr;
  try {
    for (int i = 0; i < calls; ++i) run(stream);
  } catch (...) {
    cudaStreamEndCapture(on, &made);
    if (made != nullptr) cudaGraphDestroy(made);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(on, &made), "cudaStreamEndCapture");
  return Graph(made);
}

class Replay {
 public:
  Replay(const std::function<void(void*)>& run, int calls, void* stream)
      : Replay(captured(run, calls, stream), calls, stream) {}
  // Of a graph that holds so many calls.
  Replay(const Graph& graph, int calls, void* stream) : calls_(calls), stream_(static_cast<cudaStream_t>(stream)) {
    size_t n = 0;
    check(cudaGraphGetNodes(graph.get(), nullptr, &n), "cudaGraphGetNodes");
    nodes_ = static_cast<int64_t>(n) / calls;
    cudaGraphExec_t made = nullptr;
    check(cudaGraphInstantiate(&made, graph.get(), 0), "cudaGraphInstantiate");
    exec_.reset(made);
    for (auto* event : {&begin_, &end_}) {
      cudaEvent_t created = nullptr;
      check(cudaEventCreate(&created), "cudaEventCreate");
      event->reset(created);
    }
  }

  // Microseconds a call. After one replay that is not timed, if warm: then the timed one is launched while that runs,
  // and what the host needs to launch it does not count.
  double microseconds(bool warm) {
    if (warm) check(cudaGraphLaunch(exec_.get(), stream_), "cudaGraphLaunch");
    check(cudaEventRecord(begin_.get(), stream_), "cudaEventRecord");
    check(cudaGraphLaunch(exec_.get(), stream_), "cudaGraphLaunch");
    check(cudaEventRecord(end_.get(), stream_), "cudaEventRecord");
    check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e3 / calls_;
  }
  int calls() const { return calls_; }
  int64_t nodes() const { return nodes_; }  // of a call

 private:
  struct DestroyExec {
    void operator()(cudaGraphExec_t exec) const { cudaGraphExecDestroy(exec); }
  };
  struct DestroyEvent {
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
  };
  int calls_;
  int64_t nodes_ = 0;
  cudaStream_t stream_;
  std::unique_ptr<CUgraphExec_st, DestroyExec> exec_;
  std::unique_ptr<CUevent_st, DestroyEvent> begin_, end_;
};

// Whether an error stays, as that of a kernel that trapped: then nothing else can run.
inline bool device_is_lost() {
  cudaGetLastError();
  return cudaDeviceSynchronize() != cudaSuccess && cudaDeviceSynchronize() != cudaSuccess;
}

#endif

}  // namespace fgr::gpu
