// Random walks from seed nodes: traces, and the nodes that the walks of a seed visit most (Pixie: Eksombatchai et al.
// 2018; the importance neighbourhoods of PinSAGE: Ying et al. 2018). The laws stand in common/walk.h; both backends run
// that code, so the numbers are the same.
#pragma once

#include "common/walk.h"
#include "fgr/types.h"

namespace fgr {

// nodes [n_seeds] in [0, n_nodes), users first, then items; seed [1]; 0 <= restart <= 1. The CPU throws
// std::out_of_range for a node out of range before anything is written; CUDA fails an assertion. No walk ends before
// its length: who came over an edge can go back. Only a seed can be without edges.
//
// random_walk: out [n_seeds, length + 1], length >= 0: out[s, 0] = nodes[s], then single steps. Step t of row s takes
// the first (t even) or second (t odd) half of random_pair(*seed, Stream::walk, element = s, draw = t / 2); where it
// restarts, out[s, t + 1] is the seed in place of the neighbour. After a seed without edges all is -1.
//
// random_walk_neighbors: ids, weights [n_seeds, top]. n_walks walks of `length` double steps (seed's side -> other side
// -> seed's side) start at each seed. Double step k of walk w takes the halves of random_pair(*seed,
// Stream::walk_of_node, element = node << 32 | w, draw = k), so that a seed's result does not depend on the other
// seeds. The node reached is counted unless it is the seed; then the walk goes on from it or, where it restarts, from
// the seed. Kept are the `top` >= 1 nodes of most visits, ties by tie_key(row of its side) ascending; weights = visits
// / sum of the kept visits, rounded from double; padded with -1 and 0. 1 <= n_walks * length <= 2^30.
namespace cpu {
int64_t random_walk_neighbors_workspace_bytes(int64_t n_nodes, int64_t n_seeds, int64_t n_walks, int64_t length);
void random_walk(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t length, double restart,
                 const int64_t* seed, int64_t* out, int threads);
void random_walk_neighbors(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t n_walks,
                           int64_t length, double restart, int64_t top, const int64_t* seed, int64_t* ids,
                           float* weights, void* workspace, int threads);
}  // namespace cpu
namespace cuda {
int64_t random_walk_neighbors_workspace_bytes(int64_t n_nodes, int64_t n_seeds, int64_t n_walks, int64_t length);
void random_walk(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t length, double restart,
                 const int64_t* seed, int64_t* out, void* stream);
void random_walk_neighbors(const WalkGraph& graph, const int64_t* nodes, int64_t n_seeds, int64_t n_walks,
                           int64_t length, double restart, int64_t top, const int64_t* seed, int64_t* ids,
                           float* weights, void* workspace, void* stream);
}  // namespace cuda

}  // namespace fgr
