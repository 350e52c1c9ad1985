// topk as it is for a large k, for a small one.
#include <algorithm>

#include "cuda/topk_digits.cuh"
#include "fgr/topk.h"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

const Registered variants(91, "variants of topk", [](Cases& cases) {
  constexpr int64_t k = 20;
  const World& w = cases.world;
  const int64_t n_rows = sized(1024, 4), n_items = w.n_items();
  const Csr seen = w.graph().users;
  auto scores = uniform<float>(n_rows * n_items, 17), values = empty<float>(n_rows * k),
       want = empty<float>(n_rows * k);
  auto ids = empty<int64_t>(n_rows * k), rows = w.batch(n_rows, 0).users;
  auto space = workspace(std::max(cuda::by_digits::workspace_bytes<float>(n_rows, n_items, k),
                                  cuda::topk_workspace_bytes<float>(n_rows, n_items, k)));
  Case c;
  c.name = "topk";
  c.variant = "by digits";
  c.sizes = std::to_string(n_rows) + " x " + std::to_string(n_items) + ", k=20, seen ones left out";
  c.data = "HBM";
  c.bytes = static_cast<double>(n_rows * n_items) * 4;
  c.holds = {scores, values, want, ids, rows, space};
  c.run = [=](void* stream) {
    cuda::by_digits::topk<float>(scores->get(), n_rows, n_items, seen, rows->get(), k, ids->get(), values->get(),
                                 space->get(), stream);
  };
  c.check = [=] {
    cuda::topk<float>(scores->get(), n_rows, n_items, seen, rows->get(), k, ids->get(), want->get(), space->get(),
                      nullptr);
    synchronize();
    return differs(*values, *want, 0);
  };
  cases.add(c);
});

}  // namespace
}  // namespace fgr::gpu
