// A batch's nodes numbered by one block, which is what steps do, and by CUB's sort and scan, as for batches that are
// too large for one.
#include "cuda/number.cuh"
#include "tests/gpu/time.h"

namespace fgr::gpu {
namespace {

enum class By { block, block_looking_up, cub };

struct Space {
  Shared<int32_t> sorted_position, slot, rows, n_rows, first;
  Shared<int64_t> users, pos, neg;
  cuda::Numbered<float> numbered;

  Space(int64_t count, int64_t n_nodes, const Batch& b)
      : sorted_position(empty<int32_t>(count)),
        slot(empty<int32_t>(n_nodes)),
        rows(empty<int32_t>(count)),
        n_rows(empty<int32_t>(1)),
        first(empty<int32_t>(count + 1)),
        users(empty<int64_t>(b.size)),
        pos(empty<int64_t>(b.size)),
        neg(empty<int64_t>(b.size * b.n_neg)),
        numbered{sorted_position->get(), slot->get(), rows->get(), n_rows->get(), first->get(),
                 users->get(),           pos->get(),  neg->get(),  nullptr} {}
};

void add_case(Cases& cases, int64_t size, int64_t n_neg, By by, const char* variant) {
  const World& w = cases.world;
  const Batch b = w.batch(size, n_neg);
  const cuda::Positions p{{b.users->get(), b.pos->get(), b.neg->get(), size, n_neg, false}, w.n_users(), w.n_items()};
  const int64_t count = p.count();
  const Space got(count, w.n_nodes(), b), want(count, w.n_nodes(), b);
  Arena sizes{0};
  const cuda::DeviceNumbering asked(sizes, count, w.n_nodes());
  auto space = workspace(sizes.used);
  const auto by_cub = [=](const Space& s, void* stream) {
    Arena arena{reinterpret_cast<uintptr_t>(space->get())};
    cuda::DeviceNumbering device(arena, count, p.n_nodes());
    device.sorting.sorted_position = s.numbered.sorted_position;
    cuda::number_by_cub<float>("number", device, s.numbered, p, nullptr, stream);
  };
  cuda::BlockNumbering block(count, w.n_nodes());
  if (by == By::block_looking_up) block.look_up();
  Case c;
  c.name = "number a batch of " + std::to_string(count);
  c.variant = variant;
  c.dtype = "-";
  c.sizes = std::to_string(count) + " of " + std::to_string(w.n_nodes()) + " nodes";
  c.work = static_cast<double>(count);
  c.unit = "ids";
  c.holds = {b.users, b.pos, b.neg};
  c.run = [=](void* stream) {
    if (by == By::cub) {
      by_cub(got, stream);
    } else {
      cuda::number_by_block<float>("number", block, got.numbered, p, nullptr, stream);
    }
  };
  c.check = [=]() -> std::string {
    by_cub(want, nullptr);
    synchronize();
    const auto found = [&](const Shared<int32_t>& of) { return static_cast<size_t>(of->host()[0]); };
    const size_t n = found(got.n_rows);
    if (n != found(want.n_rows)) return "another number of rows";
    const auto same = [](auto x, auto y, size_t first) {
      x.resize(first);
      y.resize(first);
      return x == y;
    };
    const bool equal =
        same(got.rows->host(), want.rows->host(), n) && same(got.first->host(), want.first->host(), n + 1) &&
        got.sorted_position->host() == want.sorted_position->host() && got.users->host() == want.users->host() &&
        got.pos->host() == want.pos->host() && got.neg->host() == want.neg->host();
    return equal ? "" : "it numbers otherwise";
  };
  cases.add(c);
}

const Registered numbers(55, "numbering", [](Cases& cases) {
  const int64_t sizes[][2] = {{sized(2048, 40), 1}, {sized(4096, 33), 2}, {sized(2048, 50), 0}};
  for (const auto& [size, n_neg] : sizes) {
    add_case(cases, size, n_neg, By::block, "now");
    add_case(cases, size, n_neg, By::block_looking_up, "nodes looked up");
    add_case(cases, size, n_neg, By::cub, "by CUB");
  }
});

}  // namespace
}  // namespace fgr::gpu
