// One hop over the whole graph: users from items, then items from users.
#pragma once

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {

// The half that computes rows [first, first + csr.n_rows) of the nodes from those that begin at `other`. Every pointer
// of `whole` is given for all nodes; a compact operand stays where it is, its table moves.
template <class T, class B>
Hop<T, B> half_of(Hop<T, B> whole, const Csr& csr, int64_t first, int64_t other) {
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

enum class Side { users, items };

// fn(half, csr, side) for both halves.
template <class T, class B, class Fn>
void for_halves(const Bipartite& g, const Hop<T, B>& whole, const Fn& fn) {
  const int64_t n_users = g.users.n_rows;
  fn(half_of(whole, g.users, 0, n_users), g.users, Side::users);
  fn(half_of(whole, g.items, n_users, 0), g.items, Side::items);
}

}  // namespace fgr::cpu
