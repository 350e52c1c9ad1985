// The softmax by products without tensor cores.
#include "cuda/softmax_simt.cuh"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

template <class T>
void add_simt(Cases& cases, int64_t size, int64_t dim) {
  using A = acc_t<T>;
  const World& w = cases.world;
  const int64_t n_users = w.n_users(), n_items = w.n_items();
  const Batch b = w.batch(size, 0);
  auto users = uniform<T>(n_users * dim, 5), items = uniform<T>(n_items * dim, 6);
  auto loss = empty<A>(1), user_rows = empty<A>(size * dim), item_rows = empty<A>(size * dim);
  auto want = empty<A>(1), want_users = empty<A>(size * dim), want_items = empty<A>(size * dim);
  auto space = workspace(std::max(cuda::softmax_loss_workspace_bytes(size, dim, sizeof(A)),
                                  cuda::SimtSpace<A>(nullptr, size, dim).arena.used));
  const SoftmaxOptions<A> options{0.1, 1.0, nullptr};
  Case c;
  c.name = "softmax_loss B=" + std::to_string(size) + " d=" + std::to_string(dim);
  c.variant = "simt";
  c.dtype = dtype_of<T>();
  c.sizes = "in-batch, cosines";
  c.work = 3 * 2.0 * static_cast<double>(size) * static_cast<double>(size * dim);
  c.unit = "FLOP";
  c.run = [=](void* stream) {
    cuda::softmax_simt<T>(users->get(), n_users, items->get(), n_items, dim, b.users->get(), b.pos->get(), size,
                          options, loss->get(), user_rows->get(), item_rows->get(), space->get(), stream);
  };
  c.check = [=] {
    cuda::softmax_loss<T>(users->get(), n_users, items->get(), n_items, dim, b.users->get(), b.pos->get(), size,
                          options, want->get(), want_users->get(), want_items->get(), space->get(), nullptr);
    synchronize();
    const std::string off[] = {differs(*loss, *want, 1e-6), differs(*user_rows, *want_users, 1e-5),
                               differs(*item_rows, *want_items, 1e-5)};
    return off[0] + off[1] + off[2];
  };
  cases.add(c);
}

const Registered variants(91, "variants of the softmax", [](Cases& cases) {
  add_simt<float>(cases, sized(2048, 16), 64);
  add_simt<float>(cases, sized(2048, 24), 256);
  add_simt<bf16>(cases, sized(2048, 16), 64);
  add_simt<float>(cases, sized(8192, 40), 64);
  add_simt<float>(cases, sized(4096, 32), 512);
});

}  // namespace
}  // namespace fgr::gpu
