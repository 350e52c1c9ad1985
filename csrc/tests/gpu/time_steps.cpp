// Whole training steps: draw a batch, take the step, count both; one after the other, and ten at a time on two streams,
// as training/steps/captured.py captures them.
#include <cmath>

#include "fgr/sample.h"
#include "fgr/train_step.h"
#include "tests/gpu/replay.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

const int64_t batch_size = sized(2048, 16);

struct Setting {
  const char* name;
  StepLoss loss;
  int64_t hops, dim;
  double reg;
  bool item_bias, samples;  // samples: the sampler runs within the step
  double predicted;
};

// A second stream, which takes what hangs on no more than was launched on the first one before begin(), and which the
// first one waits for at join().
class Beside {
 public:
#if defined(FGR_EMULATE)
  void* begin(void* stream) { return stream; }
  void join(void*) {}
#else
  Beside() {
    for (auto* event : {&from_, &back_}) {
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    }
  }
  ~Beside() {
    cudaEventDestroy(from_);
    cudaEventDestroy(back_);
  }
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;
  void* begin(void* stream) {
    wait(stream, own_.get(), from_);
    return own_.get();
  }
  void join(void* stream) { wait(own_.get(), stream, back_); }

 private:
  static void wait(void* first, void* then, cudaEvent_t event) {
    check(cudaEventRecord(event, static_cast<cudaStream_t>(first)), "cudaEventRecord");
    check(cudaStreamWaitEvent(static_cast<cudaStream_t>(then), event, 0), "cudaStreamWaitEvent");
  }
  Stream own_;
  cudaEvent_t from_ = nullptr, back_ = nullptr;
#endif
};

template <class T>
void add_step(Cases& cases, const Setting& s) {
  using A = acc_t<T>;
  const World& w = cases.world;
  const Bipartite graph = w.graph();
  const int64_t n = w.n_nodes() * s.dim, n_alphas = s.hops + 1, size = batch_size, n_edges = w.n_edges();
  const int64_t n_neg = s.loss == StepLoss::softmax ? 0 : 1;
  const Batch b = w.batch(size, n_neg);
  auto emb = uniform<A>(n, 18), exp_avg = zeros<A>(n), exp_avg_sq = zeros<A>(n);
  auto shadow = sizeof(T) == 2 && s.hops > 0 ? uniform<T>(n, 19, 0.01f) : empty<T>(0);  // right * emb after one step
  auto scale = w.power_of_degree<A>(-0.5);
  auto alphas = holding(std::vector<A>(static_cast<size_t>(n_alphas), A(1) / static_cast<A>(n_alphas)));
  auto bias = s.item_bias ? uniform<A>(w.n_items(), 20) : empty<A>(0);
  auto lr = holding(std::vector<double>{1e-3});
  auto step = holding(std::vector<int64_t>{1}), seed = holding(std::vector<int64_t>{7}), offset = zeros<int64_t>(1);
  auto loss = empty<A>(1);
  auto space = workspace(cuda::train_step_workspace_bytes<T>(graph, s.dim, s.dim, n_alphas, size, n_neg, false));
  const StepModel<T> model{s.dim,      alphas->get(),  n_alphas,          scale->get(), scale->get(),
                           emb->get(), exp_avg->get(), exp_avg_sq->get(), bias->get(),  shadow->get()};
  const StepOptions options{s.loss, 0.1, 1.0, 0.0, s.reg, {0.9, 0.999, 1e-8, 0.0}};
  const bool samples = s.samples;
  Case c;
  c.name = s.name;
  c.dtype = dtype_of<T>();
  c.sizes = "B=" + std::to_string(size) + ", K=" + std::to_string(s.hops) + ", d=" + std::to_string(s.dim) +
            (samples ? ", with its sampler" : "");
  c.data = "HBM";
  c.work = static_cast<double>(size);
  c.unit = "samples";
  c.predicted_us = s.predicted;
  c.holds = {alphas, scale, emb, exp_avg, exp_avg_sq, bias, shadow};
  c.run = [=](void* stream) {
    if (samples) {
      cuda::sample_batch(graph.users, n_edges, BatchLaw::by_edge, nullptr, 0, seed->get(), offset->get(), size, n_neg,
                         b.users->get(), b.pos->get(), b.neg->get(), stream);
    }
    const PairBatch batch{b.users->get(), b.pos->get(), b.neg->get(), size, n_neg, false};
    cuda::train_step<T>(graph, model, {}, batch, options, lr->get(), step->get(), loss->get(), nullptr, space->get(),
                        stream);
    if (samples) advance(offset->get(), size, stream);
    advance(step->get(), 1, stream);
  };
  c.by_node = samples;
  c.check = [=] { return std::isfinite(loss->host()[0]) ? "" : "its loss is not finite"; };
  cases.add(c);
  if (!samples) return;

  constexpr int steps = 10;
  const bool inner = s.hops > 1;
  const Batch second = w.batch(size, n_neg);
  auto other = inner ? space : workspace(space->size());
  auto beside = std::make_shared<Beside>();
  const auto part = [=](unsigned parts, int i, void* stream) {
    const Batch& of = i % 2 == 0 ? b : second;
    const PairBatch batch{of.users->get(), of.pos->get(), of.neg->get(), size, n_neg, false};
    StepShare<T> share;
    share.parts = parts;
    cuda::train_step<T>(graph, model, share, batch, options, lr->get(), step->get(), loss->get(), nullptr,
                        (i % 2 == 0 ? space : other)->get(), stream);
  };
  const auto draw = [=](int i, void* stream) {
    const Batch& of = i % 2 == 0 ? b : second;
    void* on = beside->begin(stream);
    cuda::sample_batch(graph.users, n_edges, BatchLaw::by_edge, nullptr, 0, seed->get(), offset->get(), size, n_neg,
                       of.users->get(), of.pos->get(), of.neg->get(), on);
    part(step_number | (inner ? step_ridge : 0u), i, on);
    advance(offset->get(), size, on);
    advance(step->get(), 1, on);
  };
  c.variant = "ten at once, drawn beside";
  c.by_node = false;
  c.calls = steps;
  c.run = [=](void* stream) {
    draw(0, stream);
    for (int i = 0; i < steps; ++i) {
      if (inner) part(step_inner, i, stream);
      beside->join(stream);
      if (!inner && i + 1 < steps) draw(i + 1, stream);
      part(step_last | step_loss | step_seed | step_update | (inner ? 0u : step_ridge), i, stream);
      if (inner && i + 1 < steps) draw(i + 1, stream);
    }
  };
  cases.add(c);
}

