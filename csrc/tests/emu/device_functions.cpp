// What csrc/emu makes of CUDA's functions on a device. Run with the name of a case: it prints what is wrong, or what
// the emulator throws. Built and run by tests/ops/test_emulator.py.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#include "cuda/mma.cuh"

namespace {

constexpr unsigned full = 0xffffffffu;

void expect(bool true_, const char* what) {
  if (true_) return;
  throw std::logic_error("thread " + std::to_string(threadIdx.x) + ": " + what);
}
#define EXPECT(...) expect(__VA_ARGS__, #__VA_ARGS__)

int lane() { return static_cast<int>(threadIdx.x % 32); }
// What lane i brings.
int brought(int i) { return 100 + static_cast<int>(threadIdx.x) / 32 * 32 + i; }

void shuffles() {
  const int i = lane(), mine = brought(i);
  EXPECT(__shfl_sync(full, mine, 7) == brought(7));
  EXPECT(__shfl_sync(full, mine, (i + 5) % 32) == brought((i + 5) % 32));
  EXPECT(__shfl_sync(full, mine, 33) == brought(1));
  EXPECT(__shfl_sync(full, mine, 9, 8) == brought(i / 8 * 8 + 1));
  EXPECT(__shfl_up_sync(full, mine, 3) == brought(i < 3 ? i : i - 3));
  EXPECT(__shfl_up_sync(full, mine, 3, 16) == brought(i % 16 < 3 ? i : i - 3));
  EXPECT(__shfl_down_sync(full, mine, 30) == brought(i < 2 ? i + 30 : i));
  EXPECT(__shfl_down_sync(full, mine, 1, 4) == brought(i % 4 < 3 ? i + 1 : i));
  EXPECT(__shfl_xor_sync(full, mine, 17) == brought(i ^ 17));
  EXPECT(__shfl_xor_sync(full, mine, 9, 8) == brought((i ^ 9) / 8 <= i / 8 ? i ^ 9 : i));
  EXPECT(__shfl_sync(full, 0.5 * mine, 31) == 0.5 * brought(31));
  if (i % 2 == 1) EXPECT(__shfl_sync(0xaaaaaaaau, mine, 5) == brought(5));
}

void votes() {
  const int i = lane();
  EXPECT(__ballot_sync(full, i % 3 == 0) == 0x49249249u);
  EXPECT(__ballot_sync(full, i & 4) == 0xf0f0f0f0u);
  EXPECT(__any_sync(full, i == 31) == 1);
  EXPECT(__any_sync(full, i > 31) == 0);
  EXPECT(__all_sync(full, i < 32) == 1);
  EXPECT(__all_sync(full, i < 31) == 0);
  if (i < 8) {
    EXPECT(__ballot_sync(0xffu, i != 2) == 0xfbu);
    EXPECT(__all_sync(0xffu, i < 8) == 1);
  }
}

void block_votes() {
  for (unsigned round = 0; round < 8; ++round) {
    EXPECT((__syncthreads_or(threadIdx.x == 50 && round % 3 == 1) != 0) == (round % 3 == 1));
  }
}

void bits() {
  EXPECT(__popc(0xf0000001u) == 5 && __popcll(0xf000000000000001ull) == 5);
  EXPECT(__ffs(0) == 0 && __ffs(8) == 4 && __ffs(0x80000000u) == 32);
  EXPECT(__ffsll(0) == 0 && __ffsll(1ull << 40) == 41);
  EXPECT(__clz(0) == 32 && __clz(1) == 31 && __clz(full) == 0);
  EXPECT(__clzll(0) == 64 && __clzll(1) == 63);
}

void memory() {
  alignas(16) static float cells[8];
  if (threadIdx.x != 0) return;
  for (int i = 0; i < 8; ++i) cells[i] = static_cast<float>(i);
  auto* words = reinterpret_cast<uint4*>(cells);
  for (const auto& store : {&__stcg<uint4>, &__stcs<uint4>, &__stwb<uint4>}) {
    store(words, __ldcs(words + 1));
    EXPECT(cells[0] == 4 && cells[3] == 7);
    for (int i = 0; i < 4; ++i) cells[i] = static_cast<float>(i);
  }
  EXPECT(__ldg(cells + 2) == 2 && __ldcg(reinterpret_cast<uint2*>(cells + 2)).y == __ldg(words).w);
}

void atomics() {
  static unsigned counts[2];
  static int least, most, bits;
  if (threadIdx.x == 0) counts[0] = counts[1] = 0, least = 1000, most = -1, bits = 0;
  __syncthreads();
  atomicAdd(&counts[threadIdx.x % 2], 1);
  atomicMin(&least, static_cast<int>(threadIdx.x) + 3);
  atomicMax(&most, static_cast<int>(threadIdx.x));
  atomicOr(&bits, 1 << lane());
  __syncthreads();
  EXPECT(counts[0] == blockDim.x / 2 && counts[1] == blockDim.x / 2);
  EXPECT(least == 3 && most == static_cast<int>(blockDim.x) - 1 && bits == -1);
}

// The matrices of csrc/cuda/mma.cuh, whole numbers so that every sum is exact.
void halves() {
  const uint32_t word = fgr::cuda::to_halves(1.0f, -2.5f);
  EXPECT(word == 0xc1003c00u && fgr::cuda::low_half(word) == 1.0f && fgr::cuda::high_half(word) == -2.5f);
  EXPECT(fgr::cuda::to_halves(65520.0f, 1.0f + 1.0f / 2048) == 0x3c007c00u);  // infinite; a tie, to even
  EXPECT(fgr::cuda::to_halves(1.0f + 3.0f / 2048, 0x1p-25f) == 0x00003c02u);  // a tie, up; the least, to 0
  EXPECT(std::isnan(fgr::cuda::low_half(fgr::cuda::to_halves(NAN, 0.0f))));
}
void products() {
  const auto a_at = [](int i, int k) { return static_cast<float>((7 * i + 3 * k) % 11 - 5); };
  const auto b_at = [](int k, int j) { return static_cast<float>((5 * k + 9 * j) % 13 - 6); };
  alignas(16) static uint32_t a[16][8], by_columns[8][8], by_rows[16][4];  // words of two halves
  if (threadIdx.x == 0) {
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < 16; k += 2) a[i][k / 2] = fgr::cuda::to_halves(a_at(i, k), a_at(i, k + 1));
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < 16; k += 2) by_columns[j][k / 2] = fgr::cuda::to_halves(b_at(k, j), b_at(k + 1, j));
    for (int k = 0; k < 16; ++k)
      for (int j = 0; j < 8; j += 2) by_rows[k][j / 2] = fgr::cuda::to_halves(b_at(k, j), b_at(k, j + 1));
  }
  __syncthreads();
  const int l = lane(), m = l / 8, r = l % 8;
  uint32_t x[4], y[4], z[4];
  fgr::cuda::load_matrices(&a[r + m % 2 * 8][m / 2 * 4], x);
  fgr::cuda::load_matrices(&by_columns[r][m % 2 * 4], y);  // the second two are those again
  fgr::cuda::load_matrices<true>(&by_rows[r + m % 2 * 8][0], z);
  EXPECT(y[0] == z[0] && y[1] == z[1] && y[2] == y[0] && y[3] == y[1]);
  float c[4] = {1, 2, 3, 4};
  fgr::cuda::multiply_add(c, x, y[0], y[1]);
  for (int e = 0; e < 4; ++e) {
    const int i = l / 4 + e / 2 * 8, j = l % 4 * 2 + e % 2;
    float sum = static_cast<float>(e + 1);
    for (int k = 0; k < 16; ++k) sum += a_at(i, k) * b_at(k, j);
    EXPECT(c[e] == sum);
  }
}

