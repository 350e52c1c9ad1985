#include "fgr/events.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cpu/parallel.h"
#include "cpu/radix_sort.h"
#include "fgr/build.h"

namespace fgr::cpu {
namespace {

constexpr int64_t most_parts = 1 << 12, events_of_a_part = 1 << 13;  // a stream of writes each; 256 KiB at work
constexpr int64_t most_of_a_stretch = 1 << 22;

// What a chunk throws, for the caller.
class Failure {
 public:
  template <class Fn>
  void guard(const Fn& fn) {
    try {
      fn();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (error_ == nullptr) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

// A number that orders as the column's value does.
uint64_t place_of(const Order& order, int64_t row) {
  constexpr uint64_t sign = uint64_t{1} << 63;
  if (order.whole != nullptr) return static_cast<uint64_t>(order.whole[row]) ^ sign;
  if (order.real == nullptr) return 0;
  const double value = order.real[row] + 0.0;  // of two zeros one
  if (std::isnan(value)) return ~uint64_t{0};
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & sign) != 0 ? ~bits : bits | sign;
}

template <class R>
struct Event {
  uint64_t pair;
  R row;
};

// How many rows each user of a part has: the part's first and last user may have others in the parts beside it.
struct Ends {
  int64_t first = 0, last = 0;
};

}  // namespace

template <class I, class R>
int64_t first_events(const I* users, const I* items, Order time, int64_t n_events, int64_t n_users, int64_t n_items,
                     R* rows, int64_t* indptr, int threads) {
  std::fill(indptr, indptr + n_users + 1, 0);
  if (n_events == 0) return 0;
  EdgeBounds bounds;
  edge_bounds(users, items, nullptr, n_events, n_users, n_items, 0, &bounds, threads);
  if (bounds.from_bad >= 0) {
    const int64_t e = n_events - 1 - bounds.from_bad;
    throw std::out_of_range("event " + std::to_string(e) + " is of user " + std::to_string(users[e]) + " and item " +
                            std::to_string(items[e]) + ", outside [0, " + std::to_string(n_users) + ") and [0, " +
                            std::to_string(n_items) + ")");
  }
  const auto pair_of = [&](int64_t row) {
    return static_cast<uint64_t>(users[row]) * static_cast<uint64_t>(n_items) + static_cast<uint64_t>(items[row]);
  };
  const uint64_t n_pairs = static_cast<uint64_t>(n_users) * static_cast<uint64_t>(n_items);
  const int64_t wanted = std::clamp<int64_t>(n_events / events_of_a_part, 1, most_parts);
  int shift = 0;  // a part has the pairs of one number >> shift
  while ((n_pairs - 1) >> shift >= static_cast<uint64_t>(wanted)) ++shift;
  const int64_t parts = static_cast<int64_t>((n_pairs - 1) >> shift) + 1;
  const auto users_of = [&](int64_t p) {  // its first and last one
    const uint64_t low = static_cast<uint64_t>(p) << shift;
    const uint64_t high = std::min(n_pairs - 1, low + ((uint64_t{1} << shift) - 1));
    return std::pair(static_cast<int64_t>(low / static_cast<uint64_t>(n_items)),
                     static_cast<int64_t>(high / static_cast<uint64_t>(n_items)));
  };

  // Rows to parts, in order.
  const int64_t most = std::max<int64_t>(threads, n_events / most_of_a_stretch);
  const int64_t stretches = std::clamp<int64_t>(n_events / grain(), 1, std::max<int64_t>(most, 1));
  std::vector<int64_t> at(static_cast<size_t>(stretches * parts));
  const auto each_stretch = [&](const auto& fn) {
    for_chunks(stretches, 2.0 * static_cast<double>(n_events), threads, [&](int64_t t) {
      int64_t* own = at.data() + t * parts;
      for (int64_t r = n_events * t / stretches; r < n_events * (t + 1) / stretches; ++r)
        fn(own[pair_of(r) >> shift], r);
    });
  };
  each_stretch([](int64_t& count, int64_t) { ++count; });
  const std::vector<int64_t> first = first_of_parts(at, stretches, parts);
  each_stretch([&](int64_t& to, int64_t r) { rows[to++] = static_cast<R>(r); });

  // Within a part by pair; of each the earliest event stays, at the part's head.
  std::vector<int64_t> kept(static_cast<size_t>(parts));
  std::vector<Ends> ends(static_cast<size_t>(parts));
  Failure failure;
  for_chunks(parts, 16.0 * static_cast<double>(n_events), threads, [&](int64_t p) {
    failure.guard([&] {
      const int64_t begin = first[static_cast<size_t>(p)], n = first[static_cast<size_t>(p) + 1] - begin;
      const std::unique_ptr<Event<R>[]> events(new Event<R>[static_cast<size_t>(2 * n)]);
      for (int64_t i = 0; i < n; ++i) events[static_cast<size_t>(i)] = {pair_of(rows[begin + i]), rows[begin + i]};
      radix_sort(events.get(), events.get() + n, n, [](const Event<R>& e) { return e.pair; });
      const auto [first_user, last_user] = users_of(p);
      int64_t out = begin, user = first_user;
      uint64_t next_user = 0;  // its first pair
      for (int64_t i = 0, stop = 0; i < n; i = stop) {
        const Event<R>& event = events[static_cast<size_t>(i)];
        R earliest = event.row;
        uint64_t when = place_of(time, earliest);
        for (stop = i + 1; stop < n && events[static_cast<size_t>(stop)].pair == event.pair; ++stop) {
          const R row = events[static_cast<size_t>(stop)].row;
          const uint64_t then = place_of(time, row);
          if (then < when) when = then, earliest = row;
        }
        rows[out++] = earliest;
        if (event.pair >= next_user) {
          user = static_cast<int64_t>(event.pair / static_cast<uint64_t>(n_items));
          next_user = (static_cast<uint64_t>(user) + 1) * static_cast<uint64_t>(n_items);
        }
        if (user == first_user) {
          ++ends[static_cast<size_t>(p)].first;
        } else if (user == last_user) {
          ++ends[static_cast<size_t>(p)].last;
        } else {
          ++indptr[user + 1];
        }
      }
      kept[static_cast<size_t>(p)] = out - begin;
    });
  });
  failure.rethrow();

  int64_t total = 0;
  for (int64_t p = 0; p < parts; ++p) {
    const auto [first_user, last_user] = users_of(p);
    indptr[first_user + 1] += ends[static_cast<size_t>(p)].first;
    indptr[last_user + 1] += ends[static_cast<size_t>(p)].last;
    const R* from = rows + first[static_cast<size_t>(p)];
    const int64_t n = kept[static_cast<size_t>(p)];
    if (rows + total != from) std::copy(from, from + n, rows + total);
    total += n;
  }
  for (int64_t u = 0; u < n_users; ++u) indptr[u + 1] += indptr[u];
  return total;
}

template <class R>
void share_out(const int64_t* indptr, int64_t n_users, Order by, bool placed, const R* rows, const int64_t* most,
               int64_t n_parts, uint8_t* part, int threads) {
  const int64_t n = indptr[n_users] - indptr[0];
  const int64_t chunks = std::clamp<int64_t>(n / 4096, 1, n_users > 0 ? n_users : 1);
  Failure failure;
  for_chunks(chunks, 16.0 * static_cast<double>(n + n_users), threads, [&](int64_t c) {
    failure.guard([&] {
      struct Place {
        uint64_t value;
        R tie, row;
      };
      std::vector<Place> places;
      const auto user_at = [&](int64_t k) {  // users are shared out by their places, and each goes to one chunk
        return k == chunks ? n_users : std::lower_bound(indptr, indptr + n_users, indptr[0] + n * k / chunks) - indptr;
      };
      for (int64_t u = user_at(c), stop = user_at(c + 1); u < stop; ++u) {
        const int64_t begin = indptr[u] - indptr[0], end = indptr[u + 1] - indptr[0], degree = end - begin;
        const int64_t held = n_parts > 0 ? std::clamp<int64_t>(most[(n_parts - 1) * n_users + u], 0, degree) : 0;
        places.clear();
        places.reserve(static_cast<size_t>(held > 0 ? degree : 0));
        for (int64_t i = begin; i < end; ++i) {
          const R row = rows[i], at = placed ? static_cast<R>(i) : row;
          part[row] = static_cast<uint8_t>(1 + n_parts);
          if (held > 0) places.push_back({place_of(by, at), at, row});
        }
        if (held == 0) continue;
        const auto later = [](const Place& a, const Place& b) {
          return a.value != b.value ? a.value > b.value : a.tie > b.tie;
        };
        // The last ones of all parts come to the front, then of these those of all parts but one, ...
        for (int64_t p = n_parts - 1, among = degree; p >= 0 && among > 0; --p) {
          const int64_t own = std::clamp<int64_t>(most[p * n_users + u], 0, among);
          std::nth_element(places.begin(), places.begin() + own, places.begin() + among, later);
          for (int64_t i = 0; i < own; ++i) part[places[static_cast<size_t>(i)].row] = static_cast<uint8_t>(1 + p);
          among = own;
        }
      }
    });
  });
  failure.rethrow();
}

#define FGR_INSTANTIATE(I, R) \
  template int64_t first_events<I, R>(const I*, const I*, Order, int64_t, int64_t, int64_t, R*, int64_t*, int);
FGR_INSTANTIATE(int32_t, int32_t)
FGR_INSTANTIATE(int32_t, int64_t)
FGR_INSTANTIATE(int64_t, int32_t)
FGR_INSTANTIATE(int64_t, int64_t)
#undef FGR_INSTANTIATE
#define FGR_INSTANTIATE(R) \
  template void share_out<R>(const int64_t*, int64_t, Order, bool, const R*, const int64_t*, int64_t, uint8_t*, int);
FGR_INSTANTIATE(int32_t)
FGR_INSTANTIATE(int64_t)
#undef FGR_INSTANTIATE

}  // namespace fgr::cpu
