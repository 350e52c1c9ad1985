"""Whether every link of a built site leads somewhere, and every reference of a docstring became one: ``python scripts/site/check_links.py build/site``."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and where its links, pictures, scripts and styles lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.roles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)

    def handle_data(self, data: str) -> None:
        self.roles += re.findall(r":(?:func|class|meth|mod|data|attr):", data)


def broken(site: Path) -> list[str]:
    """A line for each link within the site that leads nowhere, and for each page of the API whose docstrings stand as they were written."""
    pages = {file.resolve(): Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    found = []
    for file, page in pages.items():
        if page.roles and file.parent.name == "api":
            found.append(f"{file.name}: {page.roles[0]} stands in the text")
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or file.name == "404.html":
                continue
            place = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = place / "index.html" if place.is_dir() else place
            if not target.is_file():
                found.append(f"{file.name}: {link} leads to no file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{file.name}: {link} leads to no anchor")
    return found


def main(site: Path) -> int:
    pages = len(list(site.rglob("*.html")))
    lines = broken(site)
    print(*lines, f"{pages} pages, {len(lines)} broken", sep="\n")
    return 1 if lines or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
