// Tensor cores: a warp's products of 16 x 16 by 16 x 8 halves (IEEE's of 16 bits), summed in float. And what feeds
// them: packs of halves, matrices out of shared memory, copies into it that threads need not wait for.
#pragma once

#include "cuda/device.cuh"

#if !defined(FGR_EMULATE)
#include <cuda_fp16.h>
#endif

namespace fgr::cuda {

// Two floats, each rounded to the nearest half, even in ties; beyond the largest infinite, a NaN stays one.
__device__ __forceinline__ uint32_t to_halves(float low, float high) {
#if defined(FGR_EMULATE)
  return emu::half_bits(low) | static_cast<uint32_t>(emu::half_bits(high)) << 16;
#else
  const __half2 pair = __floats2half2_rn(low, high);
  uint32_t word;
  memcpy(&word, &pair, sizeof word);
  return word;
#endif
}
__device__ __forceinline__ float low_half(uint32_t word) {
#if defined(FGR_EMULATE)
  return emu::float_of_half(static_cast<uint16_t>(word));
#else
  return __half2float(__ushort_as_half(static_cast<unsigned short>(word)));
#endif
}
__device__ __forceinline__ float high_half(uint32_t word) { return low_half(word >> 16); }

// Four matrices of 8 x 8 halves out of shared memory. Lane l names where row l % 8 of matrix l / 8 begins, 16 bytes
// that are aligned. It gets two neighbours of each matrix: those of row l / 4 from column 2 (l % 4) on or, transposed,
// those of column l / 4 from row 2 (l % 4) on.
template <bool transposed = false>
__device__ __forceinline__ void load_matrices(const void* row, uint32_t (&to)[4]) {
#if defined(FGR_EMULATE)
  emu::load_matrices(row, to, transposed, {__FILE__, __LINE__});
#else
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
  }
#endif
}

// C += A B. With g = lane / 4 and t = lane % 4, of the row-major A [16, 16] a[0] has columns 2 t and 2 t + 1 of row g,
// a[1] of row g + 8, a[2] and a[3] the same 8 columns on; of B [16, 8] b[0] has rows 2 t and 2 t + 1 of column g, b[1]
// those 8 rows on; of C [16, 8] c[0] and c[1] are columns 2 t and 2 t + 1 of row g, c[2] and c[3] of row g + 8.
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if defined(FGR_EMULATE)
  emu::multiply_add(c, a, b0, b1, {__FILE__, __LINE__});
#elif __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
#define FGR_MULTIPLY_ADD(a0, a1, b)                                                                          \
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};" \
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                       \
      : "r"(a0), "r"(a1), "r"(b))
  FGR_MULTIPLY_ADD(a[0], a[1], b0);
  FGR_MULTIPLY_ADD(a[2], a[3], b1);
#undef FGR_MULTIPLY_ADD
#endif
}

// 16 aligned bytes from global into shared memory, there once this thread has waited for its copies; each end_copies
// ends a group of them, wait_for_copies waits for all groups but the last `left`.
__device__ __forceinline__ void copy_later(void* shared, const void* global) {
#if defined(FGR_EMULATE)
  emu::copy_later(shared, global, 16);
#elif __CUDA_ARCH__ >= 800
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))),
      "l"(global)
      : "memory");
#else
  *static_cast<uint4*>(shared) = *static_cast<const uint4*>(global);
#endif
}
// The same where it is wanted, else zeros, and nothing is read.
__device__ __forceinline__ void copy_later(void* shared, const void* global, bool wanted) {
#if defined(FGR_EMULATE)
  static const uint4 zeros{};
  emu::copy_later(shared, wanted ? global : &zeros, 16);
#elif __CUDA_ARCH__ >= 800
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(wanted ? 16 : 0)
      : "memory");
#else
  uint4 pack{};
  if (wanted) pack = *static_cast<const uint4*>(global);
  *static_cast<uint4*>(shared) = pack;
#endif
}
__device__ __forceinline__ void end_copies() {
#if defined(FGR_EMULATE)
  emu::end_copies();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int left>
__device__ __forceinline__ void wait_for_copies() {
#if defined(FGR_EMULATE)
  emu::wait_for_copies(left);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}

}  // namespace fgr::cuda
