"""TOML: what is written comes back, and what is no TOML is said where it stands."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.system.toml import read_toml, toml_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS
VALUES = st.recursive(SCALARS, lambda own: st.lists(own, max_size=3) | st.dictionaries(TEXTS, own, max_size=3), max_leaves=12)  # fmt: skip


def same(one, other):
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other and str(one) == str(other)  # the sign of 0.0 too


def tables_last(value):
    """In TOML a table's own keys come before the tables within it."""
    if not isinstance(value, dict):
        return value
    plain = {key: own for key, own in value.items() if not isinstance(own, dict)}
    return plain | {key: tables_last(own) for key, own in value.items() if isinstance(own, dict)}


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("toml") / "x.toml"
    path.write_text(toml_text(values), encoding="utf-8", newline="")
    assert same(read_toml(path), tables_last(values))
    path.write_text(toml_text(values), encoding="utf-8-sig", newline="")
    assert same(read_toml(path), tables_last(values))


@pytest.mark.parametrize(("value", "text"), [(None, "a.b must be a text"), ([1, None], r"a.b\[1\] must be a text"), (b"x", "got bytes")])  # fmt: skip
def test_what_toml_does_not_have_is_named(value, text):
    with pytest.raises(TypeError, match=text):
        toml_text({"a": {"b": value}})
    with pytest.raises(ValueError, match=r"a.b holds half of a surrogate pair"):
        toml_text({"a": {"b": "\udcff"}})


def test_errors_name_file_and_place(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[data]\nuser = me\n")
    with pytest.raises(ValueError, match=r"run\.toml is no TOML: .*line 2, column 8.*texts stand in quotes"):
        read_toml(path)
    path.write_bytes(b"a = 1\xff\n")
    with pytest.raises(ValueError, match=r"run\.toml: must be a text in UTF-8, got the byte 0xff at 5"):
        read_toml(path)
    with pytest.raises(FileNotFoundError):
        read_toml(tmp_path / "nowhere.toml")
