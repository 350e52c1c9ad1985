#include <cub/device/device_scan.cuh>

#include "cuda/number.cuh"

namespace fgr::cuda {
namespace {

__device__ __forceinline__ const int64_t* id_at(const Positions& p, int64_t i) {
  const int64_t n = p.batch.batch;
  return i < n ? p.batch.users + i : i < 2 * n ? p.batch.pos + (i - n) : p.batch.neg + (i - 2 * n);
}

// Of the id at position i; none is n_nodes, which stands last.
__device__ __forceinline__ uint32_t node_of(const Positions& p, int64_t i, int64_t id) {
  const int64_t n = p.batch.batch, n_users = p.n_users, n_items = p.n_items;
  if (i < n) return static_cast<uint32_t>(checked_id(id, 0, n_users, "users"));
  if (i < 2 * n) return static_cast<uint32_t>(n_users + checked_id(id, 0, n_items, "pos"));
  const int64_t item = checked_id(id, -1, n_items, "neg");
  return static_cast<uint32_t>(n_users + (item < 0 ? n_items : item));
}

template <class A>
__device__ __forceinline__ int64_t* compact_at(const Numbered<A>& s, int64_t n, int64_t i) {
  return i < n ? s.users + i : i < 2 * n ? s.pos + (i - n) : s.neg + (i - 2 * n);
}

// --- by one block ---------------------------------------------------------------------------------------------------

constexpr int block_threads = BlockNumbering::threads, block_warps = block_threads / warp;
constexpr int digit_bits = BlockNumbering::digit_bits, digits = 1 << digit_bits;
constexpr int counts_stride = digits + 1;  // of a warp's counts: those of one digit lie in different banks
static_assert(digits == 2 * warp && block_warps == warp, "a warp adds up two digits, a lane the counts of one warp");

// The lanes of the warp with the same digit. In PTX, since of a bit the compiler makes two predicates in six
// instructions, one for the ballot and one for what becomes of it.
__device__ __forceinline__ unsigned lanes_alike(uint32_t digit) {
  unsigned alike = full_mask;
#pragma unroll
  for (int bit = 0; bit < digit_bits; ++bit) {
#if defined(FGR_EMULATE)
    const bool set = (digit >> bit & 1u) != 0;
    const unsigned lanes = __ballot_sync(full_mask, set);
    alike &= set ? lanes : ~lanes;
#else
    unsigned lanes;
    asm volatile(
        "{.reg .pred p; and.b32 %0, %1, %2; setp.ne.u32 p, %0, 0; vote.sync.ballot.b32 %0, p, 0xffffffff;\n\t"
        "@!p not.b32 %0, %0;}"
        : "=r"(lanes)
        : "r"(digit), "r"(1u << bit));
    alike &= lanes;
#endif
  }
  return alike;
}

// The inclusive sum over the lanes up to this one.
__device__ __forceinline__ uint32_t sum_up_to(uint32_t x) {
#pragma unroll
  for (int offset = 1; offset < warp; offset *= 2) {
    const uint32_t other = __shfl_up_sync(full_mask, x, offset);
    if (lane() >= offset) x += other;
  }
  return x;
}

// Positions beyond the last are of no node, and so stay behind all others. A warp's entries lie side by side, and of
// these a lane has every 32nd, so that an entry's rank among those of its digit is that of its place: a pass is stable.
template <int items, class A>
__global__ void __launch_bounds__(block_threads)
    number_block_kernel(Numbered<A> s, Positions p, BlockNumbering by, const A* item_bias) {
  uint32_t* const counts = shared_memory<uint32_t>();             // [block_warps, counts_stride]
  uint32_t* const totals = counts + block_warps * counts_stride;  // [warp]
  uint32_t* const entries = totals + warp;                        // [items * block_threads]
  uint32_t* const nodes = entries + items * block_threads;        // likewise, by position, where they are looked up
  const int own_warp = static_cast<int>(threadIdx.x) / warp, begin = own_warp * items * warp + lane();
  const int batch = static_cast<int>(p.batch.batch), count = static_cast<int>(p.count());
  const uint32_t n_nodes = static_cast<uint32_t>(p.n_nodes());
  const unsigned lanes_before = (1u << lane()) - 1;
  const bool looked_up = by.looked_up;
  const int place_bits = by.place_bits;
  const auto node = [&](uint32_t entry) { return looked_up ? nodes[entry] : entry >> place_bits; };

  uint32_t entry[items];
  {
    int64_t id[items];
#pragma unroll
    for (int i = 0; i < items; ++i) {  // all of them before the first is looked at
      const int place = begin + i * warp;
      id[i] = place < count ? *id_at(p, place) : 0;
    }
#pragma unroll
    for (int i = 0; i < items; ++i) {
      const int place = begin + i * warp;
      const uint32_t key = place < count ? node_of(p, place, id[i]) : n_nodes;
      entry[i] = static_cast<uint32_t>(place) | (looked_up ? 0 : key << place_bits);
      if (looked_up) nodes[place] = key;
    }
  }

  uint32_t* const own_counts = counts + own_warp * counts_stride;
  const int passes = (by.key_bits + digit_bits - 1) / digit_bits, pass_bits = (by.key_bits + passes - 1) / passes;
  for (int shift = 0; shift < by.key_bits; shift += pass_bits) {
    own_counts[lane()] = own_counts[warp + lane()] = 0;
    __syncwarp(full_mask);
    uint32_t rank[items];  // among the warp's entries of the same digit; the digit above
#pragma unroll
    for (int i = 0; i < items; ++i) {
      const uint32_t digit = node(entry[i]) >> shift & ((1u << pass_bits) - 1);
      const unsigned alike = lanes_alike(digit);
      const uint32_t before = own_counts[digit];
      const unsigned lower = alike & lanes_before;
      __syncwarp(full_mask);
      if (lower == 0) own_counts[digit] = before + static_cast<uint32_t>(__popc(alike));
      __syncwarp(full_mask);
      rank[i] = digit << 16 | (before + static_cast<uint32_t>(__popc(lower)));
    }
    __syncthreads();
    // Counts become where the entries of a warp and a digit begin. Two digits' sums in one word: none is over 2^14.
    uint32_t* const two = counts + lane() * counts_stride + 2 * own_warp;
    const uint32_t own = two[0] | two[1] << 16, sum = sum_up_to(own);
    if (lane() == warp - 1) totals[own_warp] = sum;
    __syncthreads();
    const uint32_t total = totals[lane()];
    const uint32_t all_before = warp_sum(lane() < own_warp ? (total & 0xffff) + (total >> 16) : 0u);
    const uint32_t of_first = __shfl_sync(full_mask, total, own_warp) & 0xffff;
    two[0] = all_before + ((sum - own) & 0xffff);
    two[1] = all_before + of_first + ((sum - own) >> 16);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < items; ++i) entries[own_counts[rank[i] >> 16] + (rank[i] & 0xffff)] = entry[i];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < items; ++i) entry[i] = entries[begin + i * warp];
  }

