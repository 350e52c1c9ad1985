"""Dataclasses that check their fields when they are made: first the kinds, then the values, all wrong ones named at once."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

from .arguments import as_python

Rule = tuple[tuple[str, ...], str, Callable[[Any], bool]]  # fields, what each of them "must ...", whether a value does


class Checked:
    """The base of a frozen dataclass whose fields are bool, int, float, a Literal of texts, another class, or a union of these.

    Scalars of NumPy and torch become Python's, an int stands for a float. A subclass names its ``rules`` and adds to :meth:`problems` what is
    of several fields; one that has a base with rules repeats them: ``rules = (*Base.rules, ...)``.

    Raises
    ------
    TypeError : fields of another kind (2.5 or True for an int). ValueError : values that cannot work. Either names all such fields at once.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Line(Checked):
    ...     rules = ((("width",), "be > 0", lambda value: value > 0),)
    ...     width: float = 1.0
    ...     dashes: int = 0
    >>> Line(width=2)
    Line(width=2.0, dashes=0)
    >>> Line(width=-1)
    Traceback (most recent call last):
    ValueError: Line: width must be > 0, got -1.0
    """

    rules: ClassVar[tuple[Rule, ...]] = ()

    def __post_init__(self) -> None:
        kinds = self._kinds()
        given = {name: as_python(getattr(self, name)) for name in kinds}
        wrong = {name: of for name, kind in kinds.items() if (of := _missed(given[name], kind))}
        if wrong:
            raise TypeError(self._listed([f"{name} must be {of}, got {given[name]!r}" for name, of in wrong.items()]))
        for name, kind in kinds.items():
            object.__setattr__(self, name, float(given[name]) if kind is float else given[name])  # frozen
        if problems := list(self.problems()):
            raise ValueError(self._listed(problems))

    def problems(self) -> Iterator[str]:
        """What cannot work, a sentence each; the fields are of the right kinds."""
        for name, kind in self._kinds().items():
            if typing.get_origin(kind) is Literal and getattr(self, name) not in typing.get_args(kind):
                yield f"{name} must be one of {typing.get_args(kind)}, got {getattr(self, name)!r}"
        for names, rule, holds in self.rules:
            given = {name: getattr(self, name) for name in names}
            yield from (f"{name} must {rule}, got {value}" for name, value in given.items() if not holds(value))

    def _kinds(self) -> dict[str, Any]:
        cls: Any = type(self)
        return _kinds_of(cls)

    def _listed(self, wrong: list[str]) -> str:
        who = type(self).__name__
        if len(wrong) == 1:
            return f"{who}: {wrong[0]}"
        return "\n  ".join([f"{who}: {len(wrong)} settings cannot work:", *wrong])


@functools.cache
def _kinds_of(cls: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    kinds = typing.get_type_hints(cls)
    return {field.name: kinds[field.name] for field in dataclasses.fields(cls)}


def _missed(value: Any, kind: Any) -> str:
    """What the value should be, where it is not."""
    if kind is bool:
        return "" if isinstance(value, bool) else "True or False"
    if kind is int:
        return "" if isinstance(value, int) and not isinstance(value, bool) else "an int"
    if kind is float:
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 1023
        return "" if fits or isinstance(value, float) else "a number"
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        missed = [_missed(value, one) for one in typing.get_args(kind)]
        return "" if "" in missed else " or ".join(missed)
    cls = str if origin is Literal else origin or kind
    if kind is Any or not isinstance(cls, type) or isinstance(value, cls):  # what is no class says nothing
        return ""
    return "None" if cls is types.NoneType else f"a {cls.__name__}"
