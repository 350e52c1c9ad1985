"""CUDA kernels with a fault, compiled by the commands of the emulated build (FASTGCN_REC_EMULATED, `make check-emulated`)."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "csrc/cuda"
# A header is compiled with a file that includes it, and finds the changed one before the real one.
HOMES = {
    "pair_loss.cuh": "pair_loss.cu",
    "pair_split.cuh": "pair_loss.cu",
    "product.cuh": "softmax_loss.cu",
    "retrieve_halves.cuh": "retrieve.cu",
    "retrieve_cut.cuh": "retrieve.cu",
    "softmax.cuh": "softmax_loss.cu",
    "softmax_split.cuh": "softmax_loss.cu",
    "split_product.cuh": "softmax_loss.cu",
    "adam.cuh": "adam_step.cu",
    "hop.cuh": "propagate.cu",
    "panel_sums.cuh": "l2_loss.cu",
    "topk_digits.cuh": "topk.cu",
    "best.cuh": "topk.cu",
}


class Fault(NamedTuple):
    """``old`` is replaced by ``new`` where it first occurs after ``marker``."""

    file: str
    marker: str
    old: str
    new: str

    def is_possible(self) -> bool:
        text = (KERNELS / self.file).read_text()
        return self.marker in text and self.old in text[text.index(self.marker) :]

    def planted(self) -> str:
        text = (KERNELS / self.file).read_text()
        at = text.index(self.old, text.index(self.marker))
        return text[:at] + self.new + text[at + len(self.old) :]


class Mutant(NamedTuple):
    """An object file, and what links it."""

    object_file: Path
    compiler: str
    flags: list[str]
    build: Path

    def link(self, objects: list[str], to: Path, *flags: str) -> None:
        """A program or a module of these objects, in whose libraries the faulty kernels take the place of the others."""
        objects = [*objects, str(self.object_file), "libfgr_cuda.a", "libfgr_cpu.a"]
        command = [self.compiler, "-fopenmp", *self.flags, *flags, *objects, "-o", str(to)]
        subprocess.run(command, cwd=self.build, check=True)


def compile_mutant(build: Path, folder: Path, fault: Fault, home: str | None = None) -> Mutant:
    """home: the file that a header is compiled with."""
    source = KERNELS / fault.file
    mutant = folder / "cuda" / fault.file
    mutant.parent.mkdir()
    mutant.write_text(fault.planted())
    if source.suffix == ".cuh":
        source = source.with_name(home or HOMES[fault.file])
    commands = compile_commands(build)
    command = shlex.split(next(c["command"] for c in commands if c["file"] == str(source)))
    command = [command[0], f"-I{folder}", *command[1:]]
    command = [str(mutant) if part == str(source) and mutant.suffix == ".cu" else part for part in command]
    command[command.index("-o") + 1] = str(folder / "mutant.o")
    subprocess.run(command, cwd=build, check=True)
    compiler = next(part for part in command if not part.endswith("ccache"))
    flags = [part for part in command if part.startswith("-fsanitize=") or part == "--coverage"]
    return Mutant(folder / "mutant.o", compiler, flags, build)


def compile_commands(build: Path) -> list[dict[str, str]]:
    commands: list[dict[str, str]] = json.loads((build / "compile_commands.json").read_text())
    return commands


def objects_of(build: Path, folder: str) -> list[str]:
    """The object files made of the sources in a folder of the checkout (or of one file), relative to the build."""
    commands = [shlex.split(c["command"]) for c in compile_commands(build) if c["file"].startswith(str(ROOT / folder))]
    return [command[command.index("-o") + 1] for command in commands]
