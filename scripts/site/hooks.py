"""MkDocs' hooks: pages of files outside docs, the pages of the API, and llms.txt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import site_pages
from mkdocs.structure.files import File, Files
from public_names import ROOMS, ROOT


def _menu(nav: list[Any], title: str = "") -> Iterator[tuple[str, str]]:
    """The pages of the menu in its order: (title, place)."""
    for entry in nav:
        if isinstance(entry, str):
            yield title, entry
            continue
        ((name, inside),) = entry.items()
        if isinstance(inside, str):
            yield name, inside
        else:
            yield from _menu(inside, name)


def on_files(files: Files, config: Any) -> Files:
    """Takes each document as the site needs it, and adds what is generated; nothing of it is written beside the sources."""
    pages: dict[str, str] = {}
    for source, place in site_pages.sources().items():
        text, pictures = site_pages.text_of(source)
        pages[place] = site_pages.site_text(source, text)
        for name, data in pictures.items():
            files.append(File.generated(config, name, content=data))
    menu = [(title, place, pages[place]) for title, place in _menu(config["nav"]) if place in pages]
    pages |= {"api/index.md": site_pages.api_index()}
    pages |= {f"api/{room.name}.md": site_pages.api_page(room) for room in ROOMS}
    for old in ("README.md", *pages):
        if files.get_file_from_path(old):
            files.remove(files.get_file_from_path(old))
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    files.append(File.generated(config, "llms.txt", content=site_pages.llms_text(menu)))
    for file in site_pages.linked_files():
        files.append(File.generated(config, file, abs_src_path=str(ROOT / file)))
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "scripts" / "site" / "site.css")))
    return files
