#include "fgr/softmax_loss.h"

#include <cmath>

#include "common/bf16.h"
#include "cpu/isa/levels.h"
#include "cpu/parallel.h"

namespace fgr::cpu {
namespace {

constexpr int64_t panel = 32;  // columns of the packed transpose: two vectors of the widest level

// The workspace, as arrays of the accumulator type.
template <class A>
struct Space {
  A *user_unit, *item_unit;          // [batch, dim] rows of norm 1
  A *user_inv_norm, *item_inv_norm;  // [batch]
  A* packed;                         // item_unit^T in panels: [ceil(batch / panel)][dim][panel]
  A* scores;                         // [softmax_row_block, batch]: scores, then dL/dscores
  double* row_loss;                  // [batch]

  static int64_t panels(int64_t batch) { return (batch + panel - 1) / panel; }
  static int64_t elements(int64_t batch, int64_t dim) {
    return 2 * batch * dim + 2 * batch + panels(batch) * panel * dim + softmax_row_block * batch;
  }
  Space(void* workspace, int64_t batch, int64_t dim) {
    row_loss = static_cast<double*>(workspace);
    user_unit = reinterpret_cast<A*>(row_loss + batch);
    item_unit = user_unit + batch * dim;
    user_inv_norm = item_unit + batch * dim;
    item_inv_norm = user_inv_norm + batch;
    packed = item_inv_norm + batch;
    scores = packed + panels(batch) * panel * dim;
  }
};

// unit[b, :] = emb[ids[b], :] / max(|emb[ids[b], :]|, 1e-12)
template <class T>
void unit_rows(const T* emb, const int64_t* ids, int64_t batch, int64_t dim, acc_t<T>* unit, acc_t<T>* inv_norm,
               int threads) {
  using A = acc_t<T>;
  parallel_for(batch, 64, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* e = emb + ids[b] * dim;
      inv_norm[b] = A(1) / std::max(std::sqrt(kernels<T>().dot(e, e, dim)), A(1e-12));
      for (int64_t c = 0; c < dim; ++c) unit[b * dim + c] = inv_norm[b] * load(e[c]);
    }
  });
}

// In place, through the normalisation: d e = (d unit - <d unit, unit> unit) / norm.
template <class A>
void project(A* grad, const A* unit, const A* inv_norm, int64_t batch, int64_t dim, int threads) {
  parallel_for(batch, 64, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      A* g = grad + b * dim;
      const A* u = unit + b * dim;
      const A along = kernels<A>().dot(g, u, dim);
      for (int64_t c = 0; c < dim; ++c) g[c] = inv_norm[b] * (g[c] - along * u[c]);
    }
  });
}

}  // namespace

int64_t softmax_loss_workspace_bytes(int64_t batch, int64_t dim, int64_t accumulator_size) {
  return batch * static_cast<int64_t>(sizeof(double)) + Space<float>::elements(batch, dim) * accumulator_size;
}

template <class T>
void softmax_loss(const T* user_emb, int64_t n_users, const T* item_emb, int64_t n_items, int64_t dim,
                  const int64_t* users, const int64_t* pos, int64_t batch, double temperature, acc_t<T>* loss,
                  acc_t<T>* user_rows, acc_t<T>* item_rows, void* workspace, int threads) {
  using A = acc_t<T>;
  check_ids("users", users, batch, 0, n_users);
  check_ids("pos", pos, batch, 0, n_items);
  const Space<A> s(workspace, batch, dim);
  const A inv_t = static_cast<A>(1 / temperature);
  const A grad_scale = batch > 0 ? inv_t / static_cast<A>(batch) : A(0);
  unit_rows(user_emb, users, batch, dim, s.user_unit, s.user_inv_norm, threads);
  unit_rows(item_emb, pos, batch, dim, s.item_unit, s.item_inv_norm, threads);
  const int64_t panels = Space<A>::panels(batch);
  parallel_for(panels, 4, threads, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      for (int64_t c = 0; c < dim; ++c) {
        A* out = s.packed + (q * dim + c) * panel;
        for (int64_t l = 0; l < panel; ++l) {
          const int64_t j = q * panel + l;
          out[l] = j < batch ? s.item_unit[j * dim + c] : A(0);
        }
      }
    }
  });
  parallel_for(batch * dim, 1 << 15, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) item_rows[i] = 0;
  });

  for (int64_t first = 0; first < batch; first += softmax_row_block) {
    const int64_t rows = std::min(softmax_row_block, batch - first);
    // Rows: scores, softmax, dL/dscore = (softmax - 1[j = b]) / (t B), and the users' gradient.
    parallel_for(rows, 12, threads, [&](int64_t begin, int64_t end) {
      A* scores = s.scores + begin * batch;
      const A* user = s.user_unit + (first + begin) * dim;
      for (int64_t q = 0; q < panels; ++q) {
        const int64_t w = std::min(panel, batch - q * panel);
        dense<A>().gemm(end - begin, w, dim, user, dim, 1, s.packed + q * dim * panel, panel, scores + q * panel, batch,
                        false);
      }
      for (int64_t r = begin; r < end; ++r) {
        A* row = s.scores + r * batch;
        const A own = row[first + r];
        A top;
        const A sum = dense<A>().exp_row(row, batch, inv_t, &top);
        s.row_loss[first + r] = static_cast<double>(std::log(sum) - (own - top) * inv_t);
        const A f = grad_scale / sum;
        for (int64_t j = 0; j < batch; ++j) row[j] *= f;
        row[first + r] -= grad_scale;
      }
      dense<A>().gemm(end - begin, dim, batch, scores, batch, 1, s.item_unit, dim, user_rows + (first + begin) * dim,
                      dim, false);
    });
    // Columns: the items' gradient, added block by block in the order of the batch.
    parallel_for(batch, 48, threads, [&](int64_t begin, int64_t end) {
      dense<A>().gemm(end - begin, dim, rows, s.scores + begin, 1, batch, s.user_unit + first * dim, dim,
                      item_rows + begin * dim, dim, true);
    });
  }
  project(user_rows, s.user_unit, s.user_inv_norm, batch, dim, threads);
  project(item_rows, s.item_unit, s.item_inv_norm, batch, dim, threads);
  double total = 0;
  for (int64_t b = 0; b < batch; ++b) total += s.row_loss[b];
  *loss = static_cast<A>(batch > 0 ? total / static_cast<double>(batch) : 0.0);
}

#define FGR_INSTANTIATE(T)                                                                                     \
  template void softmax_loss<T>(const T*, int64_t, const T*, int64_t, int64_t, const int64_t*, const int64_t*, \
                                int64_t, double, acc_t<T>*, acc_t<T>*, acc_t<T>*, void*, int);
FGR_INSTANTIATE(float)
FGR_INSTANTIATE(double)
FGR_INSTANTIATE(bf16)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