  int row[items];                // within the warp's
  int heads = 0;                 // of the warp so far
  unsigned first = 0, last = 0;  // whether entry i is the first of its node; the last of all that have one
#pragma unroll
  for (int i = 0; i < items; ++i) {
    const int at = begin + i * warp;
    const uint32_t key = node(entry[i]);
    const bool is_first = key < n_nodes && (at == 0 || node(entries[at - 1]) != key);
    const bool is_last = key < n_nodes && (at + 1 == count || node(entries[at + 1]) >= n_nodes);
    const unsigned lanes = __ballot_sync(full_mask, is_first);
    row[i] = heads + __popc(lanes & (lanes_before | 1u << lane())) - 1;
    heads += __popc(lanes);
    first |= static_cast<unsigned>(is_first) << i;
    last |= static_cast<unsigned>(is_last) << i;
  }
  if (lane() == 0) totals[own_warp] = static_cast<uint32_t>(heads);
  __syncthreads();
  const int rows_before = static_cast<int>(warp_sum(lane() < own_warp ? totals[lane()] : 0u));
#pragma unroll
  for (int i = 0; i < items; ++i) {
    const int at = begin + i * warp, r = rows_before + row[i];
    if (at >= count) continue;
    const uint32_t key = node(entry[i]), position = looked_up ? entry[i] : entry[i] & ((1u << place_bits) - 1);
    s.sorted_position[at] = static_cast<int32_t>(position);
    if (first >> i & 1u) {
      s.slot[key] = r;
      s.rows[r] = static_cast<int32_t>(key);
      s.first[r] = at;
    }
    if (last >> i & 1u) {
      s.first[r + 1] = at + 1;
      *s.n_rows = r + 1;
    }
    entries[position] = static_cast<uint32_t>(key < n_nodes ? r : -1);
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < items; ++i) {
    const int at = begin + i * warp;
    if (at >= count) continue;
    *compact_at(s, batch, at) = static_cast<int32_t>(entries[at]);
    if (item_bias != nullptr && at < batch) s.bias[at] = item_bias[p.batch.pos[at]];
  }
}

template <int items, class A>
void launch_block(const char* op, const BlockNumbering& by, const Numbered<A>& s, const Positions& p,
                  const A* item_bias, void* stream) {
  allow_shared(op, number_block_kernel<items, A>);
  launch(op, number_block_kernel<items, A>, 1, block_threads, by.shared_bytes(), stream, s, p, by, item_bias);
}

// --- by CUB ---------------------------------------------------------------------------------------------------------