// .50 to .60 and .42 to .50 ms; .37 to .43 ms; .85 to .95 ms. By node (float32): sample_batch 6 to 9; numbering 35 to
// 45, in 16 nodes, of which the sort has 10; inner hops 80 to 110; the masked hop forwards 30 to 40; the hop backwards
// from the batch's nodes 50 to 65; pair_loss 7; the last hop, with Adam, 110 to 130.
const Registered steps(11, "training steps", [](Cases& cases) {
  add_step<float>(cases, {"step BPR K=3", StepLoss::bpr, 3, 64, 1e-4, false, true, 550});
  add_step<bf16>(cases, {"step BPR K=3", StepLoss::bpr, 3, 64, 1e-4, false, true, 460});
  add_step<float>(cases, {"step softmax K=1", StepLoss::softmax, 1, 64, 1e-5, false, true, 400});
  add_step<bf16>(cases, {"step softmax K=1", StepLoss::softmax, 1, 64, 1e-5, false, true, 0});
  add_step<float>(cases, {"step softmax K=1 d=256", StepLoss::softmax, 1, 256, 1e-5, true, true, 900});
  add_step<bf16>(cases, {"step softmax K=1 d=256", StepLoss::softmax, 1, 256, 1e-5, true, true, 0});
});
// Their differences are what single hops take.
const Registered fewer(50, "training steps of fewer hops", [](Cases& cases) {
  add_step<float>(cases, {"train_step BPR K=0", StepLoss::bpr, 0, 64, 1e-4, false, false, 0});
  add_step<float>(cases, {"train_step BPR K=1", StepLoss::bpr, 1, 64, 1e-4, false, false, 0});
  add_step<float>(cases, {"train_step BPR K=2", StepLoss::bpr, 2, 64, 1e-4, false, false, 0});
  add_step<float>(cases, {"train_step BPR K=3", StepLoss::bpr, 3, 64, 1e-4, false, false, 0});
});

}  // namespace
}  // namespace fgr::gpu
