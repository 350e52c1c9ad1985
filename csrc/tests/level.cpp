// Every inner loop of the level in use against plain loops in double: for a processor whose Python tests are not run
// here, this is what tells that its vectors are loaded, shuffled and compared as meant.
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/isa/levels.h"
#include "tests/support.h"

namespace fgr::tests {
namespace {

template <class T>
double value(const T* x, int64_t i) {
  return static_cast<double>(load(x[i]));
}

// Within what n sums of terms up to `size` may lose in A, and, stored as T, one rounding more.
template <class T>
bool near(double found, double expected, int64_t n, double size) {
  const double unit = static_cast<double>(std::numeric_limits<acc_t<T>>::epsilon());
  const double stored = sizeof(T) == 2 ? 0x1p-8 * std::abs(expected) : 0;
  return std::abs(found - expected) <= static_cast<double>(n + 4) * unit * size + stored;
}

template <class T>
struct Filled : Buffer<T> {
  Filled(int64_t n, unsigned seed) : Buffer<T>(n) { fill(*this, seed); }
};

template <class T>
void check_sums(int64_t dim) {
  using A = acc_t<T>;
  const cpu::Kernels<T>& k = cpu::kernels<T>();
  const int64_t n = 37;
  Filled<T> x(n * dim, 1), y(n * dim, 2);
  Filled<A> sums(dim, 3), coef(n, 4), out(dim * 48, 5);
  double expected = 0;
  for (int64_t c = 0; c < dim; ++c) expected += value(x.data, c) * value(y.data, c);
  CHECK(near<A>(static_cast<double>(k.dot(x, y, dim)), expected, dim, static_cast<double>(dim)));

  const std::vector<A> before(sums.data, sums.data + dim);
  k.axpy(sums, A(0.375), x, dim);
  for (int64_t c = 0; c < dim; ++c) {
    const double one = static_cast<double>(before[static_cast<size_t>(c)]) + 0.375 * value(x.data, c);
    CHECK(near<A>(static_cast<double>(sums[c]), one, 1, 2));
  }

  Buffer<int32_t> rows(n);
  for (int64_t i = 0; i < n; ++i) rows[i] = static_cast<int32_t>(i * 5 % n);
  k.weighted_rows(x, dim, rows, coef, n, dim, false, sums);
  for (int64_t c = 0; c < dim; ++c) {
    double one = 0;
    for (int64_t i = 0; i < n; ++i) one += static_cast<double>(coef[i]) * value(x.data, rows[i] * dim + c);
    CHECK(near<A>(static_cast<double>(sums[c]), one, n, static_cast<double>(n)));
  }

  const T* packed[48];
  A factors[48];
  for (int64_t j = 0; j < 48; ++j) packed[j] = j % 7 == 3 ? nullptr : x.data + j % n * dim, factors[j] = A(j) / 8;
  k.pack(packed, factors, 48, dim, out);
  for (int64_t c = 0; c < dim; ++c) {
    for (int64_t j = 0; j < 48; ++j) {
      const A one = packed[j] == nullptr ? A(0) : factors[j] * static_cast<A>(load(packed[j][c]));
      CHECK(out[c * 48 + j] == one);
    }
  }
}

// Rows of a graph, weighted and scaled or not, over all columns or those that have a slot, with a base or without.
template <class T>
void check_hop(int64_t dim) {
  using A = acc_t<T>;
  const TestGraph graph(23, 70, 600, 6);
  const Csr& csr = graph.both.users;
  Filled<T> x(70 * dim, 7), base(23 * dim, 8), y(23 * dim, 9);
  Filled<float> weight(graph.kept, 10);
  Filled<A> scale(70, 11), left(23, 12);
  Buffer<int32_t> slot(70);
  for (int64_t j = 0; j < 70; ++j) slot[j] = j % 3 == 0 ? -1 : static_cast<int32_t>(j * 11 % 70);
  for (int variant = 0; variant < 16; ++variant) {
    cpu::Hop<T> hop;
    hop.indptr = csr.indptr, hop.indices = csr.indices, hop.x = x, hop.y = y, hop.dim = dim, hop.gain = A(0.5);
    hop.left = left;
    if ((variant & 1) != 0) hop.weight = weight;
    if ((variant & 2) != 0) hop.col_scale = scale;
    if ((variant & 4) != 0) hop.col_slot = slot;
    if ((variant & 8) != 0) hop.base = base, hop.beta = A(0.25);
    cpu::kernels<T>().hop(hop, 0, 23);
    for (int64_t r = 0; r < 23; ++r) {
      for (int64_t c = 0; c < dim; ++c) {
        double sum = 0;
        for (int64_t e = csr.indptr[r]; e < csr.indptr[r + 1]; ++e) {
          const int64_t col = hop.col_slot != nullptr ? slot[csr.indices[e]] : csr.indices[e];
          if (col < 0) continue;
          sum += (hop.weight != nullptr ? static_cast<double>(weight[e]) : 1) *
                 (hop.col_scale != nullptr ? static_cast<double>(scale[col]) : 1) * value(x.data, col * dim + c);
        }
        sum *= 0.5 * static_cast<double>(left[r]);
        if (hop.base != nullptr) sum += 0.25 * value(base.data, r * dim + c);
        const int64_t n = csr.indptr[r + 1] - csr.indptr[r];
        CHECK(near<T>(value(y.data, r * dim + c), sum, n, static_cast<double>(n + 1)));
      }
    }
  }
}

template <class A>
void check_dense(int64_t dim) {
  const cpu::DenseKernels<A>& k = cpu::dense_kernels<A>();
  const int64_t m = 21, n = 83, wide = 48;
  Filled<A> a(m * dim, 13), b(dim * n, 14), c(m * n, 15), rows(n * dim, 16), queries(4 * dim, 17), out(4 * wide, 18);
  for (const bool accumulate : {false, true}) {
    const std::vector<A> before(c.data, c.data + c.size);
    k.gemm(m, n, dim, a, dim, 1, b, n, c, n, accumulate);
    for (int64_t i = 0; i < m * n; ++i) {
      double sum = accumulate ? static_cast<double>(before[static_cast<size_t>(i)]) : 0;
      for (int64_t p = 0; p < dim; ++p) sum += value(a.data, i / n * dim + p) * value(b.data, p * n + i % n);
      CHECK(near<A>(static_cast<double>(c[i]), sum, dim, static_cast<double>(2 * dim + 2)));
    }
  }
  const A* some[wide];
  A factors[wide];
  for (int64_t j = 0; j < wide; ++j) some[j] = j % 5 == 2 ? nullptr : rows.data + j * dim, factors[j] = A(1 + j % 3);
  for (int64_t q = 1; q <= cpu::row_dots_queries; ++q) {
    k.row_dots(some, factors, wide, dim, queries, q, out, wide);
    for (int64_t i = 0; i < q * wide; ++i) {
      double sum = 0;
      for (int64_t p = 0; p < dim && some[i % wide] != nullptr; ++p) {
        sum += value(queries.data, i / wide * dim + p) * value(some[i % wide], p);
      }
      sum *= static_cast<double>(factors[i % wide]);
      CHECK(near<A>(static_cast<double>(out[i]), sum, dim, 3 * static_cast<double>(dim)));
    }
  }
}

template <class A>
void check_rows(int64_t n) {
  const cpu::DenseKernels<A>& k = cpu::dense_kernels<A>();
  Filled<A> x(n, 19);
  if (n > 5) x[n - 2] = std::numeric_limits<A>::quiet_NaN();
  Buffer<int32_t> found(n);
  for (const A bound : {A(0.25), x.size > 3 ? x[3] : A(0)}) {
    const int64_t kept = k.not_below(x, n, bound, found);
    int64_t at = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (x[i] < bound) continue;
      CHECK(at < kept && found[at] == i);
      ++at;
    }
    CHECK(at == kept);
  }
  if (n > 5) x[n - 2] = 0;
  const std::vector<A> before(x.data, x.data + n);
  A max = 0;
  double sum = 0, top = n > 0 ? static_cast<double>(before[0]) : 0;
  const double total = static_cast<double>(k.exp_row(x, n, A(4), &max));
  for (const A one : before) top = static_cast<double>(one) > top ? static_cast<double>(one) : top;
  for (int64_t i = 0; i < n; ++i) {
    const double one = std::exp(4 * (static_cast<double>(before[static_cast<size_t>(i)]) - top));
    CHECK(std::abs(static_cast<double>(x[i]) - one) <= 1e-6 * one);
    sum += one;
  }
  CHECK(n == 0 || (static_cast<double>(max) == top && std::abs(total - sum) <= 1e-6 * sum));

