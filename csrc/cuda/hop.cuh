// One hop over the graph on a device: cpu/isa/levels.h has the formula. Here every operand is given for all nodes,
// users first, and scalars lie on the device.
//
// A row of x is read by `width` lanes, V columns each; a warp's 32 / width groups of lanes take turns at the edges of a
// row and add up by shuffles. A lane reads the index (slot, scale, weight) of one edge in 32, coalesced, and its group
// hands them round: the loop over edges has a shuffle, an address, a load and the sums, `ahead` of them in flight.
//
// The rows of a graph differ in length by orders of magnitude, so three kinds of blocks share them out (fgr::Schedule):
//   light    a warp some rows, one after another; the next one's edges are read while this one's columns are
//   heavy    a block a row: its warps take a stretch of edges each and add up in a fixed order
//   split    a block a part of a row: its sum goes to the workspace, and combine_kernel adds the parts up in order
// The longest rows start first. No atomics: the same bits every run.
#pragma once

#include "cuda/device.cuh"

namespace fgr::cuda {

constexpr int hop_threads = 256;
constexpr int64_t most_hop_dim = int64_t{1} << 27;  // a row of x has less than 2^31 bytes

// V values of T in one access.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

// V values of S between memory and registers, 16 bytes an access at most; once: see load_once.
template <class S, int V>
constexpr int access = V * sizeof(S) > 16 ? 16 / sizeof(S) : V;
template <bool once = false, class S, int V>
__device__ __forceinline__ void read(const S* from, S (&to)[V]) {
  constexpr int n = access<S, V>;
#pragma unroll
  for (int i = 0; i < V; i += n) {
    const auto* at = reinterpret_cast<const Pack<S, n>*>(from + i);
    Pack<S, n> pack;
    if constexpr (once) {
      pack = load_once(at);
    } else {
      pack = *at;
    }
#pragma unroll
    for (int j = 0; j < n; ++j) to[i + j] = pack.v[j];
  }
}
template <bool once = false, class S, int V>
__device__ __forceinline__ void write(S* to, const S (&from)[V]) {
  constexpr int n = access<S, V>;
#pragma unroll
  for (int i = 0; i < V; i += n) {
    Pack<S, n> pack;
#pragma unroll
    for (int j = 0; j < n; ++j) pack.v[j] = from[i + j];
    auto* at = reinterpret_cast<Pack<S, n>*>(to + i);
    if constexpr (once) {
      store_once(at, pack);
    } else {
      store_whole(at, pack);
    }
  }
}

// masked: only some rows are computed, or some columns are other than zero; else the members that say so are not read.
template <class T, class B = T, bool masked = false>
struct Hop {
  Bipartite graph;
  const acc_t<T>* col_scale = nullptr;
  const int32_t* col_slot = nullptr;  // x and col_scale are compact: node n stands in row col_slot[n], if that is >= 0
  const T* x = nullptr;
  const acc_t<T>* gain = nullptr;  // null = 1
  const acc_t<T>* left = nullptr;
  const acc_t<T>* out = nullptr;
  const acc_t<T>* beta = nullptr;  // null = 1
  const B* base = nullptr;         // null = 0
  const int32_t* base_slot = nullptr;
  const int32_t* rows = nullptr;      // [*n_rows, at most most_rows] only these nodes, in ascending order;
  const int32_t* row_slot = nullptr;  // [n_nodes] and where each stands in rows, or -1
  const int32_t* n_rows = nullptr;
  int64_t most_rows = 0;
  int64_t first_node = 0, last_node = INT64_MAX;  // only the nodes in [first_node, last_node)
  acc_t<T>* partial = nullptr;                    // [n_split, dim]
  int64_t dim = 0;
};
// What becomes of a result: stored in row r of y.
template <class T>
struct StoreRow {
  static constexpr int ahead = 8,
                       blocks = 3;  // rows in flight of a lane; on a multiprocessor, which leaves them registers
  T* y;
  int64_t dim;
  template <int V>
  __device__ void operator()(int64_t r, int64_t, int64_t c, const acc_t<T> (&value)[V]) const {
    T row[V];
#pragma unroll
    for (int j = 0; j < V; ++j) store(row[j], value[j]);
    write(y + r * dim + c, row);
  }
};

// The neighbours of a node; none in a graph without row pointers.
struct Edges {
  const int32_t* indices;
  const float* weight;
  int64_t begin, end;
  int64_t other;  // the first node of the columns
};

__device__ __forceinline__ Edges edges_of(const Bipartite& graph, int64_t node) {
  const int64_t n_users = graph.users.n_rows;
  const bool is_user = node < n_users;
  const Csr& csr = is_user ? graph.users : graph.items;
  const int64_t row = is_user ? node : node - n_users;
  if (csr.indptr == nullptr) return {};
  return {csr.indices, csr.weight, csr.indptr[row], csr.indptr[row + 1], is_user ? n_users : 0};
}

// How the lanes of a warp share a row: `width` of them cover its columns, warp / width groups of them its edges.
struct Share {
  int width;
  int rows;  // light rows that a warp takes one after another
  __device__ __forceinline__ int groups() const { return warp / width; }
  __device__ __forceinline__ int member() const { return static_cast<int>(threadIdx.x) % width; }
  __device__ __forceinline__ int group() const { return lane() / width; }
  // Which of 32 edges this lane reads for its group.
  __device__ __forceinline__ int place() const { return member() * groups() + group(); }
};

enum class Columns { plain, scaled, slotted };

// n edges of a node from one on, the same for a whole warp; n < 2^31, since a row's columns are unique.
struct Stretch {
  const int32_t* indices;
  const float* weight;
  int32_t n;
  int64_t other;  // the first node of the columns

