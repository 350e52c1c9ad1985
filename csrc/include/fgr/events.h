// Events of users and items, of which every distinct pair counts once, and what each user holds out; on the CPU. The
// same results for any number of threads.
#pragma once

#include <cstdint>

namespace fgr::cpu {

// A column by which events are ordered, or none: a NaN comes last and is equal to another.
struct Order {
  const int64_t* whole = nullptr;
  const double* real = nullptr;
};

// The row of each distinct pair's earliest event (the first one where times tie or there are none), in the order of the
// pairs.
//   users, items [n_events], in [0, n_users) and [0, n_items), whose product is below 2^63. I = int32_t or int64_t.
//   rows [n_events]: overwritten, as many of them as are returned. R = int32_t (n_events < 2^31) or int64_t.
//   indptr [n_users + 1]: where each user's rows begin and end.
// Memory beside these: 4096 counts a thread, and 32 bytes an event of one of some thousand parts. Throws
// std::out_of_range for an id, std::bad_alloc.
template <class I, class R>
int64_t first_events(const I* users, const I* items, Order time, int64_t n_events, int64_t n_users, int64_t n_items,
                     R* rows, int64_t* indptr, int threads);

// How users' events are shared out, the last ones first.
//   rows [n]: events by user, of which user u has the places [indptr[u], indptr[u + 1]), counted from indptr[0].
//   The order of a user's events is that of by[rows[i]], or, if `placed`, of by[i]; ties are in the order of rows, or
//   of places. most [n_parts, n_users], ascending within a user: the last most[0][u] events are of part 0, those up to
//   most[1][u] of part 1, ... part [events]: at each of the rows, and there alone, 1 + its part; 1 + n_parts is that of
//   all others. Throws std::bad_alloc.
template <class R>
void share_out(const int64_t* indptr, int64_t n_users, Order by, bool placed, const R* rows, const int64_t* most,
               int64_t n_parts, uint8_t* part, int threads);

}  // namespace fgr::cpu
