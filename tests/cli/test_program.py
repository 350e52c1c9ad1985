"""The command line whatever it is given: what it imports, exit codes, messages."""

import functools
import importlib
import importlib.metadata
import itertools
import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import code_of, raising

import fastgcn_rec_main
from fastgcn_rec import cli
from fastgcn_rec.cli.program import COMMANDS, parser


def test_a_command_is_a_file_and_a_line_of_the_list():
    shared = {
        "__init__",
        "__main__",
        "program",
        "arguments",
        "numpydoc",
        "data_options",
        "recipe_options",
        "saved_model",
        "ranks",
        "shells",
    }
    assert {file.stem for file in Path(cli.__file__).parent.glob("*.py")} - shared == set(COMMANDS)
    for name in COMMANDS:
        command = importlib.import_module(f"fastgcn_rec.cli.{name}")
        assert callable(command.arguments)
        assert callable(command.run)


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["--help"], ("torch", "numpy", "scipy", "fastgcn_rec.data", "fastgcn_rec.experiments")),
        (["--version"], ("torch", "numpy", "scipy", "fastgcn_rec._C", "fastgcn_rec.data")),
        (["datasets"], ("fastgcn_rec.models", "fastgcn_rec.training", "fastgcn_rec.experiments")),
    ],
)
def test_a_command_imports_what_it_needs(words, without):
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from fastgcn_rec.cli import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    *said, modules = done.stdout.splitlines()
    assert len(said) >= (1 if words == ["--version"] else 12)
    assert set(modules.split()).isdisjoint(without)