  Filled<A> param(n, 20), grad(n, 21), first(n, 22), second(n, 23);
  for (int64_t i = 0; i < n; ++i) second[i] += 1;
  const std::vector<A> p(param.data, param.data + n), m(first.data, first.data + n), v(second.data, second.data + n);
  const cpu::AdamScalars s = cpu::adam_scalars({0.9, 0.99, 1e-6, 0.01}, 0.05, 3);
  k.adam(param, grad, first, second, n, s);
  for (int64_t i = 0; i < n; ++i) {
    const size_t at = static_cast<size_t>(i);
    const double g = static_cast<double>(grad[i]) + 0.01 * static_cast<double>(p[at]);
    const double one = s.carry1 * static_cast<double>(m[at]) + (1 - 0.9) * g;
    const double two = s.carry2 * static_cast<double>(v[at]) + (1 - 0.99) * g * g;
    const double moved = static_cast<double>(p[at]) - s.step_size * one / (std::sqrt(two) * s.inv_sqrt_bias2 + 1e-6);
    CHECK(near<A>(static_cast<double>(first[i]), one, 2, 2) && near<A>(static_cast<double>(second[i]), two, 2, 2));
    CHECK(std::abs(static_cast<double>(param[i]) - moved) <= 1e-5 * (1 + std::abs(moved)));
  }
}

void check_draws() {
  RandomPair pairs[48];
  cpu::level().random_pairs(11, Stream::negative, 1000, 2, 48, pairs);
  for (int i = 0; i < 48; ++i) {
    const RandomPair one = random_pair(11, Stream::negative, 1000 + static_cast<uint64_t>(i), 2);
    CHECK(one.first == pairs[i].first && one.second == pairs[i].second);
  }
  const Permutation permutation(5, 2, 1000);
  std::vector<uint64_t> steps(48), expected;
  for (size_t i = 0; i < 48; ++i) steps[i] = i, expected.push_back(permutation.step(i));
  cpu::level().permutation_steps(permutation, 48, steps.data());
  CHECK(steps == expected);
}

}  // namespace

void test_level() {
  for (const int64_t dim : {1, 2, 3, 5, 7, 9, 13, 16, 20, 31, 33, 64, 72, 129, 320}) {
    check_sums<float>(dim), check_sums<double>(dim), check_sums<bf16>(dim);
    check_hop<float>(dim), check_hop<double>(dim), check_hop<bf16>(dim);
    check_dense<float>(dim), check_dense<double>(dim);
  }
  for (const int64_t n : {0, 1, 6, 63, 64, 65, 200, 1027}) check_rows<float>(n), check_rows<double>(n);
  check_draws();
}

}  // namespace fgr::tests
