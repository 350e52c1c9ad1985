"""The code of the pages that promise to run."""

import re
import shlex
from pathlib import Path

import pytest

from fastgcn_rec.cli.program import parser

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documents are not beside the tests")


def run_blocks(path, change=lambda code: code):
    """Runs a page's Python from top to bottom, errors at their lines; returns the names that it leaves."""
    text = path.read_text(encoding="utf-8")
    names = {}
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + change(block[1]), path.name, "exec"), names)
    return names


def test_the_readme_runs_from_top_to_bottom(ml_100k, monkeypatch, capsys):
    monkeypatch.chdir(ml_100k)
    names = run_blocks(ROOT / "README.md", lambda code: code.replace("epochs=50", "epochs=1, progress=False"))
    assert names["ids"].shape == (2, 10)
    assert "recall@20" in capsys.readouterr().out


def test_the_commands_that_the_documents_show_can_be_parsed():
    pages = [(ROOT / "README.md"), *sorted(DOCS.glob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    commands = re.findall(r"^fastgcn-rec (.*)$", text, re.MULTILINE)
    commands += [c for c in re.findall(r"`fastgcn-rec (\w+ [^`]*)`", text) if "..." not in c]
    assert len(commands) >= 10
    for command in commands:
        words = shlex.split(command, comments=True)
        parser(words).parse_args(words)


def test_the_lecture_runs_from_top_to_bottom(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(DOCS / "lecture.md")
    assert names["found"]["recall@20"] > names["popularity"]
