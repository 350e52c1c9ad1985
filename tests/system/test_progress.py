import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastgcn_rec
from fastgcn_rec import MF, PprRanks, fit, write_recommendations
from fastgcn_rec.data import download, synthetic_interactions
from fastgcn_rec.system import progress
from fastgcn_rec.system.progress import SECONDS, progress_bar, stage


@pytest.fixture
def clock(monkeypatch):
    """A time that a test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_there_is_a_line_from_time_to_time(clock, capsys):
    with progress_bar(1000, "user", "ranking", initial=100) as bar:
        for _ in range(36):
            clock[0] += SECONDS / 8
            bar.update(25)
        bar.write("between")
    out, err = capsys.readouterr()
    assert out == "between\n"
    lines = err.splitlines()
    assert len(lines) == 5  # after 10, 20, 30, 40 seconds, and at the end
    assert "\r" not in err
    assert lines[0].startswith("ranking: 30 %, 300 of 1000 users, 00:10 gone, 00:35 left, 20.00user/s")
    assert lines[-1].startswith("ranking: 100 %, 1000 of 1000 users")


def test_what_is_done_soon_says_nothing_without_a_terminal(clock, capsys):
    with progress_bar(3, "user") as bar:
        for _ in range(3):
            clock[0] += SECONDS / 4
            bar.update()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [None, 5_000_000])
def test_bytes_are_shown_in_short_with_and_without_a_known_end(total, clock, capsys):
    with progress_bar(total, "B", "file.zip") as bar:
        clock[0] += SECONDS
        bar.update(2_500_000)
    assert re.match(r"file\.zip: 2\.50MB, 00:10 gone, 250kB/s", capsys.readouterr().err)


def test_what_is_told_at_once_needs_no_time(clock, capsys):
    with progress_bar(2, "model") as bar:
        bar.describe("easy", now=True)
        bar.describe("hard")
    assert capsys.readouterr().err.splitlines() == ["easy: 0 %, 0 of 2 models, 00:00 gone, ? left, ?model/s"]


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bar(4, "user", "ranking") as bar:
        bar.update(4)
    assert "\rranking: 100%|" in terminal.getvalue()


def test_a_notebook_gets_its_own_bar_though_it_is_no_terminal(monkeypatch, capsys):
    import tqdm.auto
    import tqdm.std

    class Widget(tqdm.std.tqdm):
        __module__ = "tqdm.notebook"

    class Auto(Widget):
        pass

    made = []
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **options: None)
    monkeypatch.setattr(tqdm.auto, "tqdm", Auto)
    monkeypatch.setattr(Auto, "update", lambda self, n: made.append(n))
    with progress_bar(4, "user") as bar:
        bar.update(4)
    assert made == [4]


NOTEBOOK = """
import sys, types
class Shell: pass
shell = types.ModuleType("IPython")
shell.get_ipython = Shell
sys.modules |= {"IPython": shell, "ipykernel.zmqshell": types.ModuleType("zmqshell"), "ipywidgets": None}
from fastgcn_rec.system.progress import progress_bar
with progress_bar(2, "user", "ranking") as bar:
    bar.describe("ranking", now=True)
"""


def test_a_notebook_without_widgets_gets_lines_and_no_warning():
    done = subprocess.run([sys.executable, "-W", "always", "-c", NOTEBOOK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("ranking: 0 %, 0 of 2 users") for line in lines)


@pytest.mark.parametrize("shown", [False, True])
def test_nothing_is_shown_where_that_is_asked_for_or_there_is_no_stream(shown, monkeypatch, clock, capsys):
    if shown:
        monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(2, "user", shown=shown) as bar:
        clock[0] += 10 * SECONDS
        bar.describe("x", now=True)
        bar.update()
        bar.write("y")
    assert capsys.readouterr() == ("", "")


def test_all_that_takes_time_shows_itself_in_this_way(clock, capsys, monkeypatch, tmp_path):
    data = synthetic_interactions(60, 40, 500)
    model = MF(data, 8)

    def later(*args, **kwargs):  # every look at the clock is long after the one before
        clock[0] += 3 * SECONDS
        return clock[0]

    monkeypatch.setattr(progress.time, "monotonic", later)
    (tmp_path / "there").write_bytes(b"x" * 1000)
    monkeypatch.setattr(download, "open_url", lambda url, timeout: io.BytesIO(b"x" * 1000))
    expected = f"sha256:{download.checksum(tmp_path / 'there', 'sha256')}"
    for shows, work in {
        "of 3 steps": lambda: fit(model, data, epochs=1, batch_size=200, protocol="none"),
        "of 60 users": lambda: write_recommendations(model, tmp_path / "r.csv", k=3),
        "PPR ranks: 100 %": lambda: PprRanks.build(data.graph(), lo=1, hi=5),
        "here: 1.00kB": lambda: download.download("https://example.org/x", tmp_path / "here", expected),
    }.items():
        work()
        err = capsys.readouterr().err
        assert shows in err
        assert "\r" not in err


def test_what_runs_in_a_quiet_training_is_quiet_too(clock, capsys, monkeypatch):
    def later():
        clock[0] += 3 * SECONDS
        return clock[0]

    monkeypatch.setattr(progress.time, "monotonic", later)
    how = {"epochs": 1, "batch_size": 200, "protocol": "none", "negatives": "ppr(1, lo=1, hi=5)"}
    for quiet in (True, False):
        data = synthetic_interactions(60, 40, 500)  # the graph keeps the ranks
        fit(MF(data, 8), data, **how, progress=not quiet)
        assert ("PPR ranks" in (err := capsys.readouterr().err)) is not quiet
        assert bool(err) is not quiet


def test_one_module_shows_progress():
    package = Path(fastgcn_rec.__file__).parent
    assert [path.name for path in package.rglob("*.py") if "tqdm" in path.read_text()] == ["progress.py"]


def test_a_stage_is_named_and_timed(clock, capsys):
    with stage("sorting"):
        clock[0] += 2.34
    assert capsys.readouterr().out == "== sorting\n== 2.3 s\n\n"
