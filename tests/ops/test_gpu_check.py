"""scripts/gpu_check.sh within its deadline, whatever its stages do: with stand-ins for Python, compilers and tools of CUDA, no GPU needed."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.sh"
STAGES = ["probe", "build", "check", "smoke", "time", "bench", "train", "test", "ncu", "sanitize"]
TOOLS = [
    "bash",
    "cat",
    "cp",
    "cut",
    "date",
    "dirname",
    "env",
    "grep",
    "head",
    "ldd",
    "ls",
    "mkdir",
    "mktemp",
    "nproc",
    "realpath",
    "rm",
    "sed",
    "awk",
    "setsid",
    "sleep",
    "sort",
    "stat",
    "stdbuf",
    "tail",
    "tee",
    "timeout",
    "tr",
    "uname",
    "basename",
]

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the scripts are the checkout's")


class Machine:
    """A copy of the script in a tree of its own, and the programs that it finds; all that is no stand-in is a tool of the shell."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.bin, self.out = folder / "tree", folder / "bin", folder / "out"
        for path in (self.bin, *(self.tree / name for name in ("scripts", "fastgcn_rec", ".gpu/gowalla", "tests/ops"))):
            path.mkdir(parents=True)
        shutil.copy(SCRIPT, self.tree / "scripts")
        (self.tree / ".gpu/gowalla/train.txt").write_text("0 1 2\n")
        for number in range(8):
            (self.tree / f"tests/ops/test_{number}.py").write_text("def test_x(device): ...\n")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        for name in ("nvidia-smi", "nvcc", "g++", "cmake", "ninja", "python3", "compute-sanitizer", "ncu", "cuobjdump"):
            self.put(name, f'echo "{name} 1.0 $*"')
        self.put("ncu", 'echo "ncu 1.0 $*"; [ "$1" = --version ] || echo "==PROF== Profiling \\"kernel\\""')
        self.put("gpu_main", 'echo "gpu_main $*"', self.tree / ".gpu")
        (self.tree / ".gpu/_C.cpython-312-x86_64-linux-gnu.so").write_text("beforehand")

    def put(self, name: str, body: str, folder: Path | None = None) -> None:
        file = (folder or self.bin) / name
        file.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        file.chmod(0o755)

    def run(self, *stages: str, deadline: float = 60, stdout=subprocess.PIPE) -> subprocess.CompletedProcess[str]:
        keep = {k: v for k, v in os.environ.items() if k in ("HOME", "TMPDIR", "LANG")}
        return subprocess.run(
            ["bash", self.tree / "scripts/gpu_check.sh", *stages],
            env={**keep, "PATH": str(self.bin), "OUT": str(self.out), "DEADLINE": str(deadline)},
            stdout=stdout, stderr=subprocess.STDOUT, text=True, check=False, timeout=50,
        )  # fmt: skip

    def log(self) -> str:
        return (self.out / "gpu_check.log").read_text()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def results(text: str) -> dict[str, str]:
    """Stage -> result and first error, of the table that comes last."""
    table = text[text.rindex("first error") :].splitlines()[1:-1]
    return {line.split()[0]: re.sub(r" +", " ", line[20:]).strip() for line in table}


def test_all_stages_run_in_order_and_are_in_the_table_and_in_the_log(machine):
    done = machine.run()
    assert done.returncode == 0, done.stdout
    assert list(results(done.stdout)) == STAGES
    assert set(results(done.stdout).values()) <= {"ok", "ok missing: nothing"}
    assert re.findall(r"^== (\w+) \(", done.stdout, re.M) == STAGES
    assert machine.log() == done.stdout
    assert "failed: none" in done.stdout.splitlines()[-1]
    for called in (
        "gpu_main check --verbose\n", f"gpu_main time --data {machine.tree}/.gpu/gowalla/train.txt --json {machine.out}/time.json --seconds 5",
        "-m benchmarks propagate step topk loss adam call ngcf --quick --device cuda --data gowalla", "-m benchmarks train --device cuda",
        "-k cuda tests/experiments/test_device.py", "ncu 1.0 --clock-control none",
    ):  # fmt: skip
        assert called in done.stdout
    tools = re.findall(
        r"^(\w+)(.*): compute-sanitizer 1.0 --tool (\w+) .*/gpu_main check --small(.*)$", done.stdout, re.M
    )
    assert {tool for tool, *_ in tools} == {"initcheck", "memcheck", "racecheck", "synccheck"}
    for name, part, tool, options in tools:
        assert (name, options) == (tool, f" --only{part}" if part else " --unpoisoned" if tool == "initcheck" else "")
    assert re.findall(r"--tool (\w+) .* --unpoisoned", done.stdout) == [
        "initcheck"
    ]  # which is to see what was never written
    tested = re.findall(r"tests/ops/test_\d\.py", done.stdout)
    assert sorted(tested) == [f"tests/ops/test_{n}.py" for n in range(8)]
    assert len(list(machine.out.iterdir())) <= 7