  __device__ __forceinline__ int32_t column(int e) const { return e < n ? load_once(indices + e) : -1; }
};

__device__ __forceinline__ Stretch stretch_of(const Edges& edges, int64_t from, int n) {
  const int64_t begin = edges.begin + from;
  return {edges.indices + begin, edges.weight != nullptr ? edges.weight + begin : nullptr, n > 0 ? n : 0, edges.other};
}

// acc[j] = sum over a stretch of scale * x[column, c + j], of which every group of lanes gets the same. `first`: the
// lane's column among the first 32, which is read ahead; on return among those of the stretch `after`.
template <Columns columns, int ahead, class T, class B, bool masked, int V>
__device__ __forceinline__ void gather(const Hop<T, B, masked>& h, const Stretch& edges, const Stretch& after,
                                       int64_t c, Share share, int32_t& first, acc_t<T> (&acc)[V]) {
  using A = acc_t<T>;
  using P = Pack<T, V>;
  constexpr bool slotted = columns == Columns::slotted, scaled = columns != Columns::plain;
  const char* const x = reinterpret_cast<const char*>(h.x + (slotted ? 0 : edges.other * h.dim) + c);
  const int32_t row_bytes = static_cast<int32_t>(h.dim * static_cast<int64_t>(sizeof(T)));
  const bool within = c < h.dim;
  const int groups = share.groups(), group = share.group(), place = share.place();
#pragma unroll
  for (int j = 0; j < V; ++j) acc[j] = 0;

  // The sums of `ahead` columns; at < 0: none.
  const auto add = [&](auto at_and_scale) {
    P rows[ahead];
    A scale[ahead];
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
      const int32_t at = at_and_scale(j, scale[j]);
      rows[j] = load_row<P>(x, at, row_bytes, at >= 0 && within);
    }
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        if constexpr (scaled) {
          acc[i] += scale[j] * load(rows[j].v[i]);
        } else {
          acc[i] += load(rows[j].v[i]);
        }
      }
    }
  };

  for (int from = 0; from < edges.n; from += warp) {
    int32_t column = first;
    const int e = from + place;
    first = from + warp < edges.n ? edges.column(e + warp) : after.column(place);
    A factor = 0;
    if (slotted && column >= 0) column = h.col_slot[edges.other + column];
    if (scaled && column >= 0) {
      factor = h.col_scale != nullptr ? h.col_scale[slotted ? column : edges.other + column] : A(1);
      if (edges.weight != nullptr) factor *= static_cast<A>(load_once(edges.weight + e));
    }
    if constexpr (slotted) {
      unsigned hits =
          __ballot_sync(full_mask, column >= 0) >> group * share.width & (full_mask >> (warp - share.width));
      while (__any_sync(full_mask, hits != 0)) {
        add([&](int, A& scale) {
          const int source = hits != 0 ? __ffs(static_cast<int>(hits)) - 1 : 0;
          const int32_t at = __shfl_sync(full_mask, column, source, share.width);
          scale = __shfl_sync(full_mask, factor, source, share.width);
          const bool hit = hits != 0;
          hits &= hits - 1;
          return hit ? at : -1;
        });
      }
    } else {
      for (int t = 0;;) {
        add([&](int j, A& scale) {
          if constexpr (scaled) scale = __shfl_sync(full_mask, factor, j, share.width);
          return __shfl_sync(full_mask, column, j, share.width);
        });
        t += ahead;
        if (t >= share.width || from + t * groups >= edges.n) break;
        column = __shfl_down_sync(full_mask, column, ahead, share.width);
        if constexpr (scaled) factor = __shfl_down_sync(full_mask, factor, ahead, share.width);
      }
    }
  }
  if (edges.n == 0) first = after.column(place);
  for (int offset = share.width; offset < warp; offset *= 2) {
#pragma unroll
    for (int j = 0; j < V; ++j) acc[j] += __shfl_xor_sync(full_mask, acc[j], offset);
  }
}