def test_help_names_every_command_and_what_it_does(capsys):
    assert code_of("--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    for name, about in COMMANDS.items():
        assert f" {name} {about}" in said
        assert code_of(name, "--help") == 0
        assert about in " ".join(capsys.readouterr().out.split())


def test_the_version_is_that_of_what_is_installed(capsys):
    assert code_of("--version") == 0
    assert capsys.readouterr().out == f"fastgcn-rec {importlib.metadata.version('fastgcn_rec')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_that_can_be_parsed(name, capsys):
    assert code_of(name, "--help") == 0
    _, _, text = capsys.readouterr().out.partition("\nexamples:\n")
    assert text
    for line in text.rstrip().split("\n"):
        program, *words = shlex.split(line.partition(" > ")[0], comments=True)
        assert (program, words[0]) == ("fastgcn-rec", name)
        assert parser(words).parse_args(words).run


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_fits_a_terminal(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    assert code_of(*command, "--help") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


COMMAND = "import sys; from fastgcn_rec_main import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("ImportError('no torch')", 1, "fastgcn-rec: no torch\n"),
        ("ModuleNotFoundError('no numpy')", 1, "fastgcn-rec: no numpy\n"),
        ("KeyboardInterrupt()", 130, "\nfastgcn-rec: interrupted by SIGINT\n"),
    ],
)
def test_what_ends_the_import_is_one_line_and_a_code(raised, code, said, tmp_path):
    (tmp_path / "torch.py").write_text(f"raise {raised}\n")
    beside = [str(tmp_path), str(Path(fastgcn_rec_main.__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, beside))}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "doctor"], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_the_command_is_that_of_the_package_and_an_unknown_isa_is_named(monkeypatch):
    here = str(Path(fastgcn_rec_main.__file__).parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))}
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False)
    done = run([sys.executable, "-c", COMMAND, "doctor"], env={**env, "FASTGCN_REC_ISA": "foo"})
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("fastgcn-rec: FASTGCN_REC_ISA=foo: ")
    done = run([sys.executable, "-m", "fastgcn_rec", "estimate", "5,5,5"], env=env)
    assert (done.returncode, done.stdout[:8]) == (0, "5 users,"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "ml-100k", "--out", "FILE"], "is a file, so that nothing can be written below it"),
        (["train", "ml-100k", "--out", "FILE/below"], "is a file, so that nothing can be written below it"),
        (["train", "ml-100k", "--dim", "0"], "must be a whole number >= 1"),
        (["train", "ml-100k", "--layers", "-1"], "must be a whole number >= 0"),
        (["train", "ml-100k", "--lr", "x"], "invalid float value"),
        (["train", "ml-100k", "--recipe", "mf", "--layers", "2"], "--layers 2 does not apply to MF"),
        (["train", "ml-100k", "--recipe", "filter", "--tensorboard"], "--tensorboard does not apply"),
        (["compare", "ml-100k", "--out", "FILE"], "is a file, so that nothing can be written below it"),
        (["compare", "ml-100k", "--models", "bert"], "a file of lists, got bert"),
        (["compare", "ml-100k", "--models", "mf", "mf"], "models must have different names, got mf twice"),
        (["compare", "ml-100k", "--epochs", "-1"], "must be a whole number >= 0"),
        (["demo", "--out", "FILE"], "is a file, so that nothing can be written below it"),
        (["recommend", "MODEL", "1", "--out", "FOLDER"], "is a folder; name a file in it"),
        (["recommend", "MODEL", "1", "--out", "FILE/x.csv"], "is a file, so that nothing can be written below it"),
        (["recommend", "MODEL", "1", "-k", "1e3"], "must be a whole number >= 1"),
        (["recommend", "MODEL", "1", "-k", "9" * 30], "must be a whole number >= 1 and < 2^31"),
        (["similar", "MODEL", "1", "-k", "0"], "must be a whole number >= 1"),
        (["export", "MODEL", "--out", "FOLDER"], "is a folder; name a file in it"),
        (["export", "MODEL", "--out", "FILE/x.npz"], "is a file, so that nothing can be written below it"),
        (["estimate", "1e400,1,1"], "USERS,ITEMS,PAIRS, got '1e400,1,1'"),
        (["estimate", "nan,1,1"], "USERS,ITEMS,PAIRS, got 'nan,1,1'"),
        (["estimate", "--", "-1,5,5"], "must lie in"),
        (["estimate", "5,5,26"], "must lie in"),
        (["estimate", "ml-100k", "--recipe", "mf", "--layers", "2"], "--layers 2 does not apply to MF"),
        (["estimate", "1e9,1e9,1e18", "--dim", "2147483647"], "dim = 2147483647 with 2000000000 nodes"),
        (["estimate", "2e9,2e9,1"], "n_users + n_items must be <= 2147483647, got 2000000000 + 2000000000"),
    ],
)
def test_values_are_judged_before_any_work(arguments, text, models, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    for name in (
        "data.spec.DataSpec.resolved",
        "cli.compare.compare",
        "cli.demo.demo",
        "cli.recommend.load_model",
        "cli.similar.load_model",
        "cli.export.load_model",
    ):
        monkeypatch.setattr(f"fastgcn_rec.{name}", raising(AssertionError("work")))
    places = {"FILE": tmp_path / "file", "FOLDER": tmp_path, "MODEL": models / "integers.npz"}
    words = [str(places.get(w, w)).replace("FILE", str(tmp_path / "file")) for w in arguments]
    assert code_of(*words) == 2
    said = capsys.readouterr().err
    assert text in said
    assert "AssertionError" not in said


VALUES = ["1", "2", "0", "-1", "-", "--", "", " ", "x", "nan", "inf", "0.5", "1e400", "9" * 19, "9" * 30, "all", "temporal", "none", "mf", "popularity",
          "bpr", "softmax", "users", "cuda", "\u2028", "\udcff", "\u0661", "a\0b", "ml-100k", "nowhere", "1,2,3", "file", "x.csv", "plays.csv", "mine.toml", "out", ".", "*.csv",
          "listener", "song", "tab", ";", "title", "test", "csv", "latin-1", "ms", "%Y"]  # fmt: skip
OPTIONS = ["-k", "--k", "-k0", "--k=2", "--out", "--quiet", "--users", "--split", "--recipe", "--model", "--models", "--epochs", "--dim", "--layers",
           "--lr", "--loss", "--seed", "--reg", "--warmup", "--batch-size", "--negatives", "--refit", "--valid-fraction", "--metric", "--side",
           "--device", "--user", "--item", "--time", "--rating", "--weight", "--sep", "--no-header", "--encoding", "--decimal", "--time-unit",
           "--time-format", "--format", "--items", "--item-columns", "--users-file", "--test", "--valid", "--k-core", "--min-rating", "--seed-split",
           "--skip-bad-lines", "--only", "--without", "--show", "--part", "--json", "--overwrite"]  # fmt: skip
LINES = int(os.environ.get("FGR_FUZZ_LINES", "25"))


@pytest.mark.parametrize("command", [*(name for name in COMMANDS if name != "compare"), "bogus"])
def test_no_words_give_a_traceback(command, models, ml_100k, monkeypatch, capsys):
    """Seeded and bounded; most lines hold what the command needs."""
    monkeypatch.chdir(ml_100k)
    (ml_100k / "file").write_text("1\n2\n")
    (ml_100k / "plays.csv").write_text("listener,song,at\n" + "".join(f"{k % 7},{k % 5},{k}\n" for k in range(35)))
    (ml_100k / "mine.toml").write_text(
        '[data]\nsource = "plays.csv"\nuser = "listener"\nitem = "song"\n[train]\nepochs = 1\n'
    )
    monkeypatch.setattr("fastgcn_rec.cli.demo.demo", lambda out: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no pictures: they take longest
    rng = random.Random(command)
    model = str(models / "integers.npz")
    needs = {"train": ["ml-100k", "--epochs=1", "--out", "out", "--overwrite"], "evaluate": [model, "ml-100k"], "inspect": ["plays.csv"], "recommend": [model, "1"], "similar": [model, "1"],
             "export": [model, "--out", "x.npz"]}.get(command, [])  # fmt: skip
    for _ in range(LINES):
        pairs = [(rng.choice(OPTIONS), rng.choice(VALUES)) for _ in range(rng.randrange(3))]
        words = [*needs, *itertools.chain(*pairs), *rng.choices([*VALUES, model], k=rng.randrange(2))]
        if rng.random() < 0.3:
            rng.shuffle(words)
        code = code_of(command, *words)
        said = capsys.readouterr().err
        assert code in (0, 1, 2), (command, words)
        assert "unexpected" not in said, (command, words, said)
        assert "Traceback" not in said, (command, words, said)
