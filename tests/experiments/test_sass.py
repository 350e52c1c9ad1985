"""python -m benchmarks sass reads machine code: of a made-up kernel with a loop in a loop, without a compiler."""

import importlib
import json
from pathlib import Path

import pytest

import fastgcn_rec

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not Path(fastgcn_rec.__file__).is_relative_to(ROOT), reason="benchmarks run from the checkout they belong to"
)

# Of each instruction cuobjdump prints its two words, too; what begins at 0x0010 goes to 0x00c0, in it 0x0040 to 0x0080, and at the end it waits for ever.
SASS = """
	code for sm_90
		Function : _Z3hopPf
	.headerflags	@"EF_CUDA_SM90 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM90)"
        /*0000*/                   LDC R1, c[0x0][0x28] ;                  /* 0x00000a00ff017b82 */
                                                                           /* 0x000fe20000000800 */
        /*0010*/                   LDG.E R2, desc[UR4][R2.64] ;            /* 0x0000000402027981 */
        /*0020*/              @P0 BRA 0xb0 ;                               /* 0x0000000000980947 */
        /*0030*/                   LDL R7, [R1] ;                          /* 0x0000000001077983 */
        /*0040*/              @!P1 LDG.E.128.CONSTANT R4, desc[UR4][R8.64] ;  /* 0x00000004080c9981 */
        /*0050*/                   LDG.E.128 R12, desc[UR4][R8.64+0x10] ;  /* 0x00000010080c7981 */
        /*0060*/                   FFMA R20, R4, R5, R20 ;                 /* 0x0000000504147223 */
        /*0070*/                   FFMA.FTZ R21, R12, R5, R21 ;            /* 0x000000050c157223 */
        /*0080*/              @P2 BRA P3, 0x40 ;                           /* 0xfffffffc00ec2947 */
        /*0090*/                   STL [R1], R7 ;                          /* 0x0000000701007387 */
        /*00a0*/                   FFMA R22, R4, R5, R20 ;                 /* 0x0000000504147223 */
        /*00b0*/                   LDS R6, [R6] ;                          /* 0x0000000006067984 */
        /*00c0*/             @!UP0 BRA.U 0x10 ;                            /* 0xfffffffc00d08947 */
        /*00d0*/                   EXIT ;                                  /* 0x000000000000794d */
        /*00e0*/                   BRA 0xe0;                               /* 0xfffffffc00fc7947 */
		..........

		Function : _Z5otherv
        /*0000*/                   EXIT ;                                  /* 0x000000000000794d */
"""
USAGE = """
Resource usage:
 Function _Z3hopPf:
  REG:48 STACK:16 SHARED:5120 LOCAL:0 CONSTANT[0]:616 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function _Z5otherv:
  REG:8 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:528 TEXTURE:0 SURFACE:0 SAMPLER:0
"""


@pytest.fixture
def sass(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.sass")


def test_a_loop_has_what_is_in_no_loop_inside_it(sass):
    code = sass.functions(SASS)
    assert [(name, len(of)) for name, of in code.items()] == [("_Z3hopPf", 15), ("_Z5otherv", 1)]
    inner, outer = sass.loops(code["_Z3hopPf"])
    assert [i.at for i in outer] == [0x10, 0x20, 0x30, 0x90, 0xA0, 0xB0, 0xC0]
    assert [i.op for i in inner] == ["LDG.E.128.CONSTANT", "LDG.E.128", "FFMA", "FFMA.FTZ", "BRA"]
    assert sass.hot_loop(code["_Z3hopPf"], "LDS") == outer
    assert sass.hot_loop(code["_Z3hopPf"], "FFMA") == inner
    assert sass.hot_loop(code["_Z3hopPf"], "HMMA") == sass.hot_loop(code["_Z5otherv"], "EXIT") == []


def test_a_multiprocessor_has_room_for_so_many_blocks(sass):
    assert sass.blocks_at_once(90, 256, 32, 0) == 8  # 64 warps
    assert sass.blocks_at_once(90, 32, 16, 0) == 32
    assert sass.blocks_at_once(90, 256, 64, 0) == 4  # 65,536 registers
    assert sass.blocks_at_once(90, 256, 65, 0) == 3  # a warp's come in pieces of 256: 72 a thread
    assert sass.blocks_at_once(80, 128, 40, 40 << 10) == 4  # 164 KiB, a KiB of each block for the system


def test_the_table_shows_each_architecture(sass, tmp_path, monkeypatch, capsys):
    hot = sass.Hot("a hop", "hop.cu", "hop", 256, r"LDG\.E\.128", r"LDG\.E\.128", "row")
    monkeypatch.setattr(sass, "HOT", (hot, hot._replace(name="absent", label="none")))
    monkeypatch.setattr(sass.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(sass, "_demangled", lambda names: {name: name for name in names})
    answers = {"-sass": SASS, "-res-usage": USAGE, "--version": "Cuda compilation tools, release 13.0, V13.0.88"}
    monkeypatch.setattr(sass, "_output", lambda tool, what, *file: answers[what])
    for arch in (80, 90):
        (tmp_path / f"hop.sm_{arch}.cubin").touch()
    file = tmp_path / "code.json"
    assert sass.main(["--arch", "80", "90", "--cubins", str(tmp_path), "--json", str(file)]) == 0
    assert "hop.cu has no absent for sm_80" in capsys.readouterr().err
    first, second = json.loads(file.read_text())["records"]
    assert first == second | {"arch": "sm_80", "shared": 5120}
    counts = {"loop": 5, "ffma": 2, "ldg": 2, "lds": 0, "local": 2, "local_in_loop": 0, "loop_per_unit": 2.5}
    assert (
        second.items()
        >= ({"arch": "sm_90", "registers": 48, "shared": 4096, "blocks": 5, "stack": 16} | counts).items()
    )

    documents = importlib.import_module("benchmarks.documents")
    records = [{"file": file.name, **r} for r in documents.read_results([file])]
    lines = documents.table("gpu code", records).splitlines()
    assert lines[2] == "| a hop | sm_80 / sm_90 | 256 | 48 | 2 | 5,120 / 4,096 | 5 | 5 | 2, 0, 2, 0 | 2.5 a row |"
    assert "compiled by nvcc 13.0" in lines[-1]


def test_kernels_are_found_by_files_that_are_there(sass):
    missing = {hot.source for hot in sass.HOT if not (ROOT / "csrc/cuda" / hot.source).exists()}
    assert missing == set() or not (ROOT / "csrc/cuda").exists()