// What a node's row is made with beside the sum of its neighbours.
template <class A>
struct RowFactors {
  A left, out;
  int64_t base;  // row of h.base, or -1
};
template <class T, class B, bool masked>
__device__ __forceinline__ RowFactors<acc_t<T>> factors_of(const Hop<T, B, masked>& h, int64_t node) {
  using A = acc_t<T>;
  A left = h.gain != nullptr ? *h.gain : A(1);
  if (h.left != nullptr) left *= h.left[node];
  int64_t base = h.base == nullptr ? -1 : node;
  if constexpr (masked) {
    if (base >= 0 && h.base_slot != nullptr) base = h.base_slot[node];
  }
  return {left, h.out != nullptr ? h.out[node] : A(1), base};
}

// From the sum of a node's neighbours to the result, which `sink` takes.
template <class T, class B, bool masked, int V, class Sink>
__device__ __forceinline__ void finish(const Hop<T, B, masked>& h, const Sink& sink, int64_t r, int64_t node, int64_t c,
                                       const RowFactors<acc_t<T>>& factors, const acc_t<T> (&acc)[V]) {
  using A = acc_t<T>;
  const A beta = h.beta != nullptr ? *h.beta : A(1);
  B addend[V] = {};
  if (factors.base >= 0) read(h.base + factors.base * h.dim + c, addend);
  A value[V];
#pragma unroll
  for (int j = 0; j < V; ++j) value[j] = factors.out * (factors.left * acc[j] + beta * load(addend[j]));
  sink(r, node, c, value);
}

// Where a node's result goes, or -1 if none is wanted.
template <class T, class B, bool masked>
__device__ __forceinline__ int64_t result_row(const Hop<T, B, masked>& h, int64_t node) {
  if (node < h.first_node || node >= h.last_node) return -1;
  if constexpr (masked) {
    if (h.rows != nullptr) return h.row_slot[node];
  }
  return node;
}

// A block a row, or a part of one.
template <Columns columns, int ahead, class T, class B, bool masked, int V, class Sink>
__device__ __forceinline__ void long_row(const Hop<T, B, masked>& h, Share share, const Sink& sink) {
  using A = acc_t<T>;
  constexpr int warps = hop_threads / warp;
  FGR_SHARED(A, sums, [warps][warp * V]);
  const Schedule& schedule = h.graph.schedule;
  const int64_t block = blockIdx.x;
  const bool is_split = block < schedule.n_split;
  const int64_t node = is_split ? schedule.split_node[block] : schedule.heavy[block - schedule.n_split];
  const int64_t r = result_row(h, node);
  if (r < 0) return;
  Edges edges = edges_of(h.graph, node);
  if (is_split) {
    edges.begin += schedule.split_part[block] * schedule.part_edges;
    if (edges.begin + schedule.part_edges < edges.end) edges.end = edges.begin + schedule.part_edges;
  }
  const int n = static_cast<int>(edges.end - edges.begin), own = static_cast<int>(threadIdx.x) / warp;
  const int share_n = (n + hop_threads - 1) / hop_threads * warp, from = own * share_n;  // of a warp's edges
  Stretch stretch = stretch_of(edges, from, n - from < share_n ? n - from : share_n);
  Stretch none = stretch;
  none.n = 0;
  for (int64_t first = 0; first < h.dim; first += static_cast<int64_t>(share.width) * V) {
    const int64_t c = first + share.member() * V;
    int32_t column = stretch.column(share.place());
    A acc[V];
    gather<columns, ahead>(h, stretch, none, c, share, column, acc);
    __syncthreads();  // the sums of the columns before have been read
    if (share.group() == 0) {
#pragma unroll
      for (int j = 0; j < V; ++j) sums[own][share.member() * V + j] = acc[j];
    }
    __syncthreads();
    if (static_cast<int>(threadIdx.x) >= share.width || c >= h.dim) continue;
    for (int w = 1; w < warps; ++w) {
#pragma unroll
      for (int j = 0; j < V; ++j) acc[j] += sums[w][share.member() * V + j];
    }
    if (is_split) {
      write(h.partial + block * h.dim + c, acc);
    } else {
      finish(h, sink, r, node, c, factors_of(h, node), acc);
    }
  }
}

