"""The picture of the house, docs/architecture.svg: ``python scripts/site/architecture.py``.

Rooms and floors are those of pyproject.toml's contract, what a room is for is what docs/design.md says in its table.
"""

from __future__ import annotations

import re
import sys
from html import escape
from typing import NamedTuple

from public_names import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PICTURE = ROOT / "docs" / "architecture.svg"
WIDTH, EDGE, GAP = 736, 20, 6
TEXT, NAME, NOTE = 15, 16, 13  # sizes of letters
WIDEST = 0.6  # of a letter's size: what an average letter is wide in the widest of the fonts that a reader may have
LINE = 19
BESIDE = 120  # from a name to the text beside it
COLOURS = ("#fde6c4", "#d9ecd0", "#cfe3f5")  # of the highest floor, of one in the middle, of the lowest

# The way of the data: what it is at a place, and the room that makes it.
WAY = (
    ("files", "data"),
    ("Interactions", "data"),
    ("Dataset", "data"),
    ("Graph", "core"),
    ("fit", "training"),
    ("model", "models"),
    ("recommend evaluate", "ranking"),
)
DOOR = ("_C", "one pybind11 module, which knows nothing of torch")
# The folders of csrc, row by row.
CELLAR: tuple[tuple[tuple[str, str], ...], ...] = (
    (("include/fgr", "the contracts: a header an op"),),
    (
        ("cpu", "kernels on threads: the same bits for any number of them"),
        ("cuda", "kernels for NVIDIA GPUs"),
    ),
    (
        ("cpu/isa", "inner loops by level: baseline, AVX2, AVX-512, or NEON"),
        ("emu", "runs the CUDA kernels on a CPU, for tests"),
    ),
    (("common", "what both share: random numbers, sums, ties"), ("tests", "in C++; gpu_main checks and times a GPU")),
)


class Floor(NamedTuple):
    """A floor of the contract: its number in docs/design.md, and its rooms."""

    number: int
    rooms: list[str]


