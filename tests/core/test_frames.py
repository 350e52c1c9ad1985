"""Columns as tables of other libraries: the same rows, whatever the library."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.core.frames import FRAME_KINDS, check_frame_kind, to_frame
from fastgcn_rec.core.ids import as_texts

ROWS = {
    "dict": lambda table: {name: column.tolist() for name, column in table.items()},
    "pandas": lambda table: {name: table[name].tolist() for name in table},
    "polars": lambda table: table.to_dict(as_series=False),
    "arrow": lambda table: table.to_pydict(),
}
MODULES = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}


def frame(columns, kind):
    if kind in MODULES:
        pytest.importorskip(MODULES[kind])
    return to_frame(columns, kind)


@pytest.mark.parametrize("kind", FRAME_KINDS)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8")),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(width=32, allow_nan=False),
        )
    )
)
def test_every_library_has_the_same_rows(kind, rows):
    columns = {
        "text": as_texts(text for text, *_ in rows),
        "number": np.array([n for _, n, _ in rows], np.int64),
        "score": np.array([x for *_, x in rows], np.float32),
    }
    assert ROWS[kind](frame(columns, kind)) == {name: column.tolist() for name, column in columns.items()}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_times_stay_times(kind, unit):
    times = np.array([0, 10**9], "datetime64[s]").astype(f"datetime64[{unit}]")
    table = frame({"time": times}, kind)
    found = [np.datetime64(time) for time in ROWS[kind](table)["time"]] if kind != "dict" else table["time"]
    assert np.array_equal(np.array(found, "datetime64[s]"), times.astype("datetime64[s]"))


@pytest.mark.parametrize("kind", ["polars", "arrow"])
@pytest.mark.parametrize("texts", [[], [None, None], ["a", None]])
def test_texts_are_of_their_type_where_there_are_none(kind, texts):
    column = np.empty(len(texts), object)
    column[:] = texts
    table = frame({"text": column}, kind)
    assert str(table["text"].dtype if kind == "polars" else table["text"].type).lower() == "string"
    assert ROWS[kind](table) == {"text": texts}


def test_true_is_pandas_and_another_kind_is_named():
    pytest.importorskip("pandas")
    assert check_frame_kind(True, "as_frame") == "pandas"
    for wrong in (False, None, "spark", 1, ["pandas"]):
        with pytest.raises(ValueError, match=r"as_frame must be True or one of .*'polars'"):
            check_frame_kind(wrong, "as_frame")


@pytest.mark.parametrize("kind", MODULES)
def test_a_missing_library_is_named_before_anything_is_computed(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, MODULES[kind], None)
    with pytest.raises(ImportError, match=f"as_frame: a {kind} table needs {MODULES[kind]}"):
        check_frame_kind(kind, "as_frame")
