"""What a run keeps of its items, and lists that show it."""

import numpy as np
import pytest
from commands import code_of
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec import Recommender
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.experiments.items import FILE, chosen, read_items, write_items

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def data_of(info):
    return make_dataset("toy", Interactions.from_raw([1, 1, 2], [7, 8, 9], item_ids=[7, 8, 9], item_info=info), "none")


@given(st.dictionaries(TEXTS, st.lists(TEXTS, min_size=3, max_size=3) | st.lists(st.floats(), min_size=3, max_size=3) | st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4))  # fmt: skip
def test_columns_of_any_name_come_back_as_they_were(tmp_path_factory, info):
    folder, data = tmp_path_factory.mktemp("run"), data_of(info)
    write_items(data, folder)
    found = read_items(folder, data.item_ids)
    assert list(found) == list(data.item_info)
    for name, column in data.item_info.items():
        np.testing.assert_array_equal(found[name], column)
        assert found[name].dtype == column.dtype


def test_dates_become_texts_and_nothing_is_written_of_nothing(tmp_path):
    data = data_of({"on": np.array(["2011-12-09", "NaT", "2012-01-01"], "datetime64[D]")})
    write_items(data, tmp_path)
    by_id = dict(zip(data.item_ids.tolist(), read_items(tmp_path, data.item_ids)["on"], strict=True))
    assert by_id == {7: "2011-12-09", 8: "", 9: "2012-01-01"}
    (tmp_path / "none").mkdir()
    write_items(data_of({}), tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []
    assert read_items(tmp_path / "none", data.item_ids) == {}


def test_a_file_of_other_items_or_damaged_is_refused(tmp_path):
    data = data_of({"title": ["a", "b", "c"]})
    write_items(data, tmp_path)
    for ids in (data.item_ids[::-1], data.item_ids[:2], np.array(["7", "8", "9"], object)):
        with pytest.raises(ValueError, match=r"items\.npz is of other items than the model beside it"):
            read_items(tmp_path, ids)
    raw = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(raw.replace(b"abc", b"abd"))
    with pytest.raises(ValueError, match=r"items\.npz is not a file of fastgcn_rec, or is damaged"):
        read_items(tmp_path, data.item_ids)


def test_what_is_shown_is_the_title_or_what_is_named():
    columns = {"title": np.zeros(1), "year": np.zeros(1)}
    assert list(chosen(columns, None)) == ["title"]
    assert list(chosen({"year": np.zeros(1)}, None)) == list(chosen(columns, ["none"])) == []
    assert list(chosen(columns, ["year", "title"])) == ["year", "title"]
    with pytest.raises(ValueError, match=r"no column 'titel' to show; did you mean 'title'\?"):
        chosen(columns, ["titel"])
    with pytest.raises(ValueError, match=r"the run kept no columns of items"):
        chosen({}, ["title"])


def test_lists_have_titles_where_there_are_any(ml_100k, capsys):
    out = ml_100k / "run"
    assert code_of("train", "ml-100k", "--recipe", "itemknn", "--out", out) == 0
    model = Recommender.load(out / "model.npz")
    capsys.readouterr()
    for command, of, (ids, scores) in (
        ("recommend", "user", model.recommend([1, 2], 3)),
        ("similar", "item", model.similar_items([1, 2], 3)),
    ):
        listed = [[(i, s) for i, s in zip(row, values, strict=True) if s > -np.inf] for row, values in zip(ids.tolist(), scores.tolist(), strict=True)]  # fmt: skip
        for options, shown in (
            ([], "film {}"),
            (["--show", "year"], "1990"),
            (["--show", "title", "year"], "film {}  1990"),
        ):
            assert code_of(command, out, "1", "2", "-k", 3, *options) == 0
            expected = []
            for name, row in zip((1, 2), listed, strict=True):
                width = max(len(str(i)) for i, _ in row)
                expected += [f"{of} {name}:", *(f"  {s:9.4g}  {i!s:{width}}  {shown.format(i - 1)}" for i, s in row)]
            assert capsys.readouterr().out.splitlines() == expected
        assert code_of(command, out / "model.npz", "1", "2", "-k", 3, "--show", "none") == 0
        assert capsys.readouterr().out.splitlines() == [f"{of} {name}: " + ", ".join(f"{i} ({s:.4g})" for i, s in row) for name, row in zip((1, 2), listed, strict=True)]  # fmt: skip
        assert code_of(command, out, "1", "--show", "titel") == 2
        assert "did you mean 'title'?" in capsys.readouterr().err
