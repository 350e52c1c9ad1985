"""``python -m benchmarks sass``: what a GPU executes of the hot kernels, read from their machine code without a GPU: registers, shared memory, the blocks that a
multiprocessor has room for, and the instructions of the loop that matters.

The kernels are compiled by nvcc for each architecture, or found in ``--cubins``, and disassembled by cuobjdump; both must be on PATH.
"""

from __future__ import annotations

import argparse
import datetime
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .harness import Record, command_of, write_results

ROOT = Path(__file__).resolve().parents[1]
CUDA = ROOT / "csrc/cuda"
ARCHITECTURES = (80, 90, 100)


class Hot(NamedTuple):
    """A kernel that takes a share of a step or of a ranking.

    ``name`` is searched for in its demangled name; its loop is the one that has the most instructions ``by``, and does ``per`` (an instruction too) once
    for each ``unit``. ``dynamic`` is the shared memory in bytes that it is launched with.
    """

    label: str
    source: str
    name: str
    threads: int
    by: str
    per: str | None = None
    unit: str = ""
    dynamic: int = 0


_ROWS = {"by": r"LDG\.E\.128", "per": r"LDG\.E\.128", "unit": "row"}


def _hops() -> Iterator[Hot]:
    for dtype, t, v in (("float32", "float", 4), ("bfloat16", "fgr::bf16", 8)):
        for kind, columns in (("", 0), (", scaled", 1)):
            name = rf"hop_kernel<\(fgr::cuda::Columns\){columns}, {t}, {t}, false, {v}, fgr::cuda::StoreRow<{t}>"
            yield Hot(f"hop{kind}, {dtype}", "propagate.cu", name, 256, **_ROWS)
        for kind, columns, sink in ((", slots", 2, "StoreRow"), (", Adam", 0, "AdamRow")):
            name = rf"hop_kernel<\(fgr::cuda::Columns\){columns}, {t}, float, true, {v}, fgr::cuda::{sink}<{t}>"
            yield Hot(f"hop{kind}, {dtype}", "train_step.cu", name, 256, **_ROWS)


HOT = (
    *_hops(),
    Hot("retrieve, by halves", "retrieve.cu", r"retrieve_halves_kernel", 256, "HMMA", dynamic=52224),
    Hot("retrieve, by floats", "retrieve.cu", r"retrieve_kernel<float", 256, "FFMA"),
    Hot("softmax_loss: scores", "softmax_loss.cu", r"split_scores_kernel<.*SplitTile<128>", 128, "HMMA"),
    Hot("softmax_loss: gradients", "softmax_loss.cu", r"split_gradient_kernel<.*SplitTile<128>", 128, "HMMA"),
    Hot("number a batch", "number.cu", r"number_block_kernel<6, float>", 1024, "VOTE|R2P"),
    Hot("pair_loss: rows", "pair_loss.cu", r"rows_kernel<float>", 128, "LDG"),
    Hot("pair_loss, shared: gradients", "pair_loss.cu", r"split_pair_gradient_kernel<.*SplitTile<64>", 128, "HMMA"),
    Hot("adam_step", "adam_step.cu", r"adam_kernel<float>", 256, "FFMA"),
    Hot("random_walk", "random_walk.cu", r"[^_]walk_kernel\(", 256, "LDG"),
    Hot("random_walk_neighbors", "random_walk.cu", r"neighbors_kernel<true>", 256, "LDG"),
    Hot("topk, k <= 32", "topk.cu", r"kept_kernel<float, 2>", 128, "LDG.*EF"),
    Hot("neighbor_pool, d = 64", "neighbor_pool.cu", r"pool_kernel<float, 2>", 256, r"LDG\.E\.64", r"LDG\.E\.64", "row"),
)  # fmt: skip


# --- machine code ---------------------------------------------------------------------------------------------------


class Instruction(NamedTuple):
    at: int
    op: str  # with its modifiers, without its predicate
    target: int | None  # of a branch


