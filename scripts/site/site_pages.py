"""The pages of the site as text: what the documents need to be Markdown of MkDocs, the pages of the API, and llms.txt."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import notebooks
import public_names
from docstring_layout import markdown_of
from public_names import ROOT, Room

DOCS = ROOT / "docs"
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
INDEX = {"docs/README.md": "pages.md"}  # of the documents; index.md is the site's first page

_FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
_MARKER = re.compile(r"(?<!`)<!-- (?:table|figure|end|not run)\b.*?-->")
_NAMED = re.compile(r"\[(?P<name>\w+\.md)\]\((?P<link>(?:[\w./-]+/)?(?P=name))(?=[)#])")
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")


def sources() -> dict[str, str]:
    """Of each page that has a file its place in the site, from the file's place in the repository."""
    docs = {f"docs/{file.name}": file.name for file in sorted(DOCS.glob("*.md")) if file.name != "README.md"}
    return {**ROOT_PAGES, **INDEX, **docs, **tutorials()}


def tutorials() -> dict[str, str]:
    """The notebooks that are pages; that of the lecture is the page of the lecture, to be run."""
    names = [file.stem for file in notebooks.files() if file.stem != notebooks.LECTURE.stem]
    return {f"docs/tutorials/{name}.ipynb": f"tutorials/{name}.md" for name in names}


def place_of(file: str) -> str:
    """Where the site has a file of the repository: a page, or a file as it is."""
    return sources().get(file, file.removeprefix("docs/"))


def text_of(source: str) -> tuple[str, dict[str, bytes]]:
    """A page as its source has it, in Markdown, and the pictures that it brings, by their places in the site."""
    if source not in tutorials():
        return (ROOT / source).read_text(encoding="utf-8"), {}
    text, pictures = notebooks.page_of(ROOT / source)
    return text, {f"tutorials/{name}": data for name, data in pictures.items()}


def linked_files() -> list[str]:
    """The files outside docs that the pages lead to and that are no pages, such as the results behind a table."""
    found = set()
    for source in sources():
        for _, link in _LINK.findall(_FENCE.sub("", text_of(source)[0])):
            file = _from(source, link)
            if file not in sources() and not file.startswith("docs/"):
                found.add(file)
    return sorted(found)


def _from(source: str, link: str) -> str:
    """The file of the repository that a link in ``source`` leads to."""
    parts: list[str] = []
    for part in (PurePosixPath(source).parent / link).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def site_text(source: str, text: str) -> str:
    """A file's Markdown as MkDocs takes it: links between places in the site, no markers, a blank line before each list.

    Where a link is called as its file is, it is called as its page is.
    """

    def titled(match: re.Match[str]) -> str:
        file = _from(source, match["link"])
        called = match["name"].removesuffix(".md") if source in INDEX else title_of((ROOT / file).read_text("utf-8"))
        return f"[{called}]({match['link']}"

    def prose(part: str) -> str:
        return _lists(_LINK.sub(moved, _NAMED.sub(titled, part)))

    def moved(match: re.Match[str]) -> str:
        file = _from(source, match[2])
        to = file.removeprefix("docs/") if file == source else place_of(file)  # a notebook's page leads to the notebook
        return match[1] + posixpath.relpath(to, posixpath.dirname(place_of(source)) or ".")

    return "".join(part if part.startswith("```") else prose(part) for part in _FENCE.split(text))


def _lists(text: str) -> str:
    out: list[str] = []
    for line in text.split("\n"):
        marked = _MARKER.sub("", line)
        if marked.startswith("|"):
            marked = re.sub(r"(?<=\d) / (?=\.\d)", "\u00a0/ ", marked.replace(" ± ", "\u00a0±\u00a0"))
        before = out[-1] if out else ""
        starts = (
            (marked.startswith("- ") and not before.startswith(("- ", " ")))
            or marked.startswith("|") != before.startswith("|")
            or marked.startswith("#")
        )
        if marked.strip() and before.strip() and starts:
            out.append("")
        if marked.strip() or not line.strip():
            out.append(marked)
    return "\n".join(out)


def api_page(room: Room) -> str:
    """The page of a room: what it is for, a table of its names, and mkdocstrings' directive for each."""
    names = public_names.names_of(room.name)
    by_module: dict[str, list[public_names.Name]] = {}
    for name in names:
        by_module.setdefault(name.path.rpartition(".")[0], []).append(name)
    lines = [f"# {room.title}", "", f"`fastgcn_rec.{room.name}`", ""]
    lines += [markdown_of(public_names.docstring_of(room.name)), ""]
    lines += ["| name | what it is |", "|---|---|"]
    lines += [f"| [`{one.name}`][{one.path}] | {_cell(one.summary)} |" for one in names]
    for module, own in by_module.items():
        if len(by_module) > 1:
            lines += ["", f"## {module.removeprefix('fastgcn_rec.')}", ""]
        for one in own:
            level = 3 if len(by_module) > 1 else 2
            lines += ["", f"::: {one.path}", "    options:", f"      heading_level: {level}", ""]
    return "\n".join([*lines, ""])


def _cell(line: str) -> str:
    return markdown_of(line).replace("|", "\\|")


def api_index() -> str:
    """The first page of the API."""
    homes = public_names.homes()
    lines = [
        "# API",
        "",
        "Some names stand in `fastgcn_rec` itself, such as `fastgcn_rec.fit`; all stand in their rooms, such as `fastgcn_rec.training.fit`.",
        "",
        "| room | names in `fastgcn_rec` | names in the room alone |",
        "|---|---|---|",
    ]
    for room in public_names.ROOMS:
        names = public_names.names_of(room.name)
        here = [f"[`{one.name}`][{one.path}]" for one in names if one.name in homes]
        there = [f"[`{one.name}`][{one.path}]" for one in names if one.name not in homes]
        shown = ", ".join(there) if len(there) < 30 else f"{len(there)} names"
        lines.append(f"| [{room.title}]({room.name}.md) | {', '.join(here)} | {shown} |")
    return "\n".join([*lines, ""])


def title_of(text: str) -> str:
    """The first heading of a page."""
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]


def llms_text(pages: Iterable[tuple[str, str, str]]) -> str:
    """llms.txt: the pages (title in the menu, place, text) with a line each, then the names of the API with the first sentences of their docstrings."""
    summary = re.search(r"^# [^\n]+\n\n(.+?)\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    lines = ["# fastgcn_rec", "", "> " + " ".join(summary.split()), "", "## Pages", ""]
    lines += [f"- [{title}]({place.removesuffix('.md')}.html): {title_of(text)}" for title, place, text in pages]
    for room in public_names.ROOMS:
        lines += ["", f"## API: {room.title} (api/{room.name}.html)", ""]
        lines += [f"- {one.path}: {one.summary}" for one in public_names.names_of(room.name)]
    return "\n".join([*lines, ""])