def floors() -> list[Floor]:
    """From the top, without the roof."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [Floor(len(layers) - 1 - n, layer.split(" | ")) for n, layer in enumerate(layers) if layer != "__main__"]


def purposes() -> dict[str, str]:
    """What each room is for: a cell of the design's table, one clause a room where it has several."""
    table = re.findall(
        r"^\| \d+ \| (.*?) \| (.*?) \|", (ROOT / "docs" / "design.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    found: dict[str, str] = {}
    for rooms, text in table:
        found |= zip(re.findall(r"`(\w+)`", rooms), text.replace("`", "").split("; "), strict=False)
    return found


def width_of(text: str, size: int) -> float:
    return WIDEST * size * len(text)


def wrapped(text: str, width: float, size: int) -> list[str]:
    """The text in as few lines of at most this width as it takes, evened out."""
    words, limit = text.split(), int(width / (WIDEST * size))
    lines = _filled(words, limit)
    while (narrower := _filled(words, limit - 1)) and len(narrower) == len(lines) and limit > 1:
        lines, limit = narrower, limit - 1
    return lines


def _filled(words: list[str], limit: int) -> list[str]:
    """Lines of at most ``limit`` letters; none where a word is longer."""
    lines = [""]
    for word in words:
        if len(word) > limit:
            return []
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if len(longer) <= limit else [*lines, word]
    return lines


def colour(place: float) -> str:
    """From the top (0) to the ground (1)."""
    at = min(int(place * 2), 1)
    share = place * 2 - at
    pairs = zip(*(bytes.fromhex(COLOURS[n][1:]) for n in (at, at + 1)), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


class Drawing:
    """Lines of SVG, from the top downwards: ``y`` is where the next thing goes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.y = EDGE

    def text(self, x: float, y: float, text: str, kind: str) -> None:
        self.lines.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>')

    def heading(self, text: str) -> None:
        self.text(EDGE, self.y + TEXT, text, "head")
        self.y += TEXT + 14

    def arrow(self, x: float, y: float, dx: float, dy: float) -> None:
        self.lines.append(f'<path class="arrow" marker-end="url(#tip)" d="M{x:g} {y:g}l{dx:g} {dy:g}"/>')

    def box(self, x: float, width: float, height: float, fill: str, name: str, lines: list[str], beside: float) -> None:
        """A box with its name and lines: beside the name, that far from it, or below it where this is 0."""
        y = self.y
        self.lines.append(f'<g class="box" id="{name}">')
        self.lines.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}"/>')
        rows = max(len(lines), 1) if beside else len(lines) + 1
        first = y + ((height - rows * LINE) / 2 if beside else 8) + 14
        self.text(x + 12, first + (LINE * (len(lines) - 1) / 2 if beside and lines else 0), name, "name")
        for n, line in enumerate(lines):
            self.text(x + 12 + beside, first + LINE * (n if beside else n + 1), line, "is")
        self.lines.append("</g>")

    def row(self, x: float, boxes: list[tuple[str, str]], fill: str, beside: float) -> None:
        """Boxes side by side, as high as the fullest needs: one has its text beside its name, several below it."""
        width = (WIDTH - EDGE - x - GAP * (len(boxes) - 1)) / len(boxes)
        beside = beside if len(boxes) == 1 else 0
        texts = [wrapped(text, width - 24 - beside, TEXT) for _, text in boxes]
        height = LINE * max(len(lines) + (not beside) for lines in texts) + 16
        for n, ((name, _), lines) in enumerate(zip(boxes, texts, strict=True)):
            self.box(x + n * (width + GAP), width, height, fill, name, lines, beside)
        self.y += int(height) + GAP


def _way(drawing: Drawing, fills: dict[str, str]) -> None:
    drawing.heading("The way of the data, and the room of each step")
    widths = [max(width_of(word, TEXT) for word in words.split()) + 12 for words, _ in WAY]
    arrow = (WIDTH - 2 * EDGE - sum(widths)) / (len(WAY) - 1)
    x, y, height = float(EDGE), drawing.y, 46
    for n, ((words, room), width) in enumerate(zip(WAY, widths, strict=True)):
        if n:
            drawing.arrow(x - arrow + 2, y + height / 2, arrow - 6, 0)
        drawing.lines.append('<g class="box step">')
        drawing.lines.append(
            f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{height}" rx="6" fill="{fills[room]}"/>'
        )
        lines = words.split()
        for k, line in enumerate(lines):
            drawing.text(x + width / 2, y + height / 2 + 5 + LINE * (k - (len(lines) - 1) / 2), line, "is middle")
        drawing.lines.append("</g>")
        drawing.text(x + width / 2, y + height + 17, room, "note middle")
        x += width + arrow
    drawing.y += height + 40


def _roof(drawing: Drawing) -> None:
    y, height, middle = drawing.y, 78, WIDTH / 2
    drawing.lines.append(f'<path class="roof" d="M{EDGE} {y + height}L{middle:g} {y}L{WIDTH - EDGE} {y + height}z"/>')
    drawing.text(middle, y + 46, "fastgcn_rec", "name middle")
    drawing.text(middle, y + 67, "__main__: python -m fastgcn_rec", "is middle")
    drawing.y += height + GAP


def _house(drawing: Drawing, fills: dict[str, str]) -> None:
    drawing.heading("The house: a room uses the floors below it, and nothing else")
    _roof(drawing)
    text = purposes()
    for floor in floors():
        y = drawing.y
        drawing.row(EDGE + 26, [(room, text[room]) for room in floor.rooms], fills[floor.rooms[0]], BESIDE)
        drawing.text(EDGE + 9, (y + drawing.y - GAP) / 2 + 5, str(floor.number), "note middle")


def _cellar(drawing: Drawing) -> None:
    drawing.arrow(EDGE + 60, drawing.y - GAP + 1, 0, 25)
    drawing.text(EDGE + 76, drawing.y + 16, "core/native.py, the one door to the kernels", "note")
    drawing.y += 30
    drawing.row(EDGE + 26, [DOOR], "#e4dccf", BESIDE)
    drawing.y += 12
    drawing.heading("The cellar: csrc, in C++ and CUDA")
    for row in CELLAR:
        drawing.row(EDGE + 26, list(row), "#efe9e0", BESIDE)


STYLE = """<style>
text { font: 15px Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; fill: #1f2933 }
.name { font: bold 16px Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace }
.head { font-weight: bold; fill: #52606d }
.note { font-size: 13px; fill: #52606d }
.middle { text-anchor: middle }
rect, .roof { stroke: #9aa5b1 }
.roof { fill: #e8b9a5 }
.arrow { stroke: #52606d; stroke-width: 2; fill: none }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5" orient="auto">
<path d="M0 0L8 4L0 8z" fill="#52606d"/></marker></defs>"""


def picture() -> str:
    """The picture as SVG; the same text of the same sources."""
    storeys = floors()
    fills = {room: colour(n / (len(storeys) - 1)) for n, floor in enumerate(storeys) for room in floor.rooms}
    drawing = Drawing()
    _way(drawing, fills)
    _house(drawing, fills)
    _cellar(drawing)
    height = drawing.y + EDGE - GAP
    said = "The floors and rooms of fastgcn_rec, the kernels below them, and the way of the data"
    size = f'viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{said}">'
    paper = f'<path fill="#fdfcfa" stroke="#cbd2d9" d="M.5 .5h{WIDTH - 1}v{height - 1}h-{WIDTH - 1}z"/>'
    return "\n".join([head, STYLE, paper, *drawing.lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"written: {PICTURE.relative_to(ROOT)}")