__global__ void keys_kernel(Positions p, uint32_t* key, int32_t* position) {
  const int64_t i = global_thread();
  if (i >= p.count()) return;
  key[i] = node_of(p, i, *id_at(p, i));
  position[i] = static_cast<int32_t>(i);
}

__global__ void heads_kernel(const uint32_t* key, int64_t count, int64_t n_nodes, int32_t* head) {
  const int64_t i = global_thread();
  if (i < count) head[i] = key[i] < n_nodes && (i == 0 || key[i - 1] != key[i]);
}

template <class A>
__global__ void number_kernel(Numbered<A> s, Positions p, const uint32_t* key, const int32_t* head, const int32_t* rank,
                              const A* item_bias) {
  const int64_t i = global_thread(), n = p.batch.batch, count = p.count(), n_nodes = p.n_nodes();
  if (i >= count) return;
  const int64_t node = key[i], position = s.sorted_position[i];
  const bool valid = node < n_nodes;
  const int32_t row = rank[i] - 1;
  if (head[i]) {
    s.slot[node] = row;
    s.rows[row] = static_cast<int32_t>(node);
    s.first[row] = static_cast<int32_t>(i);
  }
  if (valid && (i + 1 == count || key[i + 1] >= n_nodes)) {
    s.first[row + 1] = static_cast<int32_t>(i + 1);
    *s.n_rows = row + 1;
  }
  *compact_at(s, n, position) = valid ? row : -1;
  if (item_bias != nullptr && position >= n && position < 2 * n) s.bias[position - n] = item_bias[node - p.n_users];
}

cudaError_t sum_heads(DeviceNumbering& by, void* where, void* stream) {
  return cub::DeviceScan::InclusiveSum(where, by.storage_bytes, by.head, by.rank, by.sorting.n,
                                       static_cast<cudaStream_t>(stream));
}

}  // namespace

BlockNumbering::BlockNumbering(int64_t count, int64_t n_nodes) {
  for (const int n : {16, 12, 8, 6, 4, 2}) {
    if (count <= n * threads) items = n;
  }
  while (n_nodes >> key_bits != 0) ++key_bits;
  while ((items * threads - 1) >> place_bits > 0) ++place_bits;
  if (key_bits + place_bits > 32) look_up();
}

void BlockNumbering::look_up() {
  looked_up = true;
  place_bits = 0;
}

size_t BlockNumbering::shared_bytes() const {
  return sizeof(uint32_t) *
         static_cast<size_t>(block_warps * counts_stride + warp + items * threads * (looked_up ? 2 : 1));
}

bool BlockNumbering::fits() const { return items > 0 && shared_bytes() <= most_shared_bytes(); }

template <class A>
void number_by_block(const char* op, const BlockNumbering& by, const Numbered<A>& s, const Positions& p,
                     const A* item_bias, void* stream) {
  switch (by.items) {
    case 2:
      return launch_block<2>(op, by, s, p, item_bias, stream);
    case 4:
      return launch_block<4>(op, by, s, p, item_bias, stream);
    case 6:
      return launch_block<6>(op, by, s, p, item_bias, stream);
    case 8:
      return launch_block<8>(op, by, s, p, item_bias, stream);
    case 12:
      return launch_block<12>(op, by, s, p, item_bias, stream);
    case 16:
      return launch_block<16>(op, by, s, p, item_bias, stream);
    default:
      throw std::runtime_error(std::string(op) + ": a block does not number so many positions");
  }
}

DeviceNumbering::DeviceNumbering(Arena& arena, int64_t count, int64_t n_nodes) : sorting(arena, count, n_nodes) {
  head = arena.take<int32_t>(count);
  rank = arena.take<int32_t>(count);
  check(sum_heads(*this, nullptr, nullptr), "number");
  storage = arena.take<char>(static_cast<int64_t>(storage_bytes));
}

template <class A>
void number_by_cub(const char* op, DeviceNumbering& by, const Numbered<A>& s, const Positions& p, const A* item_bias,
                   void* stream) {
  constexpr int threads = 256;
  const int64_t count = p.count(), n_nodes = p.n_nodes(), blocks = blocks_for(count, threads);
  launch(op, keys_kernel, blocks, threads, 0, stream, p, by.sorting.key, by.sorting.position);
  by.sorting.sort(stream);
  launch(op, heads_kernel, blocks, threads, 0, stream, by.sorting.sorted_key, count, n_nodes, by.head);
  check(sum_heads(by, by.storage, stream), op);
  launch(op, number_kernel<A>, blocks, threads, 0, stream, s, p, by.sorting.sorted_key, by.head, by.rank, item_bias);
}

#define FGR_INSTANTIATE(A)                                                                                             \
  template void number_by_block<A>(const char*, const BlockNumbering&, const Numbered<A>&, const Positions&, const A*, \
                                   void*);                                                                             \
  template void number_by_cub<A>(const char*, DeviceNumbering&, const Numbered<A>&, const Positions&, const A*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
