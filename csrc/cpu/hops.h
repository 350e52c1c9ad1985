// Hops over the whole graph, half by half: users from items, items from users.
#pragma once

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

inline const Csr& csr_of(const Bipartite& g, Side side) { return side == Side::users ? g.users : g.items; }

// The half that computes the rows of `side`. Every pointer of `whole` is given for all nodes; a compact operand stays
// where it is, its table moves.
template <class T, class B>
Hop<T, B> half_of(const Bipartite& g, Hop<T, B> whole, Side side) {
  const Csr& csr = csr_of(g, side);
  const int64_t n_users = g.users.n_rows;
  const int64_t first = side == Side::users ? 0 : n_users, other = side == Side::users ? n_users : 0;
  whole.indptr = csr.indptr;
  whole.indices = csr.indices;
  whole.weight = csr.weight;
  if (whole.col_slot != nullptr) {
    whole.col_slot += other;
  } else {
    whole.x += other * whole.dim;
    if (whole.col_scale != nullptr) whole.col_scale += other;
  }
  if (whole.left != nullptr) whole.left += first;
  if (whole.out != nullptr) whole.out += first;
  if (whole.base_slot != nullptr) {
    whole.base_slot += first;
  } else if (whole.base != nullptr) {
    whole.base += first * whole.dim;
  }
  if (whole.y != nullptr) whole.y += first * whole.dim;
  return whole;
}

// All rows of `side` by kernel(half, begin, end).
template <class T, class B, class Kernel>
void run_half(const Bipartite& g, const Hop<T, B>& whole, Side side, const Kernel& kernel, int threads) {
  const Hop<T, B> half = half_of(g, whole, side);
  const Csr& csr = csr_of(g, side);
  parallel_rows(csr.indptr, csr.n_rows, whole.dim, threads,
                [&](int64_t begin, int64_t end) { kernel(half, begin, end); });
}

// Horner's scheme (docs/kernels.md) for the rows of `end`, up to its last hop, which the caller runs on what `hop` then
// says. Row sums of one side come from the other alone, so this is a chain of half-hops, each of which reads what the
// one before has just written; one layer [n_nodes, dim] holds them all.
template <class T, class B, class Kernel>
void inner_hops(const Bipartite& g, Hop<T, B>& hop, const acc_t<T>* alphas, int64_t hops, const acc_t<T>* out, T* layer,
                Side end, const Kernel& kernel, int threads) {
  hop.gain = hops > 0 ? alphas[hops] : acc_t<T>(0);
  hop.out = out;
  hop.y = layer;
  for (int64_t k = hops - 1; k > 0; --k) {
    hop.beta = alphas[k];
    run_half(g, hop, k % 2 == 0 ? end : other_side(end), kernel, threads);
    hop.x = layer;
    hop.col_scale = nullptr;
    hop.col_slot = nullptr;
    hop.gain = 1;
  }
  hop.out = nullptr;
  hop.y = nullptr;
}

}  // namespace fgr::cpu