def test_what_is_there_is_named_and_what_is_missing(machine):
    for tool in ("ncu", "compute-sanitizer", "ninja"):
        (machine.bin / tool).unlink()
    done = machine.run("probe", "ncu", "sanitize")
    assert done.returncode == 0
    found = results(done.stdout)
    assert found["probe"] == "ok missing: ninja compute-sanitizer ncu"
    assert found["ncu"] == "skipped skipped: no ncu on PATH"
    assert found["sanitize"].startswith("skipped")
    assert f"nvcc: {machine.bin}/nvcc, nvcc 1.0" in done.stdout
    (machine.bin / "nvidia-smi").unlink()
    assert machine.run("probe").returncode == 1


def test_a_stage_that_fails_is_in_the_table_and_the_others_run(machine):
    machine.put("python3", '[[ "$*" == *test_3* ]] && { echo "E   RuntimeError: no"; exit 3; }; echo "$@"')
    machine.put("gpu_main", '[ $1 = check ] && { echo "FAILED hop"; exit 5; }; echo "$@"', machine.tree / ".gpu")
    done = machine.run("check", "test", "bench")
    assert done.returncode == 1
    found = results(done.stdout)
    assert re.fullmatch(r"failed \(3\) [0-3]: E RuntimeError: no", found.pop("test"))
    assert found == {"check": "failed (5) FAILED hop", "bench": "ok"}
    assert done.stdout.endswith("failed: check test\n")


HANGS = {
    "sleeps": "sleep 300",
    "ignores what is polite": "trap '' TERM INT HUP; while :; do sleep 1; done",
    "leaves children": "sleep 301 & (trap '' TERM; sleep 302) & setsid --fork sleep 0.1; wait",
    "left children": "sleep 303 > /dev/null & sleep 304 & exit 0",
}


