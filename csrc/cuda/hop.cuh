// One hop over the graph on a device: cpu/isa/levels.h has the formula. Here every operand is given for all nodes,
// users first, and scalars lie on the device.
//
// The rows of a graph differ in length by orders of magnitude, so three kinds of blocks share them out (fgr::Schedule):
//   light    several rows a block, `width` lanes a row
//   heavy    one row a block: its groups of `width` lanes take a stretch of edges each and add up in a fixed order
//   split    one part of a row a block: its sum goes to the workspace, and combine_kernel adds the parts up in order
// The longest rows start first. No atomics: the same bits every run.
#pragma once

#include "cuda/device.cuh"

namespace fgr::cuda {

constexpr int hop_threads = 256;

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
      *at = pack;
    }
  }
}

template <class T, class B = T>
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
  const int32_t* rows = nullptr;  // [*n_rows, at most most_rows] only these nodes, in ascending order; a block each
  const int32_t* n_rows = nullptr;
  int64_t most_rows = 0;
  int64_t first_node = 0, last_node = INT64_MAX;  // only the nodes in [first_node, last_node)
  acc_t<T>* partial = nullptr;                    // [n_split, dim]
  int64_t dim = 0;
};

// What becomes of a result: stored in row r of y.
template <class T>
struct StoreRow {
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

// acc[j] += sum over edges [begin, end) of scale * x[column, c + j]: in order, `ahead` gathers in flight.
template <class T, class B, int V>
__device__ __forceinline__ void gather(const Hop<T, B>& h, const Edges& edges, int64_t begin, int64_t end, int64_t c,
                                       acc_t<T> (&acc)[V]) {
  using A = acc_t<T>;
  using P = Pack<T, V>;
  constexpr int ahead = 4;
  for (int64_t e = begin; e < end; e += ahead) {
    P rows[ahead];
    A scale[ahead];
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      int64_t at = -1;
      if (e + k < end) {
        at = edges.other + load_once(edges.indices + e + k);
        if (h.col_slot != nullptr) at = h.col_slot[at];
      }
      scale[k] = 0;
      rows[k] = P{};
      if (at >= 0) {
        rows[k] = *reinterpret_cast<const P*>(h.x + at * h.dim + c);
        scale[k] = h.col_scale != nullptr ? h.col_scale[at] : A(1);
        if (edges.weight != nullptr) scale[k] *= static_cast<A>(load_once(edges.weight + e + k));
      }
    }
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
#pragma unroll
      for (int j = 0; j < V; ++j) acc[j] += scale[k] * load(rows[k].v[j]);
    }
  }
}

// From the sum of a node's neighbours to the result, which `sink` takes.
template <class T, class B, int V, class Sink>
__device__ __forceinline__ void finish(const Hop<T, B>& h, const Sink& sink, int64_t r, int64_t node, int64_t c,
                                       const acc_t<T> (&acc)[V]) {
  using A = acc_t<T>;
  A left = h.gain != nullptr ? *h.gain : A(1);
  if (h.left != nullptr) left *= h.left[node];
  const A out = h.out != nullptr ? h.out[node] : A(1), beta = h.beta != nullptr ? *h.beta : A(1);
  const int64_t base = h.base == nullptr ? -1 : h.base_slot != nullptr ? h.base_slot[node] : node;
  B addend[V] = {};
  if (base >= 0) read(h.base + base * h.dim + c, addend);
  A value[V];
#pragma unroll
  for (int j = 0; j < V; ++j) value[j] = out * (left * acc[j] + beta * load(addend[j]));
  sink(r, node, c, value);
}