template <Columns columns, class T, class B, bool masked, int V, class Sink>
__global__ void __launch_bounds__(hop_threads, Sink::blocks) hop_kernel(Hop<T, B, masked> h, Share share, Sink sink) {
  using A = acc_t<T>;
  constexpr int ahead = columns == Columns::slotted && Sink::ahead > 4 ? 4 : Sink::ahead;
  const Schedule& schedule = h.graph.schedule;
  const int64_t n_long = schedule.n_split + schedule.n_heavy, block = blockIdx.x;
  if (block < n_long) {
    long_row<columns, ahead, T, B, masked, V>(h, share, sink);
    return;
  }
  // Each lane below share.rows looks after one of the warp's rows, and hands round what it has found.
  const int64_t first_row = ((block - n_long) * (hop_threads / warp) + threadIdx.x / warp) * share.rows;
  int64_t own_node = -1;
  const int64_t r = first_row + lane();
  if (lane() < share.rows) {
    if (masked && h.rows != nullptr) {
      if (r < *h.n_rows) own_node = h.rows[r];
    } else if (h.first_node + r < h.last_node && h.first_node + r < h.graph.n_nodes()) {
      own_node = h.first_node + r;
    }
  }
  Edges own_edges = {};
  RowFactors<A> own = {};
  if (own_node >= 0) {
    own_edges = edges_of(h.graph, own_node);
    if (n_long > 0 && own_edges.end - own_edges.begin > schedule.heavy_degree) {
      own_node = -1;
      own_edges.end = own_edges.begin;
    } else {
      own = factors_of(h, own_node);
    }
  }
  const int64_t n_users = h.graph.users.n_rows;
  const int64_t own_n = own_edges.end - own_edges.begin;
  const auto row = [&](int i) {
    const int64_t begin = __shfl_sync(full_mask, own_edges.begin, i);
    const bool is_user = __shfl_sync(full_mask, static_cast<int>(own_edges.other != 0), i) != 0;
    const Csr& csr = is_user ? h.graph.users : h.graph.items;
    return Stretch{csr.indices + begin, csr.weight != nullptr ? csr.weight + begin : nullptr,
                   __shfl_sync(full_mask, static_cast<int32_t>(own_n), i), is_user ? n_users : 0};
  };
  Stretch edges = row(0);
  int32_t column = edges.column(share.place());
  for (int i = 0; i < share.rows; ++i) {
    const int64_t node = __shfl_sync(full_mask, own_node, i);
    Stretch next = row(i + 1 < share.rows ? i + 1 : i);
    if (i + 1 == share.rows) next.n = 0;
    if (node < 0) {
      column = next.column(share.place());
      edges = next;
      continue;
    }
    const RowFactors<A> factors{__shfl_sync(full_mask, own.left, i), __shfl_sync(full_mask, own.out, i),
                                __shfl_sync(full_mask, own.base, i)};
    for (int64_t first = 0; first < h.dim; first += static_cast<int64_t>(share.width) * V) {
      const int64_t c = first + share.member() * V;
      const bool last = first + static_cast<int64_t>(share.width) * V >= h.dim;
      A acc[V];
      gather<columns, ahead>(h, edges, last ? next : edges, c, share, column, acc);
      const int64_t to = masked && h.rows != nullptr ? first_row + i : node;
      if (c < h.dim && share.group() == 0) finish(h, sink, to, node, c, factors, acc);
    }
    edges = next;
  }
}