void copies() {
  alignas(16) static float from[96][4], to[96][8];
  float* mine = to[threadIdx.x];
  for (int c = 0; c < 4; ++c) from[threadIdx.x][c] = static_cast<float>(threadIdx.x);
  for (int c = 0; c < 8; ++c) mine[c] = 0;
  fgr::cuda::copy_later(mine, from[threadIdx.x]);
  fgr::cuda::end_copies();
  fgr::cuda::copy_later(mine + 4, from[threadIdx.x]);
  fgr::cuda::end_copies();
  EXPECT(mine[0] != mine[0] && mine[7] != mine[7]);  // poisoned
  fgr::cuda::wait_for_copies<1>();
  EXPECT(mine[0] == static_cast<float>(threadIdx.x) && mine[7] != mine[7]);
  fgr::cuda::wait_for_copies<0>();
  EXPECT(mine[7] == static_cast<float>(threadIdx.x));
  fgr::cuda::copy_later(mine, nullptr, false);
  fgr::cuda::copy_later(mine + 4, from[threadIdx.x], true);
  fgr::cuda::end_copies();
  fgr::cuda::wait_for_copies<0>();
  EXPECT(mine[0] == 0 && mine[3] == 0 && mine[7] == static_cast<float>(threadIdx.x));
}

struct Case {
  const char* name;
  std::function<void()> kernel;
};
const Case cases[] = {
    {"shuffles", shuffles},
    {"votes", votes},
    {"votes of a block", block_votes},
    {"bits", bits},
    {"memory", memory},
    {"atomics", atomics},
    {"halves", halves},
    {"products", products},
    {"copies", copies},
    // Undefined on a GPU.
    {"a source outside of the mask",
     [] {
       if (lane() < 8) __shfl_sync(0xffu, lane(), 8);
     }},
    {"lanes of the mask elsewhere",
     [] {
       if (lane() % 2 == 0) __ballot_sync(full, true);
     }},
    {"a lane outside of its mask", [] { __ballot_sync(0xfffffffeu, true); }},
    {"different masks",
     [] {
       if (lane() < 16) {
         __shfl_xor_sync(0xffffu, lane(), 1);
       } else {
         __shfl_down_sync(full, lane(), 1);
       }
     }},
    {"different places",
     [] {
       if (lane() < 16) {
         __any_sync(full, true);
       } else {
         __any_sync(full, true);
       }
     }},
    {"a misaligned access",
     [] {
       alignas(16) static char bytes[32];
       __ldcs(reinterpret_cast<uint4*>(bytes + 8));
     }},
    {"a misaligned copy",
     [] {
       alignas(16) static char bytes[32];
       fgr::cuda::copy_later(bytes, bytes + 8);
     }},
    {"a misaligned row of a matrix",
     [] {
       alignas(16) static char bytes[32];
       uint32_t to[4];
       fgr::cuda::load_matrices(bytes + 8, to);
     }},
    {"global access of shared memory",
     [] {
       alignas(16) static char bytes[32];
       fgr::emu::enter_shared(&bytes, sizeof bytes);
       __ldcg(reinterpret_cast<uint4*>(bytes + 16));
     }},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Case& c : cases) {
    if (argc < 2 || strcmp(argv[1], c.name) != 0) continue;
    for (const unsigned long order : {0, 1, 2}) {
      fgr::emu::set_thread_order(order);
      try {
        fgr::emu::run_grid(2, 96, 0, c.kernel);
      } catch (const std::exception& error) {
        printf("%s\n", error.what());
        return 1;
      }
    }
    return 0;
  }
  printf("no such case\n");
  return 2;
}
