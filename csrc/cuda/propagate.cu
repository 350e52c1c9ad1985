#include "cuda/device.cuh"
#include "fgr/propagate.h"

namespace fgr::cuda {
namespace {

constexpr int block_threads = 256;

// V values of T in one access.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

// One hop for the whole graph; see cpu/isa/levels.h for the formula. Pointers are for all nodes, users first.
template <class T>
struct HopAll {
  Bipartite graph;
  const acc_t<T>* col_scale;
  const T* x;
  const acc_t<T>* gain;  // null = 1; on the device, like beta
  const acc_t<T>* left;
  const acc_t<T>* out;
  const acc_t<T>* beta;  // null = 0
  const T* base;
  T* y;
  int64_t dim;
};

// `width` lanes work on a row, V columns a lane at a time, the edges four at a time in order: four gathers are in
// flight.
template <class T, int V>
__global__ void __launch_bounds__(block_threads) hop_kernel(HopAll<T> h, int width) {
  using A = acc_t<T>;
  const int64_t n_users = h.graph.users.n_rows;
  const int64_t node = global_thread() / width;
  if (node >= n_users + h.graph.items.n_rows) return;
  const bool is_user = node < n_users;
  const Csr& csr = is_user ? h.graph.users : h.graph.items;
  const int64_t row = is_user ? node : node - n_users;
  const int64_t other = is_user ? n_users : 0;  // the first node of the columns
  const int64_t begin = csr.indptr[row], end = csr.indptr[row + 1];
  const A gain = h.gain != nullptr ? *h.gain : A(1);
  const A left = h.left != nullptr ? gain * h.left[node] : gain;
  const A out = h.out != nullptr ? h.out[node] : A(1);
  using P = Pack<T, V>;
  for (int64_t c = static_cast<int64_t>(threadIdx.x % width) * V; c < h.dim; c += static_cast<int64_t>(width) * V) {
    A acc[V] = {};
    int64_t e = begin;
    for (; e + 4 <= end; e += 4) {
      P rows[4];
      A scale[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int64_t col = other + csr.indices[e + k];
        rows[k] = *reinterpret_cast<const P*>(h.x + col * h.dim + c);
        scale[k] = h.col_scale != nullptr ? h.col_scale[col] : A(1);
        if (csr.weight != nullptr) scale[k] *= static_cast<A>(csr.weight[e + k]);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int j = 0; j < V; ++j) acc[j] += scale[k] * load(rows[k].v[j]);
      }
    }
    for (; e < end; ++e) {
      const int64_t col = other + csr.indices[e];
      const P r = *reinterpret_cast<const P*>(h.x + col * h.dim + c);
      A scale = h.col_scale != nullptr ? h.col_scale[col] : A(1);
      if (csr.weight != nullptr) scale *= static_cast<A>(csr.weight[e]);
#pragma unroll
      for (int j = 0; j < V; ++j) acc[j] += scale * load(r.v[j]);
    }
    P result;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      A value = left * acc[j];
      if (h.beta != nullptr) value += *h.beta * load(h.base[node * h.dim + c + j]);
      store(result.v[j], out * value);
    }
    *reinterpret_cast<P*>(h.y + node * h.dim + c) = result;
  }
}

template <class T, int V>
void launch_hop(const HopAll<T>& h, void* stream) {
  int width = 1;  // lanes a row: the power of two that covers dim, a warp at most
  while (width < warp && width * V < h.dim) width *= 2;
  const int64_t rows_per_block = block_threads / width;
  launch("propagate", hop_kernel<T, V>, blocks_for(h.graph.n_nodes(), rows_per_block), block_threads, 0, stream, h,
         width);
}

template <class T>
void hop(const HopAll<T>& h, void* stream) {
  if (h.dim == 0) return;
  constexpr int wide = 16 / sizeof(T);
  const auto aligned = [&](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  if (h.dim % wide == 0 && aligned(h.x) && aligned(h.y)) {
    launch_hop<T, wide>(h, stream);
  } else {
    launch_hop<T, 1>(h, stream);
  }
}

template <class T>
__global__ void scale_kernel(const T* x, const acc_t<T>* alpha, T* y, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) store(y[i], *alpha * load(x[i]));
}

// partial[b] = <g, power> over the block's dots_block_rows rows.
template <class T>
__global__ void dot_kernel(const T* g, const T* power, int64_t n, int64_t per_block, double* partial) {
  __shared__ double warps[block_threads / warp];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * per_block;
  const int64_t end = begin + per_block < n ? begin + per_block : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    sum += static_cast<double>(load(g[i])) * static_cast<double>(load(power[i]));
  }
  sum = warp_sum(sum);
  if (lane() == 0) warps[threadIdx.x / warp] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0;
    for (int w = 0; w < block_threads / warp; ++w) total += warps[w];
    partial[blockIdx.x] = total;
  }
}

}  // namespace

template <class T>
void propagate(const Bipartite& graph, const T* x, int64_t dim, const acc_t<T>* alphas, int64_t n_alphas,
               const acc_t<T>* left, const acc_t<T>* right, T* y, void* workspace, void* stream) {
  const int64_t hops = n_alphas - 1;
  if (hops == 0) {
    const int64_t n = graph.n_nodes() * dim;
    launch("propagate", scale_kernel<T>, blocks_for(n, block_threads), block_threads, 0, stream, x, alphas, y, n);
    return;
  }
  T* spare = static_cast<T*>(workspace);
  const T* in = x;
  for (int64_t k = hops - 1; k >= 0; --k) {
    const bool first = k == hops - 1;
    T* out = k % 2 == 0 ? y : spare;  // the last hop, k = 0, lands in y
    hop<T>({graph, first ? right : nullptr, in, first ? alphas + hops : nullptr, left, k > 0 ? right : nullptr,
            alphas + k, x, out, dim},
           stream);
    in = out;
  }
}

template <class T>
void propagate_dots(const Bipartite& graph, const T* x, const T* g, int64_t dim, int64_t n_alphas, const acc_t<T>* left,
                    const acc_t<T>* right, acc_t<T>* dots, void* workspace, void* stream) {
  const int64_t n_nodes = graph.n_nodes();
  const int64_t layer = (n_nodes * dim * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16;
  char* space = static_cast<char*>(workspace);
  T* buffers[2] = {reinterpret_cast<T*>(space), reinterpret_cast<T*>(space + layer)};
  double* partial = reinterpret_cast<double*>(space + 2 * layer);
  const int64_t blocks = blocks_for(n_nodes, dots_block_rows);
  const T* power = x;
  for (int64_t k = 0; k < n_alphas; ++k) {
    if (k > 0) {
      T* out = buffers[k % 2];
      hop<T>({graph, right, power, nullptr, left, nullptr, nullptr, nullptr, out, dim}, stream);
      power = out;
    }
    launch("propagate_dots", dot_kernel<T>, blocks, block_threads, 0, stream, g, power, n_nodes * dim,
           dots_block_rows * dim, partial);
    launch("propagate_dots", ordered_sum<acc_t<T>>, 1, block_threads, 0, stream, partial, blocks, 1.0, dots + k);
  }
}

#define FGR_INSTANTIATE(T)                                                                                   \
  template void propagate<T>(const Bipartite&, const T*, int64_t, const acc_t<T>*, int64_t, const acc_t<T>*, \
                             const acc_t<T>*, T*, void*, void*);                                             \
  template void propagate_dots<T>(const Bipartite&, const T*, const T*, int64_t, int64_t, const acc_t<T>*,   \
                                  const acc_t<T>*, acc_t<T>*, void*, void*);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cuda
