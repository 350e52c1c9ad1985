"""The tutorials: notebooks that are run, their outputs kept in them, and shown as pages of the site.

``python scripts/site/notebooks.py`` runs all of docs/tutorials and writes what they printed into them; with names, those; with ``--check`` it runs them
and writes nothing. It takes nbclient and ipykernel (extra ``docs``). lecture.ipynb is made of docs/lecture.md, so that its words stand in one place.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TUTORIALS = DOCS / "tutorials"
LECTURE = DOCS / "lecture.md"

Notebook = dict[str, Any]

_BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_MARKER = re.compile(r"<!-- .*? -->", re.DOTALL)
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)\s]+)")
_OF_PANDAS = re.compile(
    r'<style.*?</style>\s*| border="1" class="dataframe"', re.DOTALL
)  # the site has tables of its own
_SECONDS_A_CELL = 300


def files() -> list[Path]:
    return sorted(TUTORIALS.glob("*.ipynb"))


def read(file: Path) -> Notebook:
    return json.loads(file.read_text(encoding="utf-8"))


def cell(kind: str, source: str) -> dict[str, Any]:
    code = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source.strip("\n").splitlines(keepends=True), **code}


def notebook(cells: list[dict[str, Any]]) -> Notebook:
    """One of these cells, with what differs between machines and runs left out: times, versions, random names."""
    for n, one in enumerate(cells):
        one["id"] = f"cell-{n}"
        one["metadata"] = {}
        for output in one.get("outputs", ()):
            output.pop("metadata", None) if output["output_type"] == "stream" else output.update(metadata={})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def of_the_lecture() -> Notebook:
    """docs/lecture.md as a notebook that has not been run: its blocks of Python are the cells of code."""
    parts = _BLOCK.split(_MARKER.sub("", LECTURE.read_text(encoding="utf-8")))
    cells = [cell("code" if n % 2 else "markdown", _deeper(part, n)) for n, part in enumerate(parts) if part.strip()]
    return notebook(cells)


def _deeper(part: str, n: int) -> str:
    """Some text of a page in docs as a notebook one folder below has it."""
    return part if n % 2 else _LINK.sub(r"\1../\2", part)


def source_of(name: str) -> Notebook:
    """The notebook that is to be run under a name."""
    return of_the_lecture() if name == LECTURE.stem else read(TUTORIALS / f"{name}.ipynb")


def run(made: Notebook) -> Notebook:
    """It with what its cells print and draw. RuntimeError: what failed, or wrote to the standard error."""
    import nbclient
    import nbformat

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of tiny steps wait for each other on a busy machine
    node = nbformat.reads(json.dumps(made), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            node, timeout=_SECONDS_A_CELL, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        try:
            client.execute()
        except (nbclient.exceptions.CellExecutionError, TimeoutError) as error:
            raise RuntimeError(str(error)) from None
    done = json.loads(nbformat.writes(node))
    for n, one in enumerate(done["cells"]):
        for output in one.get("outputs", ()):
            if output.get("name") == "stderr":
                raise RuntimeError(f"cell {n} wrote to the standard error: {''.join(output['text'])}")
        if "outputs" in one:
            one["outputs"] = _joined(one["outputs"])
    return notebook(done["cells"])


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With what a cell printed in one piece, however it came."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        if output["output_type"] == "stream" and joined and joined[-1]["output_type"] == "stream":
            joined[-1]["text"] = "".join([*joined[-1]["text"], *output["text"]]).splitlines(keepends=True)
        else:
            joined.append(output)
    return joined


def page_of(file: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and the pictures that it shows, by their names beside the page."""
    pictures: dict[str, bytes] = {}
    lines: list[str] = []
    for one in read(file)["cells"]:
        text = "".join(one["source"])
        if one["cell_type"] == "markdown":
            lines += [text, ""]
            continue
        lines += ["```python", text, "```", ""]
        for output in one["outputs"]:
            lines += [_shown(output, file.stem, pictures), ""]
    title, _, rest = "\n".join(lines).partition("\n")
    return f"{title}\n\n[This page as a notebook]({file.name})\n{rest}", pictures


def _shown(output: dict[str, Any], stem: str, pictures: dict[str, bytes]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}-{len(pictures)}.png"
        pictures[name] = base64.b64decode("".join(data["image/png"]))
        return f"![what the cell draws]({name})"
    if "text/html" in data:
        return _OF_PANDAS.sub("", "".join(data["text/html"])).strip()
    return f"```text\n{''.join(data.get('text/plain', output.get('text', ''))).rstrip()}\n```"


def write(file: Path, made: Notebook) -> None:
    file.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of notebooks, without .ipynb; default: all")
    parser.add_argument("--check", action="store_true", help="run them and write nothing")
    args = parser.parse_args()
    for name in args.names or sorted({file.stem for file in files()} | {LECTURE.stem}):
        try:
            made = run(source_of(name))
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        if not args.check:
            write(TUTORIALS / f"{name}.ipynb", made)
        print(f"{name}: {sum(one['cell_type'] == 'code' for one in made['cells'])} cells ran")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
