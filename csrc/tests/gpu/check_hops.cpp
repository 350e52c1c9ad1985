// Sums over neighbours.
#include "fgr/half_hop.h"
#include "fgr/propagate.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct HopCase {
  int64_t dim, n_alphas;
  bool weighted, left, right;
  int64_t shift = 0;  // x begins so many values behind a boundary of 16 bytes
};

std::string describe(const HopCase& c) {
  return " dim=" + std::to_string(c.dim) + (c.weighted ? " weighted" : "") + (c.left ? " left" : "") +
         (c.right ? " right" : "") + (c.shift > 0 ? " shifted" : "");
}

// Without scales the longest rows, whose sums lose most, are all there is to the norm.
template <class T>
double factor_of(const HopCase& c) {
  return sizeof(T) == 2 ? 1 : c.left && c.right ? 2 : 8;
}

// 1 / sqrt(edges), so that rows of all lengths give results of one size.
template <class A>
std::vector<A> scales(const HostGraph& graph, bool given) {
  std::vector<A> scale;
  for (int64_t node = 0; given && node < graph.n_nodes(); ++node) {
    scale.push_back(static_cast<A>(1 / std::sqrt(static_cast<double>(std::max<int64_t>(graph.degree(node), 1)))));
  }
  return scale;
}

template <class T>
void check_propagate(Checks& checks, const HopCase& c) {
  using A = acc_t<T>;
  const std::string rest = std::string("<") + type_name<T>() + "> alphas=" + std::to_string(c.n_alphas) + describe(c);
  const TestGraph& graph = checks.hop_graph(c.weighted, c.dim);
  Random random = checks.random(rest);
  const int64_t n_nodes = graph.host.n_nodes();
  const auto x = random.uniform<T>(n_nodes * c.dim + c.shift), g = random.uniform<T>(n_nodes * c.dim);
  const auto alphas = random.uniform<A>(c.n_alphas, 0.2, 1);
  const auto left = scales<A>(graph.host, c.left), right = scales<A>(graph.host, c.right);
  const double factor = factor_of<T>(c);
  checks.run("propagate" + rest, [&](auto& on) {
    const Bipartite both = on.graph(graph);
    T* y = on.template out<T>("y", n_nodes * c.dim, close<T>(factor));
    FGR_RUN(on, propagate<T>, both, on.in(x) + c.shift, c.dim, on.in(alphas), c.n_alphas, on.in(left), on.in(right), y,
            on.workspace(propagate_workspace_bytes<T>(both, c.dim, c.n_alphas)));
  });
  // Products of independent vectors: what is added up is far larger than the sum.
  const double terms = std::sqrt(static_cast<double>(n_nodes * c.dim)) / 3;
  checks.run("propagate_dots" + rest, [&](auto& on) {
    const Bipartite both = on.graph(graph);
    double* panels = on.template out<double>("panels", c.n_alphas * column_panels(c.dim), close<T>(factor, terms));
    A* dots = on.template out<A>("dots", c.n_alphas, close<T>(factor, terms));
    FGR_RUN(on, propagate_dots<T>, both, on.in(x) + c.shift, on.in(g), c.dim, c.n_alphas, on.in(left), on.in(right),
            panels, dots, on.workspace(propagate_dots_workspace_bytes<T>(both, c.dim)));
  });
}

template <class T>
void check_half_hop(Checks& checks, const HopCase& c, Side side, bool based) {
  using A = acc_t<T>;
  const std::string name = std::string("half_hop<") + type_name<T>() + "> " +
                           (side == Side::users ? "users" : "items") + describe(c) + (based ? " base" : "");
  const TestGraph& graph = checks.hop_graph(c.weighted, c.dim);
  Random random = checks.random(name);
  const int64_t n_users = graph.host.n_users, n_items = graph.host.n_items;
  const int64_t n_to = side == Side::users ? n_users : n_items, n_from = n_users + n_items - n_to;
  const auto scale = scales<A>(graph.host, true);
  const auto part = [&](bool given, bool of_users) {
    return !given     ? std::vector<A>()
           : of_users ? std::vector<A>(scale.begin(), scale.begin() + n_users)
                      : std::vector<A>(scale.begin() + n_users, scale.end());
  };
  const auto left = part(c.left, side == Side::users), right = part(c.right, side == Side::items);
  const auto x = random.uniform<T>(n_from * c.dim), base = random.uniform<T>(based ? n_to * c.dim : 0);
  const double factor = factor_of<T>(c);
  checks.run(name, [&](auto& on) {
    const Bipartite both = on.graph(graph);
    T* y = on.template out<T>("y", n_to * c.dim, close<T>(factor));
    FGR_RUN(on, half_hop<T>, both, side, on.in(x), c.dim, on.in(left), on.in(right), on.in(base), y,
            on.workspace(half_hop_workspace_bytes<T>(both, c.dim)));
  });
}

template <class T>
void check_type(Checks& checks) {
  bool weighted = false;
  for (const int64_t dim : checks.dims()) {
    check_propagate<T>(checks, {dim, 3, weighted, true, true});
    check_half_hop<T>(checks, {dim, 0, weighted, true, true}, Side::users, weighted);
    check_half_hop<T>(checks, {dim, 0, weighted, false, false}, Side::items, !weighted);
    weighted = !weighted;
  }
  const int64_t dim = checks.small() ? 8 : 64;
  check_propagate<T>(checks, {dim, 1, false, false, false});
  check_propagate<T>(checks, {dim, 2, true, false, false});
  check_propagate<T>(checks, {dim, 2, false, true, false});
  check_propagate<T>(checks, {dim, 4, false, false, true});
  check_propagate<T>(checks, {dim, 5, true, true, true});
  check_propagate<T>(checks, {dim, 3, true, true, true, 1});
}

}  // namespace

void check_hops(Checks& checks) {
  check_type<float>(checks);
  check_type<double>(checks);
  check_type<bf16>(checks);
}

}  // namespace fgr::gpu
