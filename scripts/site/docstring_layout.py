"""The house's docstrings as Markdown.

They have the sections of NumPy's, with entries that are sentences more often than types (``alpha : None, a float, or K + 1 values``) and errors
one after the other in a paragraph. A parser of types would warn of most of them; here each section becomes a heading and a list of its entries.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator

Link = Callable[[str], "str | None"]

_UNDERLINED = re.compile(r"^([A-Z]\w+(?: \w+)?)\n-{3,}\n", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)$")
_CODE = re.compile(r":\w+:`(?P<role>[^`]+)`|``(?P<code>.+?)``|`(?P<plain>[^`]+)`", re.DOTALL)
_ERROR = re.compile(
    r"(?:^|(?<=[.;] ))(?P<kinds>(?:\w*(?:Error|Exception|Interrupt|Interrupted|Warning)(?:, | or )?)+) : "
)


def markdown_of(docstring: str, link: Link = lambda target: None) -> str:
    """A docstring in Markdown. ``link`` gives the anchor of what a role such as ``:func:`fit``` names, or None."""
    text = inspect.cleandoc(docstring)
    first, *rest = _UNDERLINED.split(text)
    parts = [_prose(first, link)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        body = body.strip("\n")
        entries = {"Parameters": _entries, "Attributes": _entries, "Returns": _returned, "Raises": _raised}
        parts.append(f"**{title}**\n\n{entries.get(title, _prose)(body, link)}")
    return "\n\n".join(part for part in parts if part.strip())


def _inline(text: str, link: Link) -> str:
    """A line of prose: code stays as it is, roles become links, all else is plain text to Markdown."""

    def code(match: re.Match[str]) -> str:
        shown = " ".join((match["role"] or match["code"] or match["plain"]).split())
        target = link(shown) if match["role"] else None
        return f"[`{shown}`][{target}]" if target else f"`{shown}`"

    out, at = [], 0
    for match in _CODE.finditer(text):
        out += [_plain(text[at : match.start()]), code(match)]
        at = match.end()
    return "".join([*out, _plain(text[at:])])


def _plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([*\[\]\\])|(?<!\w)(_)|(_)(?!\w)", lambda m: "\\" + m[0], text)


def _paragraphs(text: str) -> Iterator[list[str]]:
    lines: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            yield lines
            lines = []


def _prose(text: str, link: Link) -> str:
    """Paragraphs, lists, indented formulas and examples."""
    out: list[str] = []
    code: list[str] = []

    def close() -> None:
        if code:
            language = "pycon" if code[0].startswith(">>>") else "text"
            out.append("\n".join([f"```{language}", *code, "```"]))
            code.clear()

    for lines in _paragraphs(text):
        if lines[0].startswith((">>>", "    ")):
            if code and code[0].startswith(">>>") != lines[0].startswith(">>>"):
                close()
            shown = lines if lines[0].startswith(">>>") else [line[4:] for line in lines]
            code += ["", *shown] if code else shown
            continue
        close()
        prose: list[str] = []
        for line in lines:
            bullet = re.match(r"- ", line)
            if bullet and prose and not re.match(r"- |\s", prose[-1]):
                prose.append("")
            prose.append("    " + line.strip() if line.startswith(" ") else line)
        out.append(_inline("\n".join(prose), link))
    close()
    return "\n\n".join(out)


def _items(text: str) -> Iterator[tuple[str | None, str, list[str]]]:
    """Of a section the entries (names, what they are, the lines below) and the paragraphs between them (None, text, [])."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        entry, start = _ENTRY.match(lines[at]), at
        at += 1
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" ")):
            at += 1
        below = lines[start + 1 : at]
        if entry:
            yield entry[1], entry[2], below
            continue
        alone = re.fullmatch(r"\*{0,2}\w+(?:, \*{0,2}\w+)*", lines[start])
        if alone and any(line.strip() for line in below):
            yield lines[start], "", below
            continue
        while at < len(lines) and lines[at].strip() and not _ENTRY.match(lines[at]):
            at += 1
        yield None, "\n".join(lines[start:at]), []


def _entries(text: str, link: Link, nested: bool = False) -> str:
    out = []
    for names, what, below in _items(text):
        if names is None:
            out.append(_prose(what, link))
            continue
        body = inspect.cleandoc("\n" + "\n".join(below))
        goes_on = body[:1].islower() and what and not what.endswith((".", ":")) and (nested or len(what) > 90)
        if goes_on and not (nested and _ENTRY.match(body.partition("\n")[0])):
            what, body = f"{what} {' '.join(body.split())}", ""  # one sentence, which began beside the name
        shown = ", ".join(f"**`{name}`**" for name in names.split(", "))
        sense = (_entries if nested and _ENTRY.match(body.partition("\n")[0]) else _prose)(body, link)
        paragraphs = [f"{shown} : {_inline(what, link)}" if what else shown, *([sense] if sense else [])]
        out.append("- " + "\n\n".join(paragraphs).replace("\n", "\n    "))
    return "\n\n".join(out)


def _returned(text: str, link: Link) -> str:
    return _entries(text, link, nested=True)


def _raised(text: str, link: Link) -> str:
    """One item for each kind of error."""
    flat = " ".join(text.split())
    found = list(_ERROR.finditer(flat))
    if not found or found[0].start() > 0:
        return _prose(inspect.cleandoc(text), link)
    ends = [*(match.start() for match in found[1:]), len(flat)]
    items = []
    for match, end in zip(found, ends, strict=True):
        kinds = re.sub(r"\w+(?=[, ]|$)", lambda m: m[0] if m[0] == "or" else f"`{m[0]}`", match["kinds"])
        items.append(f"- {kinds}: {_inline(flat[match.end() : end].strip(), link)}")
    return "\n".join(items)
