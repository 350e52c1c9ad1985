"""Griffe's extension: docstrings in the house's form become Markdown, and what they refer to becomes links."""

from __future__ import annotations

import re
from typing import Any

import griffe
import public_names
from docstring_layout import markdown_of

_PAGE = re.compile(r"(?<![`\w/])docs/(\w+)\.md(?![`\w])")


class Layout(griffe.Extension):
    """Rewrites every docstring of the package once all of it is read."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        self._package = pkg
        self._shown = {
            self._final(name.path): name.path for names in public_names.all_names().values() for name in names
        }
        self._rewrite(pkg)

    def _rewrite(self, obj: griffe.Object) -> None:
        if obj.docstring:
            text = markdown_of(obj.docstring.value, lambda target: self._anchor(obj, target))
            obj.docstring.value = _PAGE.sub(r'<a href="../\1.html">docs/\1.md</a>', text)
        for member in obj.members.values():
            if not member.is_alias:
                self._rewrite(member)

    def _final(self, path: str) -> str:
        """Where what stands under a path is written."""
        try:
            return self._found(path).canonical_path
        except (KeyError, griffe.GriffeError):
            return path

    def _found(self, path: str) -> griffe.Object | griffe.Alias:
        return self._package[path.removeprefix("fastgcn_rec.")]

    def _anchor(self, obj: griffe.Object, target: str) -> str | None:
        """The anchor of a public name or of its method; None of what the site does not show."""
        for path in self._meant(obj, target.removesuffix("()")):
            final = self._final(path)
            if final in self._shown:
                return self._shown[final]
            owner, _, member = final.rpartition(".")
            if owner in self._shown and not member.startswith("_") and self._found(final).has_docstring:
                return f"{self._shown[owner]}.{member}"
        return None

    def _meant(self, obj: griffe.Object, target: str) -> list[str]:
        """The paths that a role may mean, seen from the object whose docstring it stands in."""
        if target.startswith("fastgcn_rec."):
            return [target]
        first, _, rest = target.partition(".")
        owner = obj if obj.is_class else obj.parent
        found = []
        if owner is not None and owner.is_class and first in owner.all_members:
            found.append(owner.all_members[first].canonical_path)
        else:
            try:
                found.append(self._final(obj.resolve(first)))
            except griffe.NameResolutionError:
                return []
        if not rest:
            return found
        try:
            return [self._found(found[0]).all_members[rest].canonical_path]
        except (KeyError, griffe.GriffeError):
            return []
