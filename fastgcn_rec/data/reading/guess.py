"""Which columns of a table of events are its users, items, ratings and times: by their names, then by their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from ...core.ids import Array
from ..timeforms import forms_of
from ..times import unit_of
from .names import NO_EVENTS, NO_IDS, grade, words_of
from .sample import SampledColumn, shown_columns

Columns = dict[str, str | int]
_NO_TIMES = {"id", "code", "no", "number", "key", "phone", "zip", "price", "count", "quantity", "size", "amount"}
_NO_TIMES |= {"nummer", "plz", "preis", "menge", "anzahl"}


def guess_columns(
    what: str,
    columns: Sequence[SampledColumn],
    given: Mapping[str, str | int],
    *,
    time_unit: str | None = None,
    time_format: str | None = None,
) -> Columns:
    """The column of every role: those that are given, and for the others what names and values say; "" where there is none.

    Columns without a header have their positions for names. ValueError: two columns as good, or none for users or items; it shows the columns
    and says what decides. `what` is the table's name in errors.
    """
    return _Guess(what, columns, given, time_unit, time_format).all()


def guessed_unit(what: str, column: SampledColumn) -> str | None:
    """The unit that a column's numbers count since 1970, by their size; None where they do not say. ValueError: some say one, others another or none."""
    units = {unit_of([number]): number for number in column.numbers or ()}
    if len(units) > 1:
        _refuse_units(what, f"the times of {column.name!r}", units)
    return next(iter(units), None)


def check_guessed_unit(what: str, times: Array | None, unit: str) -> None:
    """ValueError: of all times, in seconds where there is a `unit`, some are not of the size by which it was guessed in the first rows."""
    if times is None or not times.size:
        return
    units = {unit_of([number]): number for number in (float(times.min()), float(times.max()))}
    if units.keys() - {"s" if unit else next(iter(units))}:
        of = f", as seconds of the {unit!r} that the first rows seem to count," if unit else ""
        _refuse_units(what, f"the times{of}", units)


def _refuse_units(what: str, times: str, units: Mapping[str | None, float]) -> NoReturn:
    shown = " and ".join(f"{number:.0f}" for number in units.values())
    kinds = ", ".join(f"time_unit={unit!r}" for unit in ("s", "ms", "us", "ns"))
    raise ValueError(
        f"{what}: {times} are of several sizes, such as {shown}: mend those that are not meant, or say what all of them count; {kinds} (--time-unit) "
        "since 1970, time_unit='' leaves them numbers; time='' (--time '') leaves them out"
    )