template <class T, class B, int V, class Sink>
__global__ void __launch_bounds__(hop_threads) hop_kernel(Hop<T, B> h, int width, Sink sink) {
  using A = acc_t<T>;
  FGR_SHARED(A, sums, [hop_threads][V]);
  const Schedule& schedule = h.graph.schedule;
  const int64_t step = static_cast<int64_t>(width) * V, column = static_cast<int64_t>(threadIdx.x % width) * V;
  const int group = static_cast<int>(threadIdx.x) / width, groups = hop_threads / width;
  int64_t block = blockIdx.x;
  const int64_t n_long = schedule.n_split + schedule.n_heavy;
  if (h.rows == nullptr && block >= n_long) {  // light rows
    const int64_t node = h.first_node + (block - n_long) * groups + group;
    if (node >= h.graph.n_nodes() || node >= h.last_node) return;
    const Edges edges = edges_of(h.graph, node);
    if (edges.end - edges.begin > schedule.heavy_degree && n_long > 0) return;
    for (int64_t c = column; c < h.dim; c += step) {
      A acc[V] = {};
      gather(h, edges, edges.begin, edges.end, c, acc);
      finish(h, sink, node, node, c, acc);
    }
    return;
  }
  const bool is_split = h.rows == nullptr && block < schedule.n_split;
  if (h.rows != nullptr && block >= *h.n_rows) return;
  const int64_t node = h.rows != nullptr ? h.rows[block]
                       : is_split        ? schedule.split_node[block]
                                         : schedule.heavy[block - schedule.n_split];
  if (node < h.first_node || node >= h.last_node) return;
  Edges edges = edges_of(h.graph, node);
  if (is_split) {
    edges.begin += schedule.split_part[block] * schedule.part_edges;
    if (edges.begin + schedule.part_edges < edges.end) edges.end = edges.begin + schedule.part_edges;
  }
  const int64_t share = (edges.end - edges.begin + groups - 1) / groups, from = edges.begin + group * share;
  const int64_t to = from + share < edges.end ? from + share : edges.end;
  for (int64_t first = 0; first < h.dim; first += step) {
    const int64_t c = first + column;
    A acc[V] = {};
    if (c < h.dim) gather(h, edges, from, to, c, acc);
    __syncthreads();  // the sums of the columns before have been read
#pragma unroll
    for (int j = 0; j < V; ++j) sums[threadIdx.x][j] = acc[j];
    __syncthreads();
    if (group > 0 || c >= h.dim) continue;
    for (int g = 1; g < groups; ++g) {
#pragma unroll
      for (int j = 0; j < V; ++j) acc[j] += sums[g * width + threadIdx.x][j];
    }
    if (is_split) {
      write(h.partial + block * h.dim + c, acc);
    } else {
      finish(h, sink, h.rows != nullptr ? block : node, node, c, acc);
    }
  }
}

// A block for each part: that of a row's first adds up all of its parts.
template <class T, class B, int V, class Sink>
__global__ void __launch_bounds__(hop_threads) combine_kernel(Hop<T, B> h, Sink sink) {
  using A = acc_t<T>;
  const Schedule& schedule = h.graph.schedule;
  const int64_t first = blockIdx.x, node = schedule.split_node[first];
  if (schedule.split_part[first] != 0 || node < h.first_node || node >= h.last_node) return;
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
    finish(h, sink, node, node, c, acc);
  }
}

template <int V, class T, class B, class Sink>
void launch_hop(const char* op, const Hop<T, B>& h, const Sink& sink, void* stream) {
  int width = 1;  // lanes a row: the power of two that covers dim, a warp at most
  while (width < warp && width * V < h.dim) width *= 2;
  const Schedule& schedule = h.graph.schedule;
  const int64_t last = h.last_node < h.graph.n_nodes() ? h.last_node : h.graph.n_nodes();
  const int64_t light = blocks_for(last - h.first_node, hop_threads / width);
  const int64_t blocks = h.rows != nullptr ? h.most_rows : schedule.n_split + schedule.n_heavy + light;
  launch(op, hop_kernel<T, B, V, Sink>, blocks, hop_threads, 0, stream, h, width, sink);
  if (h.rows == nullptr) {
    launch(op, combine_kernel<T, B, V, Sink>, schedule.n_split, hop_threads, 0, stream, h, sink);
  }
}

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// `wide`: what the sink touches is aligned to 16 bytes.
template <class T, class B, class Sink>
void hop(const char* op, const Hop<T, B>& h, const Sink& sink, bool wide, void* stream) {
  if (h.dim == 0) return;
  constexpr int most = 16 / sizeof(T);
  if (wide && h.dim % most == 0 && aligned(h.x) && aligned(h.base)) {
    launch_hop<most>(op, h, sink, stream);
  } else {
    launch_hop<1>(op, h, sink, stream);
  }
}

}  // namespace fgr::cuda
