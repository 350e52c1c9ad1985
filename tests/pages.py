"""What the tests of the documents share: the pages, their blocks of code, and the small files that these read."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"(?P<not_run><!-- not run: [^\n]* -->\n)?^```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)


def text_of(page):
    return page.read_text(encoding="utf-8")


def run_code(code, lines_before, name, names):
    """Runs some code of a page, with one epoch where it asks for 50 and errors at their lines."""
    exec(compile("\n" * lines_before + code.replace("epochs=50", "epochs=1"), name, "exec"), names)


def run_blocks(page, names=None):
    """Runs a page's Python from top to bottom; returns the names that it leaves."""
    text, names = text_of(page), {} if names is None else names
    for block in BLOCK.finditer(text):
        if not block["not_run"]:
            run_code(block["code"], text.count("\n", 0, block.start("code")), page.name, names)
    return names


def write_small_files(folder):
    """The files that pages read by name: plays.csv, plays.inter and a folder of train.txt and test.txt, of 30 users and 20 items. Users of the folder have edges of different numbers, so that their rows are not in the order of their ids."""
    rows = [(user, (user * 7 + place) % 20, place) for user in range(30) for place in range(10)]
    for name, header, mark in (
        ("plays.csv", "listener,song,when", ","),
        ("plays.inter", "user_id:token\titem_id:token\ttimestamp:float", "\t"),
    ):
        lines = [header, *(mark.join(map(str, row)) for row in rows)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "shop").mkdir()
    for part, places in (("train", range(8)), ("test", range(8, 10))):
        lines = [
            " ".join(map(str, [user, *((user * 7 + place) % 20 for place in places[: 2 + user % 7])]))
            for user in range(30)
        ]
        (folder / "shop" / f"{part}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
