// The losses on pairs with negatives that a batch shares, by products without tensor cores.
#include "cuda/pair_simt.cuh"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

template <class T>
void add_simt(Cases& cases, const char* name, int64_t n_neg) {
  using A = acc_t<T>;
  constexpr int64_t dim = 64;
  const World& w = cases.world;
  const int64_t n_users = w.n_users(), n_items = w.n_items(), size = sized(2048, 16);
  const Batch b = w.batch(size, 0);
  auto neg = w.batch(n_neg, 0).pos;
  auto users = uniform<T>(n_users * dim, 5), items = uniform<T>(n_items * dim, 6);
  struct Made {
    decltype(empty<A>(1)) loss, user_rows, pos_coef, neg_coef, neg_rows;
  };
  const auto made = [=] {
    return Made{empty<A>(1), empty<A>(size * dim), empty<A>(size), empty<A>(size * n_neg), empty<A>(n_neg * dim)};
  };
  const Made got = made(), want = made();
  auto space = workspace(cuda::pair_loss_workspace_bytes(size, n_neg, dim, true, sizeof(A)));
  const PairBatch pairs{b.users->get(), b.pos->get(), neg->get(), size, n_neg, true};
  Case c;
  c.name = name;
  c.variant = "simt";
  c.dtype = dtype_of<T>();
  c.sizes = "B=" + std::to_string(size) + ", " + std::to_string(n_neg) + " negatives, d=64";
  c.work = 3 * 2.0 * static_cast<double>(size * n_neg * dim);
  c.unit = "FLOP";
  c.run = [=](void* stream) {
    static_cast<void>(b), static_cast<void>(neg);  // which the batch points to
    const cuda::PairArgs<T> args{PairLoss::bpr,
                                 0.0,
                                 users->get(),
                                 n_users,
                                 items->get(),
                                 n_items,
                                 dim,
                                 pairs,
                                 got.user_rows->get(),
                                 got.pos_coef->get(),
                                 got.neg_coef->get(),
                                 reinterpret_cast<double*>(space->get())};
    cuda::pair_simt<T>(args, got.loss->get(), got.neg_rows->get(), stream);
  };
  c.check = [=] {
    cuda::pair_loss<T>(PairLoss::bpr, 0.0, users->get(), n_users, items->get(), n_items, dim, pairs, want.loss->get(),
                       want.user_rows->get(), want.pos_coef->get(), want.neg_coef->get(), want.neg_rows->get(),
                       space->get(), nullptr);
    synchronize();
    return differs(*got.loss, *want.loss, 1e-6) + differs(*got.user_rows, *want.user_rows, 1e-5) +
           differs(*got.pos_coef, *want.pos_coef, 1e-5) + differs(*got.neg_coef, *want.neg_coef, 1e-5) +
           differs(*got.neg_rows, *want.neg_rows, 1e-5);
  };
  cases.add(c);
}

const Registered variants(92, "variants of pair_loss", [](Cases& cases) {
  add_simt<float>(cases, "pair_loss, shared 512", sized(512, 8));
  add_simt<float>(cases, "pair_loss, in-batch", sized(2048, 16));
});

}  // namespace
}  // namespace fgr::gpu
