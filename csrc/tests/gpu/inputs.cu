#include <algorithm>
#include <cmath>
#include <random>

#include "cuda/device.cuh"
#include "fgr/sample.h"
#include "tests/gpu/inputs.h"

namespace fgr::gpu {
namespace {

constexpr int block_threads = 256;

// The finaliser of splitmix64 (Steele, Lea & Flood 2014).
__device__ __forceinline__ uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

template <class T>
__global__ void uniform_kernel(T* x, int64_t n, uint64_t seed, float size) {
  const int64_t i = cuda::global_thread();
  if (i >= n) return;
  const uint64_t bits = mixed(mixed(seed) + static_cast<uint64_t>(i));
  store(x[i], size * (static_cast<float>(bits >> 40) * 0x1p-23f - 1.0f));
}

__global__ void advance_kernel(int64_t* x, int64_t by) { *x += by; }

// User degrees from 8 to 811 with a mean of about 27; the most popular item has about 1,500 users.
HostGraph made_up() {
  const int64_t n_users = sized(29858, 60), n_items = sized(40981, 80), least = sized(8, 2), most = sized(811, 40);
  std::mt19937_64 random(1);
  const auto unit = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  std::vector<int32_t> users, items;
  for (int64_t user = 0; user < n_users; ++user) {
    const int64_t wanted = static_cast<int64_t>(static_cast<double>(least) * std::pow(unit(), -0.7));
    for (int64_t e = 0; e < std::min(wanted, most); ++e) {
      users.push_back(static_cast<int32_t>(user));
      items.push_back(static_cast<int32_t>(std::pow(unit(), 1.7) * static_cast<double>(n_items)));
    }
  }
  return HostGraph(n_users, n_items, users, items);
}

}  // namespace

template <class T>
Shared<T> uniform(int64_t n, uint64_t seed, float size) {
  Shared<T> x = empty<T>(n);
  cuda::launch("uniform", uniform_kernel<T>, cuda::blocks_for(n, block_threads), block_threads, 0, nullptr, x->get(), n,
               seed, size);
  synchronize();
  return x;
}
template Shared<float> uniform<float>(int64_t, uint64_t, float);
template Shared<double> uniform<double>(int64_t, uint64_t, float);
template Shared<bf16> uniform<bf16>(int64_t, uint64_t, float);

void advance(int64_t* x, int64_t by, void* stream) { cuda::launch("advance", advance_kernel, 1, 1, 0, stream, x, by); }

int64_t multiprocessors() {
#if defined(FGR_EMULATE)
  return 1;
#else
  int n = 0;
  check(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, 0), "cudaDeviceGetAttribute");
  return n;
#endif
}

World::World(const std::string& file) : host(file.empty() ? made_up() : read_graph(file)), device(host) {}

template <class A>
Shared<A> World::power_of_degree(double exponent) const {
  std::vector<A> powers;
  for (int64_t node = 0; node < n_nodes(); ++node) {
    const double degree = static_cast<double>(host.degree(node));
    powers.push_back(degree > 0 ? static_cast<A>(std::pow(degree, exponent)) : A(0));
  }
  return holding(powers);
}
template Shared<float> World::power_of_degree<float>(double) const;
template Shared<double> World::power_of_degree<double>(double) const;

Batch World::batch(int64_t size, int64_t n_neg) const {
  Batch b{empty<int64_t>(size), empty<int64_t>(size), empty<int64_t>(size * n_neg), size, n_neg};
  const Buffer<int64_t> seed(std::vector<int64_t>{7}), offset(std::vector<int64_t>{0});
  cuda::sample_batch(graph().users, n_edges(), BatchLaw::by_edge, nullptr, 0, seed.get(), offset.get(), size, n_neg,
                     b.users->get(), b.pos->get(), b.neg->get(), nullptr);
  synchronize();
  return b;
}

std::vector<int64_t> World::nodes_of(const Batch& batch) const {
  std::vector<int64_t> nodes = batch.users->host();
  for (const Shared<int64_t>& items : {batch.pos, batch.neg}) {
    for (const int64_t item : items->host()) nodes.push_back(item < 0 ? -1 : n_users() + item);
  }
  return nodes;
}

}  // namespace fgr::gpu
