// The hop with other numbers: rows of x in flight, blocks on a multiprocessor, rows that a warp takes one after
// another.
#include "cuda/hop.cuh"
#include "fgr/propagate.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

template <class T, int n_ahead, int n_blocks>
struct Stored : cuda::StoreRow<T> {
  static constexpr int ahead = n_ahead, blocks = n_blocks;
};

template <class T, int n_ahead, int n_blocks>
void add_variants(Cases& cases, bool scaled) {
  using A = acc_t<T>;
  using Sink = Stored<T, n_ahead, n_blocks>;
  constexpr int64_t dim = 64;
  constexpr int values = 16 / sizeof(T);
  const World& w = cases.world;
  auto x = uniform<T>(w.n_nodes() * dim, 3), y = empty<T>(w.n_nodes() * dim), want = empty<T>(w.n_nodes() * dim);
  auto scale = w.power_of_degree<A>(-0.5);
  auto alphas = holding(std::vector<A>{A(0), A(1)});
  auto space = workspace(propagate_workspace_bytes<T>(w.graph(), dim, 2));
  for (int lanes = cuda::hop_width(dim, values); lanes <= cuda::warp; lanes *= 2) {
    cuda::Hop<T> h;
    h.graph = w.graph();
    h.left = scale->get();
    h.col_scale = scaled ? scale->get() : nullptr;
    h.x = h.base = x->get();
    h.gain = alphas->get() + 1;
    h.beta = alphas->get();
    h.partial = reinterpret_cast<A*>(space->get());
    h.dim = dim;
    Sink sink;
    sink.y = y->get();
    sink.dim = dim;
    Case c;
    c.name = scaled ? "hop, scaled" : "hop";
    c.dtype = dtype_of<T>();
    c.variant = std::to_string(n_ahead) + " ahead, " + std::to_string(n_blocks) + " blocks, " + std::to_string(lanes) +
                " lanes";
    c.sizes = "d=64, all nodes";
    c.work = 2 * static_cast<double>(w.n_edges());
    c.unit = "edges";
    c.holds = {x, y, want, scale, alphas, space};
    c.run = [=](void* stream) {
      cuda::launch_hop<values>("hop", h, cuda::hop_width(dim, values), sink, stream, lanes);
    };
    c.check = [=] {
      cuda::propagate<T>(h.graph, x->get(), dim, alphas->get(), 2, scale->get(), h.col_scale, want->get(), space->get(),
                         nullptr);
      synchronize();
      return differs(*y, *want, sizeof(T) == 2 ? 1e-2 : 1e-6);
    };
    cases.add(c);
  }
}

template <class T>
void add_all(Cases& cases) {
  for (const bool scaled : {false, true}) {
    add_variants<T, 8, 3>(cases, scaled);
    add_variants<T, 4, 4>(cases, scaled);
    add_variants<T, 4, 5>(cases, scaled);
  }
}

const Registered variants(90, "variants of the hop", [](Cases& cases) {
  add_all<float>(cases);
  add_all<bf16>(cases);
});

}  // namespace
}  // namespace fgr::gpu
