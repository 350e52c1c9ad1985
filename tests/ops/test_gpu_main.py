"""gpu_main check: it holds a check of every kernel, and a kernel that is wrong fails one.

What runs it needs a build of it beside the module of FASTGCN_REC_EMULATED (`make check-emulated`).
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from mutants import KERNELS, ROOT, Fault, compile_mutant, objects_of
from support import EMULATED

BUILD = Path(EMULATED).parent if EMULATED else ROOT / "build/emulated"
with_program = pytest.mark.skipif(
    not EMULATED or not (BUILD / "gpu_main").exists(), reason="needs the emulated gpu_main: make check-emulated"
)
with_sources = pytest.mark.skipif(not KERNELS.exists(), reason="the sources are the checkout's")

# The fault, and the checks of which one must fail.
FAULTS = {
    "a value is not written": (Fault("sample.cu", "void uniform_kernel(", "c < dim", "c + 1 < dim"), "uniform_rows"),
    "other random numbers": (
        Fault("sample.cu", "void batch_kernel(", "static_cast<uint32_t>(j)", "static_cast<uint32_t>(j + 1)"),
        "sample_batch",
    ),
    "the last entry of a row's is lost": (
        Fault("scatter_rows.cu", "void add_short(", "first, end, terms", "first, end - 1, terms"),
        "scatter_rows<float, float>",
    ),
    "a long row has a term too few": (
        Fault("scatter_rows.cu", "void add_long(", "from + share : end", "from + share : end - 1"),
        "scatter_rows<float, float>",
    ),
    "a row of a term more than a warp adds is nobody's": (
        Fault("scatter_rows.cu", "void add_long(", "end - begin <= most_short", "end - begin <= most_short + 1"),
        "scatter_rows<float, float>",
    ),
    "a long row between two others is not found": (
        Fault("scatter_rows.cu", "void add_long(", "at - most_short / 2", "at - most_short"),
        "scatter_rows<float, float>",
    ),
    "the weight of what is skipped counts": (
        Fault("neighbor_pool.cu", "pool_kernel(", "if (term.row >= 0) term", "term"),
        "neighbor_pool<float>",
    ),
    "a rate of Adam's is another's": (Fault("adam.cuh", "adam_rates(", "1 - o.beta2", "1 - o.beta1"), "adam_step"),
    "a value too far is written": (Fault("adam_step.cu", "adam_kernel(", "i < n", "i <= n"), "adam_step"),
    "a row that counts although it is none": (
        Fault("l2_loss.cu", "struct Square", "id < 0 ? 0.0 :", "id < 0 ? 1.0 :"),
        "l2_loss",
    ),
    "a part of a sum is left out": (Fault("dense.cu", "add_parts_kernel(", "int64_t q = 1;", "int64_t q = 2;"), "outer_sum"),
    "low halves of a product are left out": (
        Fault("split_product.cuh", "multiply_slice(", "multiply_add(terms, a_high[i], b_low[2 * e], b_low[2 * e + 1]);", ""),
        "softmax_loss<float>",
    ),
    "a row's scores are weighed as another's": (
        Fault("softmax_split.cuh", "GradientRows(", "from[8 * r]", "from[8 * (r ^ 1)]"),
        "softmax_loss<float>",
    ),
    "a part of a gradient is left out": (
        Fault("pair_split.cuh", "add_parts_kernel(", "q < n_parts", "q + 1 < n_parts"), "pair_loss<float>"),
    "one side's scale is the other's": (
        Fault("pair_split.cuh", "split_rows_kernel(", "j < 0 ? s.findings->users", "j >= 0 ? s.findings->users"),
        "pair_loss<float>",
    ),
    "a coefficient is not where its score was": (
        Fault("pair_loss.cuh", "coefficients_kernel(", "if (elsewhere) scores[j] = coef;", ""), "pair_loss<float>"),
    "a coefficient's low half is left out": (
        Fault("pair_split.cuh", "struct CoefficientRows", "high[v], low[v]);", "high[v], low[v]), low[v] = 0;"),
        "pair_loss<float>",
    ),
    "a walk goes on where it restarts": (
        Fault("random_walk.cu", "neighbors_kernel(", "if (restarts(", "if (!restarts("),
        "random_walk_neighbors",
    ),
    "a walk's visits are ranked too early": (
        Fault("random_walk.cu", "row = home.row;\n      }", "__syncthreads();", ""),
        "random_walk_neighbors",
    ),
    "ids of one digit change places": (
        Fault("number.cu", "number_block_kernel(", "__popc(lower)", "__popc(alike & ~lanes_before) - 1"),
        "number<",
    ),
    "ids of a digit begin where those of the one before do": (
        Fault("number.cu", "number_block_kernel(", "+ of_first +", "+ 0 * of_first +"),
        "number<",
    ),
    "a digit is left out": (
        Fault("number.cu", "number_block_kernel(", "shift < by.key_bits", "shift + pass_bits < by.key_bits"),
        "number<",
    ),
    "ids are moved before all are counted": (
        Fault("number.cu", "rank[i] = digit", "__syncthreads();", ""),
        "number<",
    ),
    "heads are counted before all warps know theirs": (
        Fault("number.cu", "totals[own_warp] = static_cast<uint32_t>(heads)", "__syncthreads();", ""),
        "number<",
    ),
    "the last of the best is left out": (
        Fault("topk_digits.cuh", "topk_kernel(", "word <= last", "word < last"),
        "topk<float> equal scores",
    ),
    "no room is left for the error of halves": (
        Fault("retrieve_halves.cuh", "void query_halves_kernel(", "* relative + dim", "* relative * 0.001f + dim"),
        "retrieve<float> in halves",
    ),
    "what is left is not scored once more": (
        Fault("retrieve_cut.cuh", "void make_exact(", "words[j] = rank_word(sum, item)", "words[j] = rank_word(product_of(words[j]), item)"),
        "retrieve<float> in halves",
    ),
    "a row is cut without doubt": (
        Fault("retrieve_cut.cuh", "void cut_in_registers(", "n_best, count) - doubt", "n_best, count) + doubt"),
        "retrieve<float> in halves",
    ),
    "what was seen is found again": (
        Fault("retrieve_cut.cuh", "bool leaves_out(", "row.seen[first] == item", "row.seen[first] != item"),
        "retrieve<float>",
    ),
    "a column that was seen is not left out": (
        Fault("topk_digits.cuh", "lower_bound(seen", "n_seen, begin", "n_seen, begin + 1"),
        "topk<float>",
    ),
    "a column that was seen raises the bound": (
        Fault("topk.cu", "first_bound(", "seen.n > 0", "seen.n < 0"),
        "topk<float>",
    ),
    "a column that was seen is kept": (Fault("best.cuh", "void cut()", "seen.n > 0", "seen.n < 0"), "topk<float>"),
    "what a warp has kept is not counted": (Fault("best.cuh", "int for_best(", "int w = 0;", "int w = 1;"), "topk<float>"),
    "a part of a row is not read": (Fault("topk.cu", "struct Parts", "n = std::max<int64_t>(blocks_for(n_items, columns)", "n = std::max<int64_t>(n_items / columns"), "topk<float>"),
}  # fmt: skip


@with_sources
def test_every_op_of_the_headers_has_a_check():
    checks = "".join(file.read_text() for file in sorted((ROOT / "csrc/tests/gpu").glob("check_*.cpp")))
    checked = set(re.findall(r"FGR_RUN\(\s*on,\s*(\w+)", checks)) | set(re.findall(r"cuda::(\w+)\(", checks))
    ops = set()
    for header in sorted((ROOT / "csrc/include/fgr").glob("*.h")):
        for block in re.findall(r"^namespace (?:fgr::)?cuda \{\n(.*?)^\}", header.read_text(), re.M | re.S):
            ops |= set(re.findall(r"^\w[\w:]* (\w+)\(", block, re.M))
    kernels = {op for op in ops if not op.endswith("_workspace_bytes")}
    assert len(kernels) > 20
    assert sorted(kernels - checked) == [], "without a check in csrc/tests/gpu/check_*.cpp"


def run(program, *arguments):
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = [str(program), "check", "--small", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@with_program
def test_every_type_of_an_op_is_checked():
    names = run(BUILD / "gpu_main", "--list").stdout.splitlines()
    assert len(names) > 500
    for source in sorted(KERNELS.glob("*.cu")):
        text = source.read_text()
        ops = set(re.findall(r"template \w+ (\w+)<(?:T|S, T)>\(", text))
        for types in re.findall(r"^FGR_INSTANTIATE\(((?:\w+(?:, )?)+)\)$", text, re.M):
            for op in ops - {op for op in ops if op.endswith("_workspace_bytes")}:
                assert any(name.startswith(f"{op}<{types}>") for name in names), (op, types)


@with_sources
@pytest.mark.parametrize("name", FAULTS)
def test_what_is_broken_is_there(name):
    assert FAULTS[name][0].is_possible()


@with_program
@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_kernel_fails_its_check(name, tmp_path):
    fault, only = FAULTS[name]
    mutant = compile_mutant(BUILD, tmp_path, fault)
    mutant.link(objects_of(BUILD, "csrc/tests/gpu"), tmp_path / "gpu_main")
    done = run(tmp_path / "gpu_main", "--only", only)
    assert done.returncode != 0, done.stdout
    assert "FAILED " + only in done.stdout or "AddressSanitizer" in done.stderr, done.stdout + done.stderr


@with_program
def test_a_name_that_no_check_has_fails():
    done = run(BUILD / "gpu_main", "--only", "no such kernel")
    assert done.returncode == 1
    assert 'no check\'s name contains "no such kernel"' in done.stdout
