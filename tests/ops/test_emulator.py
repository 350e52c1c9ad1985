"""The harness that runs CUDA kernels on the CPU must see what is wrong with a kernel: broken ones are built and run.

Needs FASTGCN_REC_EMULATED, a module of build/emulated (`make check-emulated`): its compile commands build the mutants.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mutants import Fault, compile_mutant, objects_of
from support import EMULATED

from fastgcn_rec import bpr_loss

emulated = pytest.mark.skipif(not EMULATED, reason="needs the emulated CUDA backend: make check-emulated")
HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# file, what is replaced (its first occurrence after the marker), by what, and the test that must fail.
MUTANTS = {
    "a barrier is missing": (
        "topk_digits.cuh", "const unsigned other = threadIdx.x", "__syncthreads();", "",
        "test_topk.py::test_topk_orders_and_errors",
    ),
    "a barrier is missing between keeping and ranking": (
        "best.cuh", "int for_best(", "__syncthreads();", "",
        "test_topk.py::test_topk_orders_and_errors",
    ),
    "a bound is read before all warps have theirs": (
        "topk.cu", "T first_bound(", "__syncthreads();", "",
        "test_topk.py::test_topk_is_a_full_sort_for_any_k",
    ),
    "a barrier is missing between the stretches of a long row and their sum": (
        "scatter_rows.cu", "part[own][lane() * V + v] = sum[v];", "__syncthreads();", "",
        "test_neighbor_pool.py::test_one_row_that_everybody_points_to",
    ),
    "a barrier is missing in a transposition": (
        "ppr.cu", "cell[slow][fast] = ", "__syncthreads();", "",
        "test_ppr.py::test_the_same_bits_in_any_order",
    ),
    "edges are shared out by the number of sources": (
        "ppr.cu", "constexpr int values", "hop_width(most_width, values)", "hop_width(h.dim, values)",
        "test_ppr.py::test_a_row_does_not_depend_on_how_many_sources_there_are",
    ),
    "a barrier is missing in a product": (
        "product.cuh", "y.store(slices.y[now]", "__syncthreads();", "",
        "test_losses.py::test_softmax_gives_the_same_bits_in_any_order",
    ),
    "a product reads beyond its terms": (
        "product.cuh", "const auto load", "? last - k :", "? last - k + 1 :",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "a barrier is missing in a product of halves": (
        "split_product.cuh", "wait_for_copies<T::stages", "__syncthreads();", "",
        "test_losses.py::test_the_same_bits_in_any_order",
    ),
    "a slice is not waited for": (
        "split_product.cuh", "slice < n_slices; ++slice", "T::stages - 2", "T::stages - 1",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "low halves are left out": (
        "split_product.cuh", "multiply_slice(", "multiply_add(terms, a_low[i], b_high[2 * e], b_high[2 * e + 1]);", "",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "a column that is none has a score": (
        "softmax_split.cuh", "split_scores_kernel(", "-HUGE_VALF", "0.0f",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "a row's own score is taken for its neighbour's": (
        "softmax_split.cuh", "Where the slice has", "v / 2 * 8 + e)", "v / 2 * 8 + e + 1)",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "a part of a sum is left out": (
        "softmax.cuh", "void project_kernel", "q < side.n_parts", "q + side.step < side.n_parts",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "a part is not folded": (
        "softmax.cuh", "void fold_kernel", "q = 1;", "q = 2;",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "only the last rows count for the items": (
        "softmax_split.cuh", "of_items.s =", "first > 0 ? s.items.sums : nullptr", "nullptr",
        "test_losses.py::test_softmax_at_the_edges_of_its_tiles",
    ),
    "a barrier is missing in the sum of a row of coefficients": (
        "pair_loss.cuh", "parts[threadIdx.x / warp] = x;", "__syncthreads();", "",
        "test_losses.py::test_shared_negatives_at_the_edges_of_their_tiles",
    ),
    "the largest coefficient is not looked for": (
        "pair_loss.cuh", "coefficients_kernel(", "bits > __ldcg(&s.findings->coefs)", "bits > 0x7fffffffu",
        "test_losses.py::test_gradients_of_pairs_that_are_far_apart_keep_their_digits",
    ),
    "numbers that are none are split": (
        "pair_loss.cuh", "bool are_fit(",
        "return users >= -most && users <= most && items >= -most && items <= most && users + items <= most_of_scores",
        "return users + items >= -most - most_of_scores",
        "test_losses.py::test_a_shared_negative_that_is_no_number_touches_only_rows_that_take_it",
    ),
    "a barrier is missing before buffers are cut": (
        "retrieve.cu", "words_of(r)[atomicAdd", "__syncthreads();", "",
        "test_retrieve.py::test_a_score_depends_on_its_two_vectors_alone",
    ),
    "a barrier is missing before buffers of scores in halves are cut": (
        "retrieve_halves.cuh", "const bool must_cut", "__syncthreads_or(too_many) != 0", "too_many",
        "test_retrieve.py::test_a_score_depends_on_its_two_vectors_alone",
    ),
    "items in halves are read before they are there": (
        "retrieve_halves.cuh", "for (int64_t j0 = begin;;", "wait_for_copies<0>();", "",
        "test_retrieve.py::test_a_score_depends_on_its_two_vectors_alone",
    ),
    "buffers are cut too late": (
        "retrieve.cu", "for (int64_t j0 = begin", "count[r] + tile <=", "count[r] <=",
        "test_retrieve.py::test_many_tiles_and_many_cuts_of_the_buffers",
    ),
    "a barrier is in a branch": (
        "adam_step.cu", "if (threadIdx.x == 0) {", "{", "{ __syncthreads();",
        "test_adam_step.py::test_adam_gives_the_same_bits_in_any_order",
    ),
    "a warp sum after some lanes have left": (
        "panel_sums.cuh", "void panels_kernel(", "sum = warp_sum(sum);", "if (lane() != 3) sum = warp_sum(sum);",
        "test_losses.py::test_l2_counts_repeated_rows_and_skips_missing_ones",
    ),
    "a barrier is missing in a sum of a panel": (
        "panel_sums.cuh", "void panel_blocks_kernel(", "__syncthreads();", "",
        "test_losses.py::test_l2_counts_repeated_rows_and_skips_missing_ones",
    ),
    "a row too far": (
        "hop.cuh", "r += h.first_node;", "r < h.graph.n_nodes()", "r <= h.graph.n_nodes()",
        "test_propagate.py::test_matches_the_dense_reference",
    ),
    "shared memory is read that nobody wrote": (
        "random_walk.cu", "if (threadIdx.x == 0) sum = used = 0;", "sum = used", "used",
        "test_random_walk.py::test_neighbors_are_the_counted_visits_of_the_law",
    ),
    "lanes of a row disagree": (
        "hop.cuh", "for (int offset = share.width", "offset < share.lanes", "offset < share.lanes / 2",
        "test_propagate.py::test_heavy_and_split_rows",
    ),
    "a row that a mask leaves out": (
        "hop.cuh", "int64_t result_row(", "return h.row_slot[node];", "return node;",
        "test_train_step.py::test_long_rows_in_parts",
    ),
    "a long row's edges are shared out by the columns that are here": (
        "hop.cuh", "void hop(", "h.whole_dim > 0 ? h.whole_dim : h.dim", "h.dim",
        "test_train_step_columns.py::test_long_rows_in_parts",
    ),
    "one block numbers a row too few": (
        "number.cu", "number_block_kernel(", "s.first[r + 1] = at + 1;", "s.first[r + 1] = at;",
        "test_train_step.py::test_steps_follow_autograd_and_adam",
    ),
    "a barrier is missing before ids are moved on": (
        "number.cu", "entries[own_counts[", "__syncthreads();", "",
        "test_train_step.py::test_steps_follow_autograd_and_adam",
    ),
    "an edge is left out": (
        "hop.cuh", "const auto index_of", "e < n", "e + 1 < n",
        "test_propagate.py::test_matches_the_dense_reference",
    ),
    "visits are ranked before all walks have ended": (
        "random_walk.cu", "row = home.row;\n      }", "__syncthreads();", "",
        "test_random_walk.py::test_many_walks_follow_the_law_too",
    ),
    "too little dynamic shared memory": (
        "random_walk.cu", "int64_t table_bytes()", "<< bits", "<< (bits - 1)",
        "test_random_walk.py::test_many_walks_follow_the_law_too",
    ),
}  # fmt: skip


def build_mutant(tmp_path, fault, test) -> Path:
    build = Path(EMULATED).parent
    mutant = compile_mutant(build, tmp_path, fault, home="train_step.cu" if "train_step" in test else None)
    module = tmp_path / Path(EMULATED).name
    mutant.link(objects_of(build, "csrc/bindings.cpp"), module, "-shared")
    return module


@pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="the sources are the checkout's")
@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_and_what_must_notice_are_there(name):
    *fault, test = MUTANTS[name]
    assert Fault(*fault).is_possible()
    home, function = test.split("::")
    assert f"def {function}(" in (HERE / home).read_text()


@emulated
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_kernel_is_caught(name, tmp_path):
    *fault, test = MUTANTS[name]
    module = build_mutant(tmp_path, Fault(*fault), test)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-p", "no:cacheprovider", str(HERE / test)]
    run = subprocess.run(
        command, env={**os.environ, "FASTGCN_REC_EMULATED": str(module)}, capture_output=True, text=True
    )
    assert run.returncode != 0, run.stdout
    crashed = run.returncode < 0 or "AddressSanitizer" in run.stderr
    assert crashed or "FAILED" in run.stdout, run.stdout + run.stderr


@pytest.fixture(scope="module")
def device_functions(tmp_path_factory):
    """A program that runs one of its cases under several orders of threads."""
    program, compiler = tmp_path_factory.mktemp("emu") / "device_functions", os.environ.get("CXX", "c++")
    flags = [
        "-std=c++17",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ]
    sources = "csrc/tests/emu/device_functions.cpp", "csrc/emu/grid.cpp", "csrc/emu/tensor.cpp"
    command = [
        compiler,
        *flags,
        "-DFGR_EMULATE",
        "-Icsrc/emu",
        "-Icsrc",
        "-Icsrc/include",
        *sources,
        "-o",
        str(program),
    ]
    subprocess.run(command, cwd=ROOT, check=True)

    def run(case):
        env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        return subprocess.run([str(program), case], capture_output=True, text=True, env=env, check=False)

    return run


@emulated
@pytest.mark.parametrize(
    "case", ["shuffles", "votes", "votes of a block", "bits", "memory", "atomics", "halves", "products", "copies"]
)
def test_device_functions_do_what_they_do_on_a_gpu(case, device_functions):
    run = device_functions(case)
    assert run.returncode == 0, run.stdout + run.stderr


@emulated
@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("a source outside of the mask", "asks lane 8, which is outside of the mask"),
        ("lanes of the mask elsewhere", "waits for ever"),
        ("a lane outside of its mask", "a lane outside of its own mask"),
        ("different masks", "waits for ever; thread 0 has returned"),
        ("different places", "a lane of the mask is in"),
        ("a misaligned access", "an access of 16 bytes is not aligned"),
        ("a misaligned copy", "a copy of 16 bytes is not aligned"),
        ("a misaligned row of a matrix", "a row of a matrix is not aligned to 16 bytes"),
        ("global access of shared memory", "an instruction for global memory is given shared memory"),
    ],
)
def test_what_a_gpu_leaves_undefined_is_an_error(case, says, device_functions):
    run = device_functions(case)
    assert run.returncode == 1, run.stdout + run.stderr
    assert says in run.stdout


@emulated
def test_an_id_out_of_range_stops_the_kernel():
    users, emb = torch.zeros(3, dtype=torch.int64), torch.ones(4, 8)
    with pytest.raises(RuntimeError, match=r"rows_kernel\S* stopped: pos: id 4 is outside \[0, 4\)"):
        bpr_loss(emb, emb, users, users + 4, users[:, None])
    assert bpr_loss(emb, emb, users, users, users[:, None]) > 0  # the next grid is not harmed