// A block for each part: that of a row's first adds up all of its parts.
template <class T, class B, bool masked, int V, class Sink>
__global__ void __launch_bounds__(hop_threads) combine_kernel(Hop<T, B, masked> h, Sink sink) {
  using A = acc_t<T>;
  const Schedule& schedule = h.graph.schedule;
  const int64_t first = blockIdx.x, node = schedule.split_node[first];
  if (schedule.split_part[first] != 0) return;
  const int64_t r = result_row(h, node);
  if (r < 0) return;
  const Edges edges = edges_of(h.graph, node);
  const int64_t parts = (edges.end - edges.begin + schedule.part_edges - 1) / schedule.part_edges;
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * V; c < h.dim; c += static_cast<int64_t>(blockDim.x) * V) {
    A acc[V] = {};
    for (int64_t p = 0; p < parts; ++p) {
      A part[V];
      read(h.partial + (first + p) * h.dim + c, part);
#pragma unroll
      for (int j = 0; j < V; ++j) acc[j] += part[j];
    }
    finish(h, sink, r, node, c, factors_of(h, node), acc);
  }
}

// Lanes that cover the columns of a row: a power of two, a warp at most, and never so few that `ahead` exceeds them.
inline int hop_width(int64_t dim, int values) {
  int width = 8;
  while (width < warp && width * values < dim) width *= 2;
  return width;
}

// Enough that a warp reads ahead from row to row, few enough that there are warps for all of a GPU.
inline int rows_of_a_warp(int64_t rows) {
  int n = 1;
  while (n < 4 && rows >= n * 16384) n *= 2;
  return n;
}

template <int V, class T, class B, bool masked, class Sink>
void launch_hop(const char* op, const Hop<T, B, masked>& h, int width, const Sink& sink, void* stream,
                int rows_a_warp = 0) {
  if (h.dim > most_hop_dim) throw std::runtime_error(std::string(op) + ": more columns than a hop takes");
  const Schedule& schedule = h.graph.schedule;
  const int64_t last = h.last_node < h.graph.n_nodes() ? h.last_node : h.graph.n_nodes();
  const int64_t rows = masked && h.rows != nullptr ? h.most_rows : last - h.first_node;
  const Share share{width, rows_a_warp > 0 ? rows_a_warp : rows_of_a_warp(rows)};
  const int64_t blocks = schedule.n_split + schedule.n_heavy + blocks_for(rows, hop_threads / warp * share.rows);
  const auto launch_for = [&](auto kernel) { launch(op, kernel, blocks, hop_threads, 0, stream, h, share, sink); };
  const bool scaled = h.col_scale != nullptr || h.graph.users.weight != nullptr || h.graph.items.weight != nullptr;
  if constexpr (masked) {
    if (h.col_slot != nullptr) {
      launch_for(hop_kernel<Columns::slotted, T, B, masked, V, Sink>);
    } else if (scaled) {
      launch_for(hop_kernel<Columns::scaled, T, B, masked, V, Sink>);
    } else {
      launch_for(hop_kernel<Columns::plain, T, B, masked, V, Sink>);
    }
  } else if (scaled) {
    launch_for(hop_kernel<Columns::scaled, T, B, masked, V, Sink>);
  } else {
    launch_for(hop_kernel<Columns::plain, T, B, masked, V, Sink>);
  }
  launch(op, combine_kernel<T, B, masked, V, Sink>, schedule.n_split, hop_threads, 0, stream, h, sink);
}

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// `wide`: what the sink touches is aligned to 16 bytes.
template <class T, class B, bool masked, class Sink>
void hop(const char* op, const Hop<T, B, masked>& h, const Sink& sink, bool wide, void* stream) {
  if (h.dim == 0) return;
  constexpr int most = 16 / sizeof(T);
  if (wide && h.dim % most == 0 && aligned(h.x) && aligned(h.base)) {
    launch_hop<most>(op, h, hop_width(h.dim, most), sink, stream);
  } else {
    launch_hop<1>(op, h, hop_width(h.dim, 1), sink, stream);
  }
}

}  // namespace fgr::cuda
