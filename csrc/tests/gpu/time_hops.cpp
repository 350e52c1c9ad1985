// Hops over the graph: propagate and half_hop.
#include "fgr/half_hop.h"
#include "fgr/propagate.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

// What a hop reads and writes: for every edge the index, the row and, if scaled, its scale; for every row of the result
// itself, its pointer and its scales, and what is added to it.
template <class T>
double hop_bytes(int64_t edges, int64_t rows, int64_t dim, bool scaled, bool with_base) {
  const double row = static_cast<double>(dim) * sizeof(T), scale = sizeof(acc_t<T>);
  return static_cast<double>(edges) * (4 + row + (scaled ? scale : 0)) +
         static_cast<double>(rows) * (8 + 2 * scale + (with_base ? 2 : 1) * row);
}

struct Predicted {
  double scaled, unscaled, three, half;  // of a hop, of propagate with K = 3, of half a hop
};

// The first hop of propagate multiplies by a scale at every edge, the inner ones do not.
template <class T>
void add_propagate(Cases& cases, int64_t dim, const Predicted& predicted) {
  using A = acc_t<T>;
  const World& w = cases.world;
  const Bipartite graph = w.graph();
  auto x = uniform<T>(w.n_nodes() * dim, 3), y = empty<T>(w.n_nodes() * dim);
  auto scale = w.power_of_degree<A>(-0.5);
  auto alphas = holding(std::vector<A>(4, A(0.25)));
  auto space = workspace(propagate_workspace_bytes<T>(graph, dim, 4));
  const auto add = [&](const char* name, int64_t n_alphas, bool scaled, double us) {
    const double hops = static_cast<double>(n_alphas - 1);
    Case c;
    c.name = std::string(name) + (dim == 64 ? "" : " d=" + std::to_string(dim));
    c.dtype = dtype_of<T>();
    c.sizes = "d=" + std::to_string(dim) + ", all nodes";
    c.data = x->bytes() < 30000000 ? "L2" : "HBM";
    c.work = hops * 2 * static_cast<double>(w.n_edges());
    c.unit = "edges";
    c.bytes = hop_bytes<T>(2 * w.n_edges(), w.n_nodes(), dim, scaled, true) +
              (hops - 1) * hop_bytes<T>(2 * w.n_edges(), w.n_nodes(), dim, false, true);
    c.predicted_us = us;
    c.run = [=](void* stream) {
      cuda::propagate<T>(graph, x->get(), dim, alphas->get(), n_alphas, scale->get(), scaled ? scale->get() : nullptr,
                         y->get(), space->get(), stream);
    };
    cases.add(c);
  };
  add("hop, scaled", 2, true, predicted.scaled);
  add("hop", 2, false, predicted.unscaled);
  if (dim == 64) add("propagate K=3", 4, true, predicted.three);
}

template <class T>
void add_half_hops(Cases& cases, const Predicted& predicted) {
  using A = acc_t<T>;
  constexpr int64_t dim = 64;
  const World& w = cases.world;
  const Bipartite graph = w.graph();
  auto scale = w.power_of_degree<A>(-0.5);
  auto space = workspace(half_hop_workspace_bytes<T>(graph, dim));
  for (const Side side : {Side::users, Side::items}) {
    const bool to_users = side == Side::users;
    const int64_t rows = to_users ? w.n_users() : w.n_items(), others = w.n_nodes() - rows;
    const int64_t first = to_users ? 0 : w.n_users();
    auto x = uniform<T>(others * dim, 4), y = empty<T>(rows * dim);
    Case c;
    c.name = to_users ? "half_hop to users" : "half_hop to items";
    c.dtype = dtype_of<T>();
    c.sizes = "d=64";
    c.work = static_cast<double>(w.n_edges());
    c.unit = "edges";
    c.bytes = hop_bytes<T>(w.n_edges(), rows, dim, false, false);
    c.predicted_us = predicted.half;
    c.run = [=](void* stream) {
      cuda::half_hop<T>(graph, side, x->get(), dim, scale->get() + first, nullptr, nullptr, y->get(), space->get(),
                        stream);
    };
    cases.add(c);
  }
}

// 80 to 110 us a hop in float32, 60 to 80 in bfloat16: the lower end without a scale at every edge.
const Registered hops(10, "hops", [](Cases& cases) {
  add_propagate<float>(cases, 64, {110, 80, 270, 45});
  add_propagate<bf16>(cases, 64, {80, 60, 200, 35});
  add_half_hops<float>(cases, {0, 0, 0, 45});
  add_half_hops<bf16>(cases, {0, 0, 0, 35});
});
const Registered more_hops(60, "hops of other sizes", [](Cases& cases) {
  add_propagate<double>(cases, 64, {});
  add_propagate<float>(cases, 256, {});
  add_propagate<bf16>(cases, 256, {});
});

}  // namespace
}  // namespace fgr::gpu