class Usage(NamedTuple):
    """Of a thread: registers, bytes of its stack; of a block: bytes of shared memory."""

    registers: int
    stack: int
    shared: int


_FUNCTION = re.compile(r"^\s*Function : (\S+)", re.M)
_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);", re.M)
_USAGE = re.compile(r"Function (\S+?):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+)")


def functions(sass: str) -> dict[str, list[Instruction]]:
    """The instructions of each function of what ``cuobjdump -sass`` prints, by its mangled name."""
    parts = _FUNCTION.split(sass)
    return {name: list(_instructions(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _instructions(body: str) -> Iterator[Instruction]:
    for at, op, rest in _INSTRUCTION.findall(body):
        targets = re.findall(r"0x[0-9a-f]+", rest) if op.split(".")[0] in ("BRA", "BRX", "JMP") else []
        yield Instruction(int(at, 16), op, int(targets[-1], 16) if targets else None)


def usages(text: str) -> dict[str, Usage]:
    """What ``cuobjdump -res-usage`` prints, by mangled name."""
    return {name: Usage(*map(int, numbers)) for name, *numbers in _USAGE.findall(text)}


def loops(code: Sequence[Instruction]) -> list[list[Instruction]]:
    """The instructions of each loop that are in none inside it. A loop goes from where a branch leads back to, to the last such branch."""
    ends: dict[int, int] = {}
    for i in code:
        if i.target is not None and i.target < i.at:
            ends[i.target] = max(i.at, ends.get(i.target, 0))
    ranges = list(ends.items())
    inside = {outer: [r for r in ranges if r != outer and outer[0] <= r[0] and r[1] <= outer[1]] for outer in ranges}
    return [[i for i in code if a <= i.at <= b and not any(c <= i.at <= d for c, d in inside[a, b])] for a, b in ranges]


def hot_loop(code: Sequence[Instruction], by: str) -> list[Instruction]:
    """The loop with the most instructions ``by``, of equal ones the shortest; empty where none has any."""
    ranked = [(sum(bool(re.match(by, i.op)) for i in loop), -len(loop), loop) for loop in loops(code)]
    count, _, loop = max(ranked, key=lambda r: r[:2], default=(0, 0, []))
    return loop if count else []


# Of a multiprocessor, by compute capability: warps, blocks, bytes of shared memory; each has 65,536 registers, shared out by 256 a warp.
_ROOM = {75: (32, 16, 64 << 10), 80: (64, 32, 164 << 10), 86: (48, 16, 100 << 10), 89: (48, 24, 100 << 10),
         90: (64, 32, 228 << 10), 100: (64, 32, 228 << 10), 103: (64, 32, 228 << 10), 120: (48, 24, 100 << 10)}  # fmt: skip
_REGISTERS, _SYSTEM = 65536, 1024  # shared memory that the system takes of each block, from 80 on


def blocks_at_once(arch: int, threads: int, registers: int, shared: int) -> int:
    """How many blocks a multiprocessor has room for; ``shared``: bytes that the kernel itself asks for."""
    warps, blocks, memory = _ROOM[arch]
    own = -(-threads // 32)
    of_warp = -(-registers * 32 // 256) * 256
    in_memory = memory // max(shared + (_SYSTEM if arch >= 80 else 0), 1)
    return min(blocks, warps // own, _REGISTERS // of_warp // own, in_memory)


COUNTED = {"ffma": "FFMA", "hmma": "HMMA|WGMMA|UTC.*MMA", "ldg": "LDG", "lds": r"LDS(?!M)", "ldsm": "LDSM"}


def record_of(hot: Hot, arch: int, code: Sequence[Instruction], usage: Usage) -> Record:
    """What the table shows of a kernel on an architecture."""
    shared = usage.shared - (_SYSTEM if arch >= 90 and usage.shared >= _SYSTEM else 0) + hot.dynamic
    loop = hot_loop(code, hot.by)

    def count(pattern: str, among: Sequence[Instruction]) -> int:
        return sum(bool(re.match(pattern, i.op)) for i in among)

    record: Record = {
        "case": "sass", "device": "cuda", "kernel": hot.label, "arch": f"sm_{arch}", "threads": hot.threads,
        "registers": usage.registers, "stack": usage.stack, "shared": shared, "instructions": len(code),
        "local": count("LDL|STL", code), "local_in_loop": count("LDL|STL", loop),
        "blocks": blocks_at_once(arch, hot.threads, usage.registers, shared), "loop": len(loop),
        **{name: count(pattern, loop) for name, pattern in COUNTED.items()},
    }  # fmt: skip
    if hot.per is not None and (times := count(hot.per, loop)):
        record |= {"unit": hot.unit, "loop_per_unit": round(len(loop) / times, 1)}
    return record


# --- the command ----------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks sass", description=__doc__)
    parser.add_argument("--arch", type=int, nargs="+", default=ARCHITECTURES, choices=sorted(_ROOM), metavar="ARCH")
    parser.add_argument("--only", default="", help="kernels whose name in the table has this text")
    parser.add_argument(
        "--cubins", type=Path, metavar="FOLDER", help="compiled already: FILE.sm_ARCH.cubin, of csrc/cuda/FILE.cu"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    tools = ("cuobjdump", "c++filt") if args.cubins else ("nvcc", "cuobjdump", "c++filt")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        parser.error(f"not on PATH: {', '.join(missing)}")
    wanted = [hot for hot in HOT if args.only in hot.label]
    found: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        for arch in args.arch:
            for source in dict.fromkeys(hot.source for hot in wanted):
                cubin = _cubin(args.cubins or Path(folder), source, arch, compile_it=args.cubins is None)
                if cubin is None:
                    continue
                of_file = [hot for hot in wanted if hot.source == source]
                found += _records(
                    of_file, arch, _output("cuobjdump", "-sass", cubin), _output("cuobjdump", "-res-usage", cubin)
                )
    for r in found:
        print(", ".join(f"{key} {value}" for key, value in r.items() if key not in ("case", "device")))
    if args.json:
        compiler = re.findall(r"release (\S+),", _output("nvcc" if args.cubins is None else "cuobjdump", "--version"))
        context = {
            "command": command_of("benchmarks", ["sass", *argv]), "date": datetime.date.today().isoformat(),
            "machine": {"gpu": f"compiled by nvcc {compiler[0]}" if compiler else "compiled"}, "versions": {},
        }  # fmt: skip
        write_results(args.json, context, found)
    return 0 if found else 1


def _cubin(folder: Path, source: str, arch: int, compile_it: bool) -> Path | None:
    cubin = folder / f"{Path(source).stem}.sm_{arch}.cubin"
    if compile_it:
        if not (CUDA / source).exists():
            print(f"skipped: there is no csrc/cuda/{source}", file=sys.stderr)
            return None
        flags = ["-std=c++17", "-O3", f"-arch=sm_{arch}", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
        subprocess.run(["nvcc", *flags, "-cubin", "-o", cubin, CUDA / source], check=True)
    elif not cubin.exists():
        print(f"skipped: there is no {cubin}", file=sys.stderr)
        return None
    return cubin


def _records(wanted: Sequence[Hot], arch: int, sass: str, usage: str) -> list[Record]:
    """Of the kernels in a file; which of them are not there is said."""
    code, used = functions(sass), usages(usage)
    names = _demangled([*code])
    found = []
    for hot in wanted:
        own = next((mangled for mangled, name in names.items() if re.search(hot.name, name)), None)
        if own is None or own not in used:
            print(f"skipped: {hot.source} has no {hot.name} for sm_{arch}", file=sys.stderr)
            continue
        found.append(record_of(hot, arch, code[own], used[own]))
    return found


def _demangled(names: Sequence[str]) -> Mapping[str, str]:
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.splitlines(), strict=True)) if names else {}


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
