// A batch's nodes, numbered: by one block at the sizes where it takes more entries a thread, with nodes beside their
// positions in a word and looked up; and by CUB.
#include <algorithm>
#include <numeric>

#include "cuda/number.cuh"
#include "tests/gpu/check.h"

namespace fgr::gpu {
namespace {

struct NumberCase {
  int64_t n_users, n_items, batch, n_neg;
  bool shared = false, biased = false, looked_up = false, by_cub = false, one_item = false;
};

// What one thread would do.
template <class A>
void number_on_host(const cuda::Numbered<A>& s, const cuda::Positions& p, const A* item_bias) {
  const PairBatch& b = p.batch;
  const int64_t n = b.batch, count = p.count(), n_nodes = p.n_nodes();
  std::vector<int64_t> node(static_cast<size_t>(count)), order(node.size());
  const auto at = [&](int64_t i) -> int64_t& { return node[static_cast<size_t>(i)]; };
  for (int64_t i = 0; i < count; ++i) {
    if (i < n) {
      at(i) = b.users[i];
    } else if (i < 2 * n) {
      at(i) = p.n_users + b.pos[i - n];
    } else {
      at(i) = b.neg[i - 2 * n] < 0 ? n_nodes : p.n_users + b.neg[i - 2 * n];
    }
  }
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return at(x) < at(y); });
  int32_t row = -1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = order[static_cast<size_t>(i)];
    const bool valid = at(position) < n_nodes;
    s.sorted_position[i] = static_cast<int32_t>(position);
    if (valid && (i == 0 || at(order[static_cast<size_t>(i - 1)]) != at(position))) {
      s.slot[at(position)] = ++row;
      s.rows[row] = static_cast<int32_t>(at(position));
      s.first[row] = static_cast<int32_t>(i);
    }
    if (valid) s.first[row + 1] = static_cast<int32_t>(i + 1);
    int64_t* compact = position < n       ? s.users + position
                       : position < 2 * n ? s.pos + (position - n)
                                          : s.neg + (position - 2 * n);
    *compact = valid ? row : -1;
    if (item_bias != nullptr && position >= n && position < 2 * n)
      s.bias[position - n] = item_bias[b.pos[position - n]];
  }
  *s.n_rows = row + 1;
}

template <class A>
void check_case(Checks& checks, const NumberCase& c) {
  const std::string name = std::string("number<") + (sizeof(A) == 4 ? "float" : "double") +
                           "> users=" + std::to_string(c.n_users) + " items=" + std::to_string(c.n_items) +
                           " batch=" + std::to_string(c.batch) + " negatives=" + std::to_string(c.n_neg) +
                           (c.shared ? " shared" : "") + (c.biased ? " bias" : "") + (c.looked_up ? " looked up" : "") +
                           (c.one_item ? " one item" : "") + (c.by_cub ? " by CUB" : "");
  Random random = checks.random(name);
  const int64_t n_nodes = c.n_users + c.n_items, n_neg = (c.shared ? 1 : c.batch) * c.n_neg;
  const auto users = random.ids<int64_t>(c.batch, 0, c.n_users),
             pos = random.ids<int64_t>(c.batch, 0, c.one_item ? 1 : c.n_items),
             neg = random.ids<int64_t>(n_neg, -1, c.one_item ? 1 : c.n_items);
  const auto item_bias = random.uniform<A>(c.biased ? c.n_items : 0);
  const int64_t n_positions = 2 * c.batch + n_neg, most = std::min(n_positions, n_nodes);
  const std::vector<int32_t> slots(static_cast<size_t>(n_nodes), -1), rows(static_cast<size_t>(most), -1),
      firsts(static_cast<size_t>(most + 1), -1);  // of which only some are written
  checks.run(name, [&](auto& on) {
    const cuda::Positions p{{on.in(users), on.in(pos), on.in(neg), c.batch, c.n_neg, c.shared}, c.n_users, c.n_items};
    cuda::Numbered<A> s{};
    s.sorted_position = on.template out<int32_t>("sorted_position", n_positions, exact);
    s.slot = on.template inout<int32_t>("slot", slots, exact);
    s.rows = on.template inout<int32_t>("rows", rows, exact);
    s.n_rows = on.template out<int32_t>("n_rows", 1, exact);
    s.first = on.template inout<int32_t>("first", firsts, exact);
    s.users = on.template out<int64_t>("users", c.batch, exact);
    s.pos = on.template out<int64_t>("pos", c.batch, exact);
    s.neg = on.template out<int64_t>("neg", n_neg, exact);
    s.bias = on.template out<A>("bias", c.biased ? c.batch : 0, exact);
    const A* bias = on.in(item_bias);
    if constexpr (std::decay_t<decltype(on)>::on_device) {
      cuda::BlockNumbering by(n_positions, n_nodes);
      if (c.looked_up) by.look_up();
      if (c.by_cub) {
        Arena sizes{0};
        const cuda::DeviceNumbering asked(sizes, n_positions, n_nodes);
        Arena arena{reinterpret_cast<uintptr_t>(on.workspace(sizes.used))};
        cuda::DeviceNumbering device(arena, n_positions, n_nodes);
        device.sorting.sorted_position = s.sorted_position;
        cuda::number_by_cub<A>("number", device, s, p, bias, on.where());
      } else {
        if (!by.fits()) throw std::runtime_error("one block of this device does not take it");
        cuda::number_by_block<A>("number", by, s, p, bias, on.where());
      }
    } else {
      number_on_host<A>(s, p, bias);
    }
  });
}

}  // namespace

void check_number(Checks& checks) {
  for (const int64_t items : {2, 4, 6, 8, 12, 16}) {  // the last batch that has so many entries a thread, and the next
    const int64_t batch = items * cuda::BlockNumbering::threads / 2;
    check_case<float>(checks, {29858, 40981, batch, 0, false, true});
    check_case<float>(checks, {29858, 40981, batch / 2, 2});
    if (items < 16) check_case<double>(checks, {29858, 40981, batch + 1, 0, false, true, items <= 8});
  }
  check_case<float>(checks, {29858, 40981, 2048, 1});
  check_case<float>(checks, {29858, 40981, 2048, 1, false, false, true});
  check_case<float>(checks, {3000000, 2000000, 700, 3, false, true});
  check_case<double>(checks, {3, 2, 1000, 4, false, true});
  check_case<float>(checks, {1, 1, 1, 1});
  check_case<float>(checks, {40, 1, 1500, 7, true, false, false, false, true});
  check_case<float>(checks, {500, 63, 33, 700, true});
  check_case<float>(checks, {29858, 40981, 2048, 1, false, false, false, true});
  check_case<double>(checks, {1000, 700, 9000, 0, false, true, false, true});
}

}  // namespace fgr::gpu
