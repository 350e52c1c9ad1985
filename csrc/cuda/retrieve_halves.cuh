// Retrieval by tensor cores, as exact as by sums in float: all scores are made of halves first, of which it is known
// how far from the exact ones they can be; an item is dropped only where that is enough to be sure that it is none of
// the best, and what is left has its score made once more, in float, by the same operations in the same order.
//
// For a query q and an item i, q' = q / 2^a and i' = i / 2^b have norms of 1 to 2 (of the items the longest has), so
// that |q'| |i'| <= 4. A half is x (1 + 2^-11) + 2^-25 off at most; products of halves are exact in float, and dim of
// them are added, by whatever order and rounding a tensor core has, with an error of no more than dim 2^-22 of the sum
// of their magnitudes, which is at most |q'| |i'|. The exact score itself, a sum in float, is off by dim 2^-24 of that
// at most. Together, M being the longest item's norm:
//   |score in halves - score| <= |q| M (1.01 2^-10 + sqrt(dim) 2^-22 + dim 2^-21)
// and, where numbers of float itself become subnormal, dim 2^-148 more.
#pragma once

#include "cuda/mma.cuh"
#include "cuda/retrieve_cut.cuh"

namespace fgr::cuda::retrieval {

constexpr int line_words = line_bytes / 16;
constexpr int stage_bytes = tile * line_bytes;
constexpr float longest_norm = 0x1p60f, shortest_norm = 0x1p-100f;  // products of such stay finite in float

// The block's memory: the lines of its queries, two stages of items', and what it knows of each query.
inline size_t shared_bytes(int64_t pitch) {
  return static_cast<size_t>(tile * pitch + 2 * stage_bytes) + tile * sizeof(Row);
}

// The norm of a row times factor, NaN or infinite if it has such; by a warp. In double nothing overflows or vanishes.
__device__ __forceinline__ float norm_of(const float* row, int64_t dim, float factor) {
  double sum = 0;
  for (int64_t c = lane(); c < dim; c += warp) {
    const double x = static_cast<double>(row[c] * factor);
    sum += x * x;
  }
  return static_cast<float>(sqrt(warp_sum(sum)) * (1 + 0x1p-20));  // rounded up
}
// A power of two: x divided by it is from 1 to 2, less if x is shorter than any that counts.
__device__ __forceinline__ float power_of_two_below(float x) {
  const float at_least = x > shortest_norm ? x : shortest_norm;
  uint32_t bits;
  memcpy(&bits, &at_least, sizeof bits);
  bits &= 0x7f800000u;
  float power;
  memcpy(&power, &bits, sizeof power);
  return power;
}
__device__ __forceinline__ float longest_item(const Findings* findings) {
  const uint32_t bits = ~findings->longest;
  float norm;
  memcpy(&norm, &bits, sizeof norm);
  return norm;
}
// Of many queries whose scores are all equal the other kernel is done sooner: here nothing tells these apart.
__device__ __forceinline__ bool are_fit(const Findings* findings, int64_t n_queries) {
  return findings->fit == ~0u && static_cast<int64_t>(findings->equal + 1) * 64 <= n_queries;
}

// row * factor / unit in halves, zeros where there is no row (null) or it has ended; by a warp.
__device__ __forceinline__ void write_halves(const float* row, int64_t dim, float factor, float unit, int64_t pitch,
                                             unsigned char* to) {
  const float inverse = 1 / unit;
  const auto half_at = [&](int64_t c) { return row != nullptr && c < dim ? row[c] * factor * inverse : 0.0f; };
  auto* words = reinterpret_cast<uint32_t*>(to);
  for (int64_t w = lane(); w < pitch / 4; w += warp) words[w] = to_halves(half_at(2 * w), half_at(2 * w + 1));
}

// A warp an item.
static __global__ void item_norms_kernel(Retrieval<float> job, Space<float> s) {
  const int64_t i = global_warp();
  if (i >= job.n_candidates) return;
  const float norm = norm_of(job.items + item_at(job, i) * job.dim, job.dim, job.cosine ? s.item_factor[i] : 1.0f);
  uint32_t bits;
  memcpy(&bits, &norm, sizeof bits);
  if (lane() == 0 && ~bits < __ldcg(&s.findings->longest)) atomicMin(&s.findings->longest, ~bits);
}
static __global__ void item_halves_kernel(Retrieval<float> job, Space<float> s, int64_t n_rows) {
  const int64_t i = global_warp();
  if (i >= n_rows) return;
  const bool within = i < job.n_candidates;
  write_halves(within ? job.items + item_at(job, i) * job.dim : nullptr, job.dim,
               within && job.cosine ? s.item_factor[i] : 1.0f, power_of_two_below(longest_item(s.findings)), s.pitch,
               s.item_halves + i * s.pitch);
}
static __global__ void query_halves_kernel(Retrieval<float> job, Space<float> s, int64_t first_query, int64_t n_queries,
                                           int64_t n_rows) {
  const int64_t q = global_warp();
  if (q >= n_rows) return;
  const bool within = q < n_queries;
  const float* row = within ? job.queries + (first_query + q) * job.dim : nullptr;
  const float factor = within && job.cosine ? s.query_factor[q] : 1.0f,
              norm = within ? norm_of(row, job.dim, factor) : 0;
  const float unit = power_of_two_below(norm), longest = longest_item(s.findings);
  write_halves(row, job.dim, factor, unit, s.pitch, s.query_halves + q * s.pitch);
  if (!within || lane() != 0) return;
  const auto at_least = [](float x) { return x > shortest_norm ? x : shortest_norm; };
  const auto dim = static_cast<float>(job.dim);
  const float relative = 1.01f * 0x1p-10f + sqrtf(dim) * 0x1p-22f + dim * 0x1p-21f;
  s.query_scale[q] = {unit, at_least(norm) * at_least(longest) * relative + dim * 0x1p-148f};
  if (!(norm <= longest_norm && longest <= longest_norm)) s.findings->fit = 0;
  if (!(norm > 0 && longest > 0)) atomicAdd(&s.findings->equal, 1);
}

// 16 bytes of a row are apart from those of the next rows by an exclusive or, so that eight rows lie in all banks.
__device__ __forceinline__ int swizzled(int row, int word) {
  return (row * line_words + (word ^ (row % line_words))) * 16;
}

// A line of each row of a tile, to be there later; by the block.
__device__ __forceinline__ void fetch_lines(unsigned char* to, const unsigned char* from, int64_t pitch) {
  constexpr int a_thread = stage_bytes / 16 / block_threads;
#pragma unroll
  for (int e = 0; e < a_thread; ++e) {
    const int at = e * block_threads + static_cast<int>(threadIdx.x), row = at / line_words, word = at % line_words;
    copy_later(to + swizzled(row, word), from + row * pitch + word * 16);
  }
}

// Two by four warps share out the tile's 128 x 128 scores: 32 queries and 64 items each, of which a lane has columns 2
// t and 2 t + 1 of every 8, in four rows (mma.cuh).
constexpr int warp_rows = 32, warp_columns = 64;

__device__ __forceinline__ void multiply_lines(const unsigned char* queries, const unsigned char* items, int n_steps,
                                               float (&acc)[2][8][4]) {
  const int w = static_cast<int>(threadIdx.x) / warp, l = lane();
  const int query = w / 2 * warp_rows + l % 16, item = w % 2 * warp_columns + l / 16 * 8 + l % 8;
#pragma unroll 4
  for (int step = 0; step < n_steps; ++step) {  // of 16 halves
    uint32_t a[2][4];
#pragma unroll
    for (int m = 0; m < 2; ++m) load_matrices(queries + swizzled(query + m * 16, step * 2 + l / 16), a[m]);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      uint32_t b[4];
      load_matrices(items + swizzled(item + n * 16, step * 2 + l / 8 % 2), b);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        multiply_add(acc[m][2 * n], a[m], b[0], b[1]);
        multiply_add(acc[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

static __global__ void __launch_bounds__(block_threads, 2)
    retrieve_halves_kernel(Retrieval<float> job, Space<float> s, int64_t first_query, int64_t n_queries) {
  if (!are_fit(s.findings, n_queries)) return;  // retrieve_kernel does it
  auto* queries = shared_memory<unsigned char>();
  unsigned char* stages = queries + tile * s.pitch;
  auto* state = reinterpret_cast<Row*>(stages + 2 * stage_bytes);
  const int64_t q0 = blockIdx.x / s.n_splits * tile, split = blockIdx.x % s.n_splits;
  const int64_t begin = split * s.tiles_a_split * tile, end_of_split = begin + s.tiles_a_split * tile;
  const int64_t end = end_of_split < job.n_candidates ? end_of_split : job.n_candidates;
  const int rows = static_cast<int>(n_queries - q0 < tile ? n_queries - q0 : tile),
            w = static_cast<int>(threadIdx.x) / warp;
  const int n_lines = static_cast<int>(s.pitch) / line_bytes, n_best = static_cast<int>(s.n_best);
  const float item_unit = power_of_two_below(longest_item(s.findings));
  const auto words_of = [&](int r) { return s.words + ((q0 + r) * s.n_splits + split) * s.capacity; };
  for (int r = static_cast<int>(threadIdx.x); r < tile; r += block_threads) {
    const bool within = r < rows;
    Row row{nullptr, 0, within ? -INFINITY : INFINITY, 0, 0};
    if (within && job.exclude.indptr != nullptr) {
      const int64_t q = first_query + q0 + r;
      const int64_t user = checked_id(job.rows != nullptr ? job.rows[q] : q, 0, job.exclude.n_rows, "exclude_rows");
      row.seen = job.exclude.indices + job.exclude.indptr[user];
      row.n_seen = static_cast<int>(job.exclude.indptr[user + 1] - job.exclude.indptr[user]);
    }
    state[r] = row;
  }
  for (int line = 0; line < n_lines; ++line) {
    fetch_lines(queries + line * stage_bytes, s.query_halves + q0 * s.pitch + line * line_bytes, s.pitch);
  }
  int stage = 0;
  const auto fetch_items = [&](int64_t j0, int line) {
    if (j0 < end) fetch_lines(stages + stage * stage_bytes, s.item_halves + j0 * s.pitch + line * line_bytes, s.pitch);
    end_copies();
    stage ^= 1;
  };

  // Only the best of what was found of each row, by its warp; a warp has the rows whose number is its own, by eights.
  // At the end candidates' words, in order.
  const auto cut = [&](bool last) {
    const int own = w + lane() * (block_threads / warp);
    unsigned rows_left = __ballot_sync(full_mask, own < rows && (last || state[own].count > state[own].kept));
    for (; rows_left != 0; rows_left &= rows_left - 1) {
      const int r = w + (__ffs(rows_left) - 1) * (block_threads / warp);
      const int64_t q = q0 + r;
      const QueryScale scale = s.query_scale[q];
      const float margin = scale.margin / scale.unit / item_unit;
      uint64_t* words = words_of(r);
      Row row = state[r];
      cut_row(job, words, row, n_best, 2 * margin);
      if (last || row.count > s.enough) {  // so many are as close as that: equal ones, say
        make_exact(job, s, first_query + q, job.cosine ? s.query_factor[q] : 1.0f, words, row.count);
        row.count = row.kept = keep_best<float>(words, row.count, n_best, job.exclude, -1);
        if (!last) {
          make_found(job, words, row.count, scale.unit, item_unit);
          row.threshold = product_of(words[n_best - 1]) - margin;
        }
      }
      __syncwarp(full_mask);  // what was in `state` has been read
      if (lane() == 0) state[r] = row;
    }
  };

  // All rows are cut after 1, 2, 4, ... tiles: of twice as many items a row finds about as many as it has kept. By
  // turns, as soon as one has found some, each cut would hold up all warps.
  fetch_items(begin, 0);
  const int row0 = w / 2 * warp_rows + lane() / 4, column0 = w % 2 * warp_columns + lane() % 4 * 2;
  int64_t next_cut = begin + tile;
  bool too_many = false;  // for the room that is left in a buffer
  for (int64_t j0 = begin;; j0 += tile) {
    wait_for_copies<0>();
    const bool must_cut = __syncthreads_or(too_many) != 0;  // all have waited, and have read the other stage
    fetch_items(n_lines > 1 ? j0 : j0 + tile, n_lines > 1 ? 1 : 0);
    too_many = false;
    if (must_cut || j0 == next_cut || j0 >= end) {
      cut(j0 >= end);
      __syncthreads();
      if (j0 >= end) break;
      if (j0 == next_cut) next_cut += j0 - begin;
    }
    float acc[2][8][4] = {};
    for (int line = 0; line < n_lines; ++line) {
      if (line > 0) {
        wait_for_copies<0>();
        __syncthreads();
        const bool more = line + 1 < n_lines;
        fetch_items(more ? j0 : j0 + tile, more ? line + 1 : 0);
      }
      const int left = static_cast<int>(job.dim) - line * line_halves;
      multiply_lines(queries + line * stage_bytes, stages + stage * stage_bytes,
                     left < line_halves ? (left + 15) / 16 : line_halves / 16, acc);
    }
    const int columns_left = static_cast<int>(end - j0 < tile ? end - j0 : tile) - column0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // the lane's rows
      const int r = row0 + i * 8;
      const float threshold = state[r].threshold;
      const auto score = [&](int e) { return acc[i / 2][e / 2][i % 2 * 2 + e % 2]; };
      const auto any = [&](int first, int n) {
        bool found = false;
        for (int e = first; e < first + n; ++e) found |= !(score(e) < threshold);
        return found;
      };
      if (!any(0, 16)) continue;
#pragma unroll
      for (int first = 0; first < 16; first += 4) {
        if (!any(first, 4)) continue;
#pragma unroll
        for (int e = first; e < first + 4; ++e) {
          const int column = e / 2 * 8 + e % 2;
          if (score(e) < threshold || column >= columns_left) continue;
          const int at = atomicAdd(&state[r].count, 1);
          words_of(r)[at] = found_word(score(e), j0 + column0 + column);
          too_many = too_many || at + 1 + tile > s.capacity;
        }
      }
    }
  }
  for (int r = static_cast<int>(threadIdx.x); r < rows; r += block_threads) {
    s.count[(q0 + r) * s.n_splits + split] = state[r].count;
  }
}

}  // namespace fgr::cuda::retrieval
