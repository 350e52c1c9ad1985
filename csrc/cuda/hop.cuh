// One hop over the graph on a device: cpu/isa/levels.h has the formula. Here every operand is given for all nodes,
// users first, and scalars lie on the device.
//
// A row of x is read by `width` lanes, V columns each. Such a group reads the indices (slots, scales, weights) of as
// many edges at once, a lane each, coalesced, and hands them round: the loop over edges has a shuffle, an address, a
// load and the sums, `ahead` of them in flight. Groups that share a row take turns at its edges and add up by shuffles.
//
// The rows of a graph differ in length by orders of magnitude, so three kinds of blocks share them out (fgr::Schedule):
//   light    a group a row; a warp where there are few rows
//   heavy    a block a row: its warps take a stretch of edges each and add up in a fixed order
//   split    a block a part of a row: its sum goes to the workspace, and combine_kernel adds the parts up in order
// The longest rows start first. No atomics: the same bits every run.
#pragma once

#include "cuda/pack.cuh"

namespace fgr::cuda {

constexpr int hop_threads = 256;
constexpr int64_t most_hop_dim = int64_t{1} << 27;  // a row of x has less than 2^31 bytes

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
  int64_t whole_dim = 0;  // of rows of which x, base and the results are some columns; 0: dim
};
// What becomes of a result: stored in row r of y.
template <class T>
struct StoreRow {
  // Rows in flight of a lane, and blocks on a multiprocessor, which decide its registers: as an H100 has chosen.
  static constexpr int ahead = sizeof(T) == 8 ? 8 : 4, blocks = sizeof(T) == 8 ? 3 : 4;
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

// How the lanes of a warp share a row: `width` of them cover its columns, lanes / width groups of them its edges.
struct Share {
  int width, lanes;
  __device__ __forceinline__ int groups() const { return lanes / width; }
  __device__ __forceinline__ int member() const { return static_cast<int>(threadIdx.x) % width; }
  __device__ __forceinline__ int group() const { return static_cast<int>(threadIdx.x) % lanes / width; }
};

enum class Columns { plain, scaled, slotted };

// acc[j] = sum over n edges from `begin` on of scale * x[column, c + j], of which every group of the row's lanes gets
// the same. A whole warp gets here, each lane with the edges of its row; n < 2^31, since a row's columns are unique.
template <Columns columns, int ahead, class T, class B, bool masked, int V>
__device__ __forceinline__ void gather(const Hop<T, B, masked>& h, const Edges& edges, int64_t begin, int n, int64_t c,
                                       Share share, acc_t<T> (&acc)[V]) {
  using A = acc_t<T>;
  using P = Pack<T, V>;
  constexpr bool slotted = columns == Columns::slotted, scaled = columns != Columns::plain;
  const int32_t* const indices = edges.indices + begin;
  const char* const x = reinterpret_cast<const char*>(h.x + (slotted ? 0 : edges.other * h.dim) + c);
  const int32_t row_bytes = static_cast<int32_t>(h.dim * static_cast<int64_t>(sizeof(T)));
  const bool within = c < h.dim;
  const int groups = share.groups(), group = share.group();
  const int place = share.member() * groups + group;  // which of `lanes` edges this lane reads for its group
#pragma unroll
  for (int j = 0; j < V; ++j) acc[j] = 0;

  // The sums of `ahead` columns; at(j) < 0: none.
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

  // Edges' indices are read two turns ahead where slots or scales are looked up by them, which then are read one ahead:
  // what is waited for is the rows alone.
  const auto index_of = [&](int e) { return e < n ? load_once(indices + e) : -1; };
  const auto scale_of = [&](int32_t column, int e) {
    if (column < 0) return A(0);
    A scale = h.col_scale != nullptr ? h.col_scale[slotted ? column : edges.other + column] : A(1);
    if (edges.weight != nullptr) scale *= static_cast<A>(load_once(edges.weight + begin + e));
    return scale;
  };
  const auto slot_of = [&](int32_t column) { return column >= 0 ? h.col_slot[edges.other + column] : -1; };
  int32_t next = index_of(place), later = -1;
  A next_factor = 0;
  if constexpr (scaled) later = index_of(place + share.lanes);
  if constexpr (slotted) {
    next = slot_of(next);
  } else if constexpr (scaled) {
    next_factor = scale_of(next, place);
  }
  for (int from = 0; __any_sync(full_mask, from < n); from += share.lanes) {
    int32_t column = next;
    A factor = next_factor;
    const int e = from + place;
    if constexpr (slotted) {
      next = slot_of(later);
      factor = scale_of(column, e);
    } else if constexpr (scaled) {
      next = later;
      next_factor = scale_of(next, e + share.lanes);
    } else {
      next = index_of(e + share.lanes);
    }
    if constexpr (scaled) later = index_of(e + 2 * share.lanes);
    if constexpr (slotted) {
      const int first = lane() / share.width * share.width;  // of the group
      unsigned hits = __ballot_sync(full_mask, column >= 0) >> first & (full_mask >> (warp - share.width));
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
        if (t >= share.width || !__any_sync(full_mask, from + t * groups + group < n)) break;
        column = __shfl_down_sync(full_mask, column, ahead, share.width);
        if constexpr (scaled) factor = __shfl_down_sync(full_mask, factor, ahead, share.width);
      }
    }
  }
  for (int offset = share.width; offset < share.lanes; offset *= 2) {
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
  for (int j = 0; j < V; ++j) value[j] = factors.out * fused(factors.left, acc[j], beta * load(addend[j]));
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
template <Columns columns, class T, class B, bool masked, int V, class Sink>
__device__ __forceinline__ void long_row(const Hop<T, B, masked>& h, int width, const Sink& sink) {
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
  const Share share{width, warp};
  const int n = static_cast<int>(edges.end - edges.begin), own = static_cast<int>(threadIdx.x) / warp;
  const int stretch = (n + hop_threads - 1) / hop_threads * warp, from = own * stretch;  // of a warp's edges
  const int left = n - from;
  for (int64_t first = 0; first < h.dim; first += static_cast<int64_t>(width) * V) {
    const int64_t c = first + share.member() * V;
    A acc[V];
    gather<columns, Sink::ahead>(h, edges, edges.begin + from, left < stretch ? left : stretch, c, share, acc);
    __syncthreads();  // the sums of the columns before have been read
    if (share.group() == 0) {
#pragma unroll
      for (int j = 0; j < V; ++j) sums[own][share.member() * V + j] = acc[j];
    }
    __syncthreads();
    if (static_cast<int>(threadIdx.x) >= width || c >= h.dim) continue;
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
__global__ void __launch_bounds__(hop_threads, Sink::blocks)
    hop_kernel(Hop<T, B, masked> h, Share share, int long_width, Sink sink) {
  using A = acc_t<T>;
  const Schedule& schedule = h.graph.schedule;
  const int64_t n_long = schedule.n_split + schedule.n_heavy, block = blockIdx.x;
  if (block < n_long) {
    long_row<columns, T, B, masked, V>(h, long_width, sink);
    return;
  }
  int64_t r = (block - n_long) * (hop_threads / share.lanes) + threadIdx.x / share.lanes, node = -1;
  if (masked && h.rows != nullptr) {
    if (r < *h.n_rows) node = h.rows[r];
  } else {
    r += h.first_node;
    if (r < h.last_node && r < h.graph.n_nodes()) node = r;
  }
  Edges edges = {};
  if (node >= 0) edges = edges_of(h.graph, node);
  if (n_long > 0 && edges.end - edges.begin > schedule.heavy_degree) {
    node = -1;
    edges = {};
  }
  RowFactors<A> factors = {};
  if (node >= 0) factors = factors_of(h, node);  // under way while the columns are
  for (int64_t first = 0; first < h.dim; first += static_cast<int64_t>(share.width) * V) {
    const int64_t c = first + share.member() * V;
    A acc[V];
    gather<columns, Sink::ahead>(h, edges, edges.begin, static_cast<int>(edges.end - edges.begin), c, share, acc);
    if (node >= 0 && c < h.dim && share.group() == 0) finish(h, sink, r, node, c, factors, acc);
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

// `width` covers the whole row: it decides in how many groups edges are added up where a row's lanes are a warp, so
// that sums do not depend on how many of the columns are here. A light row has one group, whatever covers its columns.
template <int V, class T, class B, bool masked, class Sink>
void launch_hop(const char* op, const Hop<T, B, masked>& h, int width, const Sink& sink, void* stream, int lanes = 0) {
  if (h.dim > most_hop_dim) throw std::runtime_error(std::string(op) + ": more columns than a hop takes");
  const Schedule& schedule = h.graph.schedule;
  const int64_t last = h.last_node < h.graph.n_nodes() ? h.last_node : h.graph.n_nodes();
  const int64_t rows = masked && h.rows != nullptr ? h.most_rows : last - h.first_node;
  const bool few = masked && h.rows != nullptr;  // a batch's rows leave most of a GPU idle: two halves of a row at once
  const int covering = hop_width(h.dim, V), own = few || lanes > 0 || covering > width ? width : covering;
  const Share share{own, lanes > 0 ? lanes : few ? warp : own};
  const int64_t blocks = schedule.n_split + schedule.n_heavy + blocks_for(rows, hop_threads / share.lanes);
  const auto launch_for = [&](auto kernel) {
    launch(op, kernel, blocks, hop_threads, 0, stream, h, share, width, sink);
  };
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
  const int64_t whole = h.whole_dim > 0 ? h.whole_dim : h.dim;
  const int width = hop_width(whole, whole % most == 0 ? most : 1);  // of that alone: it decides the order of sums
  if (wide && h.dim % most == 0 && aligned(h.x) && aligned(h.base)) {
    launch_hop<most>(op, h, width, sink, stream);
  } else {
    launch_hop<1>(op, h, width, sink, stream);
  }
}

}  // namespace fgr::cuda
