// What is written back to a table: sums of rows, and Adam.
#include "fgr/adam_step.h"
#include "fgr/neighbor_pool.h"
#include "fgr/scatter_rows.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct ScatterCase {
  int64_t dim, n, n_out;
  bool weighted;         // with coef, src_index and scale
  bool one_row = false;  // all terms are of one row
};

template <class S, class T>
void check_scatter_rows(Checks& checks, const ScatterCase& c) {
  using A = acc_t<T>;
  const std::string name = std::string("scatter_rows<") + type_name<S>() + ", " + type_name<T>() +
                           "> dim=" + std::to_string(c.dim) + " n=" + std::to_string(c.n) +
                           " out=" + std::to_string(c.n_out) + (c.weighted ? " weighted" : "") +
                           (c.one_row ? " one row" : "");
  Random random = checks.random(name);
  const int64_t n_src = c.weighted ? 50 : c.n;
  const auto ids =
      c.one_row ? std::vector<int64_t>(static_cast<size_t>(c.n), c.n_out - 1) : random.ids<int64_t>(c.n, -1, c.n_out);
  const auto src = random.uniform<S>(n_src * c.dim);
  const auto src_index = random.ids<int64_t>(c.weighted ? c.n : 0, 0, 50);
  const auto coef = random.uniform<A>(c.weighted ? c.n : 0);
  const std::vector<A> scale(c.weighted ? 1 : 0, A(0.7));
  checks.run(name, [&](auto& on) {
    T* out = on.template out<T>("out", c.n_out * c.dim, close<T>(1, 1));
    FGR_RUN(on, scatter_rows, on.in(ids), on.in(coef), on.in(src), on.in(src_index), c.n, n_src, c.dim, on.in(scale),
            out, c.n_out, on.workspace(FGR_BYTES(on, scatter_rows_workspace_bytes, c.n, c.n_out)));
  });
}

template <class S, class T>
void check_scatter_type(Checks& checks) {
  const bool small = checks.small();
  for (const int64_t dim : checks.dims()) {
    check_scatter_rows<S, T>(checks, {dim, small ? 100 : 6144, small ? 40 : 3000, dim % 2 == 0});
  }
  for (const int64_t n : {0, 1, 2, 33, 5000, 70000}) {
    if (small && n > 33) break;
    check_scatter_rows<S, T>(checks, {small ? 8 : 64, n, 20, n % 2 == 0});
  }
  check_scatter_rows<S, T>(checks, {small ? 8 : 64, small ? 300 : 5000, 7, true, true});
  for (const int64_t n : {128, 129, 257}) check_scatter_rows<S, T>(checks, {small ? 8 : 300, n, 1, false, true});
  // Rows of about 1,000 terms, and of so many that some have one more than a warp adds, and some one less.
  check_scatter_rows<S, T>(checks, {small ? 33 : 260, small ? 1100 : 20000, small ? 1 : 19, true});
  check_scatter_rows<S, T>(checks, {small ? 3 : 64, small ? 1280 : 128000, small ? 9 : 999, false});
}

template <class T>
void check_neighbor_pool(Checks& checks, int64_t dim, int64_t n, int64_t width, int64_t n_rows) {
  using A = acc_t<T>;
  const std::string name = std::string("neighbor_pool<") + type_name<T>() + "> dim=" + std::to_string(dim) +
                           " n=" + std::to_string(n) + " width=" + std::to_string(width) +
                           " rows=" + std::to_string(n_rows);
  Random random = checks.random(name);
  const auto x = random.uniform<T>(n_rows * dim);
  const auto ids = random.ids<int64_t>(n * width, -1, n_rows);
  auto weights = random.uniform<A>(n * width);
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] < 0) weights[t] = std::numeric_limits<A>::quiet_NaN();  // is not looked at
  }
  checks.run(name, [&](auto& on) {
    T* out = on.template out<T>("out", n * dim, close<T>(1, 1));
    FGR_RUN(on, neighbor_pool, on.in(x), n_rows, dim, on.in(ids), on.in(weights), n, width, out);
  });
}

template <class T>
void check_pool_type(Checks& checks) {
  const bool small = checks.small();
  for (const int64_t dim : checks.dims()) check_neighbor_pool<T>(checks, dim, small ? 11 : 700, 7, 40);
  for (const int64_t width : {0, 1, 31, 32, 33, 100}) check_neighbor_pool<T>(checks, small ? 8 : 64, 9, width, 30);
  check_neighbor_pool<T>(checks, 8, 0, 3, 5);
  check_neighbor_pool<T>(checks, 8, 5, 3, 0);
}

template <class T>
void check_adam_step(Checks& checks, int64_t n, int64_t step, double weight_decay) {
  const std::string name = std::string("adam_step<") + type_name<T>() + "> n=" + std::to_string(n) +
                           " step=" + std::to_string(step) + (weight_decay > 0 ? " decay" : "");
  Random random = checks.random(name);
  const auto param = random.uniform<T>(n), grad = random.uniform<T>(n), exp_avg = random.uniform<T>(n);
  const auto exp_avg_sq = random.uniform<T>(n, 0.01, 1);
  const std::vector<int64_t> steps{step};
  const std::vector<double> lr{0.05};
  const AdamOptions options{0.9, 0.999, 1e-8, weight_decay};
  checks.run(name, [&](auto& on) {
    T* p = on.template inout<T>("param", param, close<T>());
    T* m = on.template inout<T>("exp_avg", exp_avg, close<T>());
    T* v = on.template inout<T>("exp_avg_sq", exp_avg_sq, close<T>());
    FGR_RUN(on, adam_step<T>, p, on.in(grad), m, v, n, on.in(steps), on.in(lr), options);
  });
}

template <class T>
void check_adam_type(Checks& checks) {
  const int64_t large = checks.small() ? 2500 : 2500000;
  check_adam_step<T>(checks, 0, 1, 0);
  check_adam_step<T>(checks, 1, 1, 0);
  check_adam_step<T>(checks, 33, 2, 0.01);
  check_adam_step<T>(checks, 1024, 3, 0);
  check_adam_step<T>(checks, 1027, 100000, 0.01);
  check_adam_step<T>(checks, large, 7, 0.01);
}

}  // namespace

void check_updates(Checks& checks) {
  check_scatter_type<float, float>(checks);
  check_scatter_type<double, double>(checks);
  check_scatter_type<bf16, bf16>(checks);
  check_scatter_type<float, bf16>(checks);
  check_pool_type<float>(checks);
  check_pool_type<double>(checks);
  check_pool_type<bf16>(checks);
  check_adam_type<float>(checks);
  check_adam_type<double>(checks);
}

}  // namespace fgr::gpu