def alive(marker: Path) -> list[str]:
    """Processes whose environment names this place."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(marker).encode() in file.read_bytes():
                found.append((file.parent / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", HANGS)
def test_the_deadline_holds_and_nothing_is_left(machine, how):
    machine.put("gpu_main", f'echo "began $1"; [ $1 = check ] || exit 0; {HANGS[how]}', machine.tree / ".gpu")
    start = time.monotonic()
    done = machine.run("check", "time", "bench", deadline=3)
    assert time.monotonic() - start < 9
    found = results(done.stdout)
    if how == "left children":
        assert found == {"check": "ok", "time": "ok", "bench": "ok"}
    else:
        assert found == {"check": "cut short", "time": "not run: no time left", "bench": "not run: no time left"}
        assert done.returncode == 1
    assert "began check" in machine.log()
    assert alive(machine.out) == []


def test_the_log_is_there_when_the_script_is_killed(machine):
    machine.put("gpu_main", 'echo "the first line"; sleep 30', machine.tree / ".gpu")
    env = {"PATH": str(machine.bin), "OUT": str(machine.out)}
    with subprocess.Popen(["bash", machine.tree / "scripts/gpu_check.sh", "check"], env=env) as program:
        limit = time.monotonic() + 20
        while time.monotonic() < limit and not (machine.out / "gpu_check.log").exists():
            time.sleep(0.05)
        while time.monotonic() < limit and "the first line" not in machine.log():
            time.sleep(0.05)
        program.terminate()
        assert program.wait(20) == 143
    assert "the first line" in machine.log()
    assert alive(machine.out) == []


def test_a_kernel_in_which_nothing_was_counted_fails_the_stage(machine):
    machine.put(
        "ncu", '[[ "$*" == *bfloat16* ]] && { echo "==ERROR== no counters"; exit 1; }; echo "==PROF== Profiling"'
    )
    done = machine.run("ncu")
    assert results(done.stdout) == {"ncu": "failed (1) ==ERROR== no counters"}
    assert re.findall("error: nothing was counted in (.*)", done.stdout) == ["hop bfloat16"]


def test_tests_are_interrupted_in_time_to_say_what_failed(machine):
    machine.put(
        "python3",
        '[[ "$*" == *pytest* ]] || exit 0; trap "echo E  here; exit 2" INT; echo "began"; for n in {1..100}; do sleep 0.1; done',
    )
    done = machine.run("test", deadline=6)
    assert results(done.stdout)["test"].startswith("failed (124) ")
    assert done.stdout.count("E here") == 4
    assert "group 3 was cut short" in done.stdout


LOADS = 'echo "$*"; [[ "$*" == *examine* ]] && grep -q {} fastgcn_rec/_C*.so || [[ "$*" != *examine* ]]'
BUILDS = 'echo "cmake $*"; if [ $1 = --install ]; then echo built > fastgcn_rec/_C.so; fi'


def test_what_was_built_beforehand_is_used_where_it_loads(machine):
    machine.put("python3", LOADS.format("beforehand"))
    machine.put("cmake", BUILDS)
    done = machine.run("build")
    assert results(done.stdout) == {"build": "ok"}
    assert "cmake" not in done.stdout
    assert (machine.tree / "fastgcn_rec/_C.cpython-312-x86_64-linux-gnu.so").read_text() == "beforehand"


def test_what_does_not_load_is_built_beside_the_check_and_before_all_else(machine):
    machine.put("python3", LOADS.format("built"))
    machine.put("cmake", BUILDS + '; if [ $1 = --build ]; then sleep 2; echo "built at last"; fi')
    done = machine.run("build", "check", "bench")
    assert set(results(done.stdout).values()) == {"ok"}
    assert "--target _C\n" in done.stdout
    assert [file.name for file in (machine.tree / "fastgcn_rec").iterdir()] == ["_C.so"]
    order = [
        done.stdout.index(text)
        for text in ("== build (", "== check (", "gpu_main check", "built at last", "== bench (")
    ]
    assert order == sorted(order)
    (machine.tree / ".gpu/gpu_main").unlink()
    (machine.tree / "fastgcn_rec/_C.so").unlink()
    done = machine.run("build", "check", "bench")
    assert "--target _C gpu_main\n" in done.stdout
    assert done.stdout.index("built at last") < done.stdout.index("== check (")


def test_nothing_runs_on_a_module_that_was_not_built(machine):
    machine.put("python3", LOADS.format("nothing"))
    machine.put("cmake", BUILDS.replace("echo built", "false"))
    done = machine.run("build", "check", "smoke", "bench", "time")
    assert done.returncode == 1
    found = results(done.stdout)
    assert found.pop("build").startswith("failed")
    assert found == {"check": "ok", "smoke": "not run: no module", "bench": "not run: no module", "time": "ok"}


@pytest.mark.parametrize(
    ("sanitizer", "code"),
    [
        ('[[ "$*" == *memcheck* ]] && exit 1 || exit 0', 1),
        ('[[ "$*" == *racecheck* ]] && exit 7 || exit 0', 7),
        ("exit 124", 0),  # what timeout says
        ('echo "========= Invalid __global__ read of size 4"; exit 124', 9),
    ],
)
def test_what_the_sanitizer_finds_fails_the_stage(machine, sanitizer, code):
    machine.put("compute-sanitizer", sanitizer)
    done = machine.run("sanitize")
    assert done.returncode == (code != 0)
    assert results(done.stdout)["sanitize"].startswith(f"failed ({code})" if code else "ok")
    assert ("cut short: memcheck" in done.stdout) == ("exit 124" in sanitizer)


def test_an_unknown_stage_is_an_error(machine):
    done = machine.run("tests")
    assert done.returncode == 2
    assert "no stage 'tests'; there are probe build" in done.stdout