class _Guess:
    def __init__(
        self,
        what: str,
        columns: Sequence[SampledColumn],
        given: Mapping[str, str | int],
        time_unit: str | None,
        time_format: str | None,
    ) -> None:
        self.what, self.columns, self.time_unit, self.time_format = what, columns, time_unit, time_format
        self.found: Columns = dict(given)
        taken = {self._name(column) for column in given.values()}
        self.free = [column for column in columns if column.name not in taken]

    def _name(self, column: str | int) -> str | int:
        """The name of a column that may be given by its position."""
        at = isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(self.columns)
        return self.columns[column].name if at else column  # type: ignore[index]

    def column(self, name: str | int) -> SampledColumn | None:
        return next((column for column in self.columns if column.name == self._name(name)), None)

    def all(self) -> Columns:
        if "weight" in self.found:
            self.found.setdefault("rating", "")
        given_time = self.column(self.found.get("time", ""))
        if given_time is not None:
            self._check_time(given_time)
        if self.columns and all(isinstance(column.name, int) for column in self.columns):
            self._by_order()
        else:
            for role in ("user", "item"):
                self._id_by_name(role)
            self._time()
            self._rating()
            self._ids_by_values()
        for role in ("user", "item"):
            if self.found.get(role, "") == "":
                self._refuse(role)
        self._refuse_one_for_two()
        return {role: self.found[role] for role in ("user", "item", "rating", "weight", "time") if role in self.found}

    def _refuse_one_for_two(self) -> None:
        roles: dict[str | int, str] = {}
        for role, column in self.found.items():
            other = roles.setdefault(self._name(column), role) if column != "" else role
            if other != role:
                raise ValueError(
                    f"{self.what}: the column {column!r} cannot be both {other} and {role}; {role}= (--{role}) names another, out of "
                    f"{shown_columns(self.columns)}"
                )

    def _take(self, role: str, column: SampledColumn) -> None:
        same = [other for other in self.columns if other.name == column.name]
        if len(same) > 1 or column.name == "":
            named = "has no name" if column.name == "" else f"{column.name!r} is named as another"
            self._refuse(role, f"The column at position {self.columns.index(column)} {named}")
        self.found[role] = column.name
        self.free.remove(column)

    def _best(self, role: str, columns: Sequence[SampledColumn]) -> SampledColumn | None:
        """The column whose name fits best, None where none fits. ValueError: two fit as well."""
        grades = {column.name: grade(str(column.name), role) for column in columns}
        best = max(grades.values(), default=0)
        fitting = [column for column in columns if grades[column.name] == best] if best else []
        if len(fitting) > 1:
            self._refuse(role, f"{' and '.join(str(column.name) for column in fitting)} may be")
        return fitting[0] if fitting else None

    def _id_by_name(self, role: str) -> None:
        if role in self.found:
            return
        column = self._best(role, [column for column in self.free if column.may_be_ids or not column.values])
        named = max(self.free, key=lambda other: grade(str(other.name), role), default=None)
        if named is not None and grade(str(named.name), role) > (
            0 if column is None else grade(str(column.name), role)
        ):
            why = "numbers the rows" if named.count_rows else "has the name of one, but no ids"
            self._refuse(role, f"{named.name} {why}")
        if column is not None:
            self._take(role, column)

    def _ids_by_values(self) -> None:
        """One that is left for one role that is left."""
        open_roles = [role for role in ("user", "item") if role not in self.found]
        if len(open_roles) != 1:
            return
        left = [column for column in self.free if column.may_be_ids and column.repeat]
        no_ids = {*(_NO_TIMES - {"id"}), *NO_IDS, *NO_EVENTS}
        if len(left) == 1 and not left[0].is_flag and no_ids.isdisjoint(words_of(str(left[0].name))):
            self._take(open_roles[0], left[0])

    def _rating(self) -> None:
        if "rating" in self.found:
            return
        numbers = [column for column in self.free if column.numbers is not None]
        column = self._best("rating", numbers)
        if column is not None and (column.may_be_ratings or "rating" in words_of(str(column.name))):
            self._take("rating", column)
        self.found.setdefault("rating", "")

    def _time(self) -> None:
        if "time" in self.found:
            return
        named = [column for column in self.free if grade(str(column.name), "time")]
        readable = [
            column for column in named if column.are_dates or column.numbers is not None or self._formatted(column)
        ]
        column = self._best("time", readable)
        least = 0 if column is None else grade(str(column.name), "time")
        odd = next(
            (other for other in named if grade(str(other.name), "time") > least and self._other_dates(other)), None
        )
        if odd is not None and odd not in readable:
            self._refuse_dates(odd)
        if column is None:
            unnamed = [column for column in self.free if self._times_by_value(column)]
            if len(unnamed) > 1:
                self._refuse("time", f"{' and '.join(str(column.name) for column in unnamed)} may be")
            column = unnamed[0] if unnamed else None
        if column is not None:
            self._check_time(column)
            self._take("time", column)
        self.found.setdefault("time", "")

    def _check_time(self, column: SampledColumn) -> None:
        """ValueError: dates that only a form makes times of."""
        as_numbers = column.numbers is not None and (self.time_unit is not None or not column.are_whole)
        if self.time_format is None and not as_numbers and self._other_dates(column):
            self._refuse_dates(column)

    def _formatted(self, column: SampledColumn) -> bool:
        return self.time_format is not None and column.are_of_form(self.time_format)

    def _times_by_value(self, column: SampledColumn) -> bool:
        words = set(words_of(str(column.name)))
        if column.are_dates:
            return not {*NO_EVENTS, "end"} & words
        return column.are_whole and column.unit is not None and not _NO_TIMES & words and _are_recent(column)

    @staticmethod
    def _other_dates(column: SampledColumn) -> list[str]:
        return [] if column.are_dates else forms_of(str(value) for value in column.values)

    def _refuse_dates(self, column: SampledColumn) -> NoReturn:
        forms = " or ".join(f"time_format={form!r}" for form in self._other_dates(column))
        numbers = ", time_unit='' leaves them the numbers that they are" if column.numbers is not None else ""
        raise ValueError(
            f"{self.what}: how are the times of {column.shown} written? {forms} (--time-format) reads them{numbers}; time='' (--time '') leaves them out"
        )

    def _by_order(self) -> None:
        """user, item[, rating][, time], the usual order, where nothing speaks against it."""
        left = [column for column in self.free if not column.count_rows]
        if len(left) > 2 and "user" not in self.found and left[0].may_count_rows:
            self._refuse("user", f"column {left[0].name} may number the rows")
        for role in ("user", "item"):
            if (
                role not in self.found
                and left
                and left[0].may_be_ids
                and not (left[0].unit and _are_recent(left[0]) and not left[0].repeat)
            ):
                self._take(role, left.pop(0))
        if "time" not in self.found:
            column = left[-1] if left else None
            if column is not None and (column.are_dates or (column.are_whole and column.unit and _are_recent(column))):
                left.remove(column)
                self._take("time", column)
            elif column is not None and column.numbers is None:
                self._check_time(column)
        if "rating" not in self.found and len(left) == 1 and left[0].may_be_ratings:
            self._take("rating", left.pop(0))
        if (
            left
            and not {"rating", "weight", "time"} <= set(self.found)
            and "user" in self.found
            and "item" in self.found
        ):
            shown = " and ".join(str(column.name) for column in left)
            self._refuse_more(f"what are the columns {shown}?" if len(left) > 1 else f"what is column {shown}?")
        self.found.setdefault("rating", "")
        self.found.setdefault("time", "")

    def _refuse(self, role: str, reason: str = "") -> NoReturn:
        optional = f", {role}='' (--{role} '') says that there is none" if role in ("rating", "time") else ""
        raise ValueError(
            f"{self.what}: which column is the {role}?{f' {reason}.' if reason else ''} {role}= (--{role}) names it{optional}; "
            f"the columns and their first values are {shown_columns(self.columns)}"
        )

    def _refuse_more(self, question: str) -> NoReturn:
        raise ValueError(
            f"{self.what}: {question} There is no header; rating=, weight= or time= (--rating, --weight, --time) with a position, or rating='' and "
            f"time='' for neither, decide; the columns and their first values are {shown_columns(self.columns)}"
        )


def _are_recent(column: SampledColumn) -> bool:
    """Whether numbers are times from 1990 to 2050."""
    per = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}.get(column.unit or "")
    return per is not None and all(631e6 <= number / per <= 2525e6 for number in column.numbers or ())
