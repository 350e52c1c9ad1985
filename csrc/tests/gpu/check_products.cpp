// Dense layers and their gradients.
#include "fgr/dense.h"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct DenseCase {
  int64_t n, inputs, outputs;
  bool transposed, biased;
};

// What sums of `terms` products of numbers on [-1, 1] are like.
double size_of_sums(int64_t terms) { return std::sqrt(static_cast<double>(std::max<int64_t>(terms, 1))) / 3; }

template <class T>
void check_dense(Checks& checks, const DenseCase& c) {
  const std::string name = std::string("dense<") + type_name<T>() + "> n=" + std::to_string(c.n) +
                           " inputs=" + std::to_string(c.inputs) + " outputs=" + std::to_string(c.outputs) +
                           (c.transposed ? " transposed" : "") + (c.biased ? " bias" : "");
  Random random = checks.random(name);
  const auto x = random.uniform<T>(c.n * c.inputs), w = random.uniform<T>(c.inputs * c.outputs);
  const auto b = random.uniform<T>(c.biased ? c.outputs : 0);
  const int64_t w_row = c.transposed ? 1 : c.inputs, w_col = c.transposed ? c.outputs : 1;
  checks.run(name, [&](auto& on) {
    T* y = on.template out<T>("y", c.n * c.outputs, close<T>(1, size_of_sums(c.inputs)));
    FGR_RUN(on, dense<T>, on.in(x), on.in(w), w_row, w_col, on.in(b), c.n, c.inputs, c.outputs, y,
            on.workspace(FGR_BYTES(on, dense_workspace_bytes, c.inputs, c.outputs, sizeof(T))));
  });
}

template <class T>
void check_outer_sum(Checks& checks, int64_t n, int64_t m, int64_t k) {
  const std::string name = std::string("outer_sum<") + type_name<T>() + "> n=" + std::to_string(n) +
                           " m=" + std::to_string(m) + " k=" + std::to_string(k);
  Random random = checks.random(name);
  const auto a = random.uniform<T>(n * m), b = random.uniform<T>(n * k);
  checks.run(name, [&](auto& on) {
    T* product = on.template out<T>("product", m * k, close<T>(1, size_of_sums(n)));
    T* sums = on.template out<T>("sums", m, close<T>(1, size_of_sums(n)));
    FGR_RUN(on, outer_sum<T>, on.in(a), on.in(b), n, m, k, product, sums,
            on.workspace(outer_sum_workspace_bytes(n, m, k, sizeof(T))));
  });
}

template <class T>
void check_type(Checks& checks) {
  const bool small = checks.small();
  const int64_t rows = small ? 70 : 2048;
  for (const int64_t dim : checks.dims()) {
    check_dense<T>(checks, {rows, dim, dim, false, true});
    check_dense<T>(checks, {rows, dim, small ? 5 : 65, true, false});
    check_outer_sum<T>(checks, small ? 300 : 5000, dim, small ? 5 : dim);
  }
  for (const int64_t n : {0, 1, 2, 33, 70000}) {
    if (small && n > 33) break;
    check_dense<T>(checks, {n, 64, 33, false, true});
    check_outer_sum<T>(checks, n, 33, small ? 3 : 64);
  }
  check_dense<T>(checks, {33, 0, 7, false, true});
  check_dense<T>(checks, {33, 0, 7, true, false});
  check_dense<T>(checks, {33, 7, 0, false, false});
  check_outer_sum<T>(checks, 33, 0, 7);
  check_outer_sum<T>(checks, 33, 7, 0);
}

}  // namespace

void check_products(Checks& checks) {
  check_type<float>(checks);
  check_type<double>(checks);
}

}  // namespace fgr::gpu
