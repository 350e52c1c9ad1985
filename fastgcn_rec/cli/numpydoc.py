"""Help out of docstrings, so that an option and the field that it sets are explained in one place."""

from __future__ import annotations

import inspect
import re


def attributes(kind: type) -> dict[str, str]:
    """Of each entry ``name : type`` in the section Attributes of a class, its type and the first sentence of its text.

    >>> class Line:
    ...     '''Attributes
    ...     ----------
    ...     width : float
    ...         In ``pt``. Lines of width 0 are hairlines.
    ...     '''
    >>> attributes(Line)
    {'width': 'float: In pt.'}
    """
    entries = re.split(r"^Attributes\n-+\n", inspect.cleandoc(kind.__doc__ or ""), maxsplit=1, flags=re.MULTILINE)[1:]
    section = entries[0].split("\n\n")[0] + "\n" if entries else ""
    found = re.findall(r"^(\w+) : (.+)\n((?: .+\n)*)", section, re.MULTILINE)
    return {name: f"{of}: {_first_sentence(text)}" for name, of, text in found}


def _first_sentence(text: str) -> str:
    plain = re.sub(r":\w+:`([^`]*)`|``([^`]*)``", r"\1\2", " ".join(text.split()))
    return re.split(r"(?<=[.]) ", plain, maxsplit=1)[0]
