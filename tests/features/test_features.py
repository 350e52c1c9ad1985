import json

import numpy as np
import pytest

from fastgcn_rec.features import Categorical, Features, Numeric, Text, Vector, guess_columns

NAN = float("nan")


def test_numbers_are_standardised_by_the_fitted_items_and_the_missing_are_marked():
    features = Features({"price": Numeric()}).fit({"price": [1.0, 3.0, NAN, 100.0]}, rows=[0, 1, 2])
    dense = features.transform({"price": [1.0, 3.0, 4.0, NAN]}).dense
    assert dense.tolist() == [[-1, 0], [1, 0], [2, 0], [0, 1]]
    logs = Features({"price": Numeric(log=True)}).fit({"price": [0.0, np.e**2 - 1]})
    assert np.allclose(logs.transform({"price": [np.e - 1]}).dense, [[0, 0]], atol=1e-6)
    constant = Features({"price": Numeric()}).fit({"price": [5.0, 5.0]})
    assert constant.transform({"price": [6.0]}).dense.tolist() == [[1, 0]]


def test_values_not_seen_in_training_share_one_row():
    features = Features({"genre": Categorical("|", min_count=2)}).fit({"genre": ["b|a", "a", "b", "rare", ""]})
    encoded = features.transform({"genre": ["a", "b|a", "rare", "new|a", "", None]})
    assert [sorted(t for t in row if t >= 0) for row in encoded.tokens.tolist()] == [[1], [1, 2], [0], [0, 1], [], []]
    assert features.unknown_tokens() == [0]
    assert np.allclose((encoded.weights**2).sum(1), [1, 1, 1, 1, 0, 0])


def test_lists_and_separated_texts_are_the_same_values():
    features = Features({"genre": Categorical("|")}).fit({"genre": ["a|b"]})
    one, other = features.transform({"genre": ["a|b|c"]}), features.transform({"genre": [["c", "b", "a", "a"]]})
    assert one.tokens.tolist() == other.tokens.tolist()


def test_text_is_its_words_and_the_letters_in_them():
    assert Text(words=2).grams("Red HEART, mug") == ["red", "heart", "mug", "red heart", "heart mug"]
    assert Text(words=0, letters=(3, 4)).grams("cup") == ["<cu", "cup", "up>", "<cup", "cup>"]
    features = Features({"title": Text(buckets=1 << 20)}).fit({"title": []})
    a, b = features.transform({"title": ["red mug", "MUG red, red"]}).tokens.tolist()
    assert a == b
    assert len(set(a)) == 2


def test_hashes_are_the_same_everywhere():
    assert Features({"title": Text(1000)}).fit({"title": []}).transform({"title": ["heart"]}).tokens.tolist() == [[382]]


def test_columns_have_rows_of_their_own_in_one_table():
    features = Features({"kind": Categorical(), "title": Text(10), "maker": Categorical()})
    features.fit({"kind": ["x", "y"], "title": ["", ""], "maker": ["m", "m"]})
    assert features.n_tokens == 3 + 10 + 2
    assert features.unknown_tokens() == [0, 13]
    row = features.transform({"kind": ["y"], "title": ["word"], "maker": ["m"]}).tokens[0].tolist()
    assert row[0] == 2
    assert 3 <= row[1] < 13
    assert row[2] == 14


def test_given_vectors_are_taken_at_one_scale():
    images = np.array([[1.0, 3.0], [1.0, 3.0]])
    features = Features({"image": Vector()}).fit({"image": images})
    assert features.transform({"image": images + 1}).dense.tolist() == [[0, 2], [0, 2]]
    with pytest.raises(ValueError, match=r"column 'image': must have width 2 as the fitted items, got 3"):
        features.transform({"image": np.zeros((1, 3))})


def test_json_holds_everything():
    columns = {"a": ["x|y", "z"], "b": [1.0, NAN], "c": ["one two", ""], "d": np.eye(2)}
    kinds = {"a": Categorical("|"), "b": Numeric(), "c": Text(50, 2, (3, 5)), "d": Vector()}
    features = Features(kinds).fit(columns)
    again = Features.from_json(json.loads(json.dumps(features.to_json())))
    assert again.columns == features.columns
    for ours, theirs in zip(features.transform(columns), again.transform(columns), strict=True):
        assert (ours == theirs).all()


def test_errors_name_the_column():
    price = Features({"price": Numeric(log=True)})
    with pytest.raises(ValueError, match=r"call fit"):
        price.transform({"price": [1.0]})
    with pytest.raises(ValueError, match=r"no column 'price'; there are 'cost'"):
        price.fit({"cost": [1.0]})
    with pytest.raises(ValueError, match=r"column 'price': log needs values > -1, got -2"):
        price.fit({"price": [-2.0]})
    with pytest.raises(ValueError, match=r"column 'price': could not convert string to float"):
        price.fit({"price": ["cheap"]})
    with pytest.raises(ValueError, match=r"columns must have one length, got \{'a': 1, 'b': 2\}"):
        Features({"a": Numeric(), "b": Numeric()}).fit({"a": [1], "b": [1, 2]})
    with pytest.raises(
        TypeError, match=r"column 'a' must be one of Categorical, Embedding, Numeric, Text, Vector, got str"
    ):
        Features({"a": "text"})
    with pytest.raises(ValueError, match="min_count must be >= 1, got 0"):
        Categorical(min_count=0)
    with pytest.raises(ValueError, match=r"letters must be \(shortest, longest\)"):
        Text(letters=(4, 3))


def test_columns_are_guessed_by_their_values():
    columns = {
        "title": np.array(["red mug", "blue mug", ""]),
        "year": np.array([1995, 2000, 1999], np.int32),
        "price": [1.0, 2.0, None, 90.0],
        "change": [-100.0, 1.0, 2.0],
        "genres": np.array(["a|b", "a", ""]),
        "tags": [["a"], [], ["b", "c"]],
        "maker": ["m", "m", "n", "n", None],
        "sold": np.array([True, False, True, True]),
        "image": np.eye(3),
        "new": [True, None, False],
        "weight": np.array(["1.5", "2", "", "7e-1"]),
        "zip": np.array(["10019", "29206", "60657"]),
        "slogan": ["a|b", *(f"word {n}" for n in range(12))],
        "huge": [10**400, 1],
        "nothing": [None, NAN, ""],
    }
    assert guess_columns(columns) == {
        "title": Text(words=2),
        "year": Numeric(),
        "price": Numeric(log=True),
        "change": Numeric(),
        "genres": Categorical("|"),
        "tags": Categorical("|"),
        "maker": Categorical(),
        "sold": Categorical(),
        "image": Vector(),
        "new": Categorical(),
        "weight": Numeric(),
        "zip": Text(words=2),
        "slogan": Text(words=2),
        "huge": Text(words=2),
        "nothing": Categorical(),
    }
    same = {name: column for name, column in columns.items() if name != "image"} | {"image": [[1.0, 0.0], [0.0, 1.0]]}
    for name, values in same.items():  # whatever is guessed can read the values
        Features(guess_columns({name: values})).fit({name: values}).transform({name: values})


def test_missing_values_of_any_kind_are_missing():
    values = {
        "kind": ["a", None, "b"],
        "n": [1.0, float("nan"), 3],
        "text": ["x y", None, ""],
        "many": [["a"], None, ["b", None]],
    }
    plain = {"kind": ["a", "", "b"], "n": [1, "", 3], "text": ["x y", "", ""], "many": [["a"], [], ["b"]]}
    features = Features({"kind": Categorical(), "n": Numeric(), "text": Text(), "many": Categorical("|")}).fit(plain)
    containers = [values]
    try:
        import pandas as pd

        nullable = {"kind": pd.Series(values["kind"], dtype="string"), "n": pd.Series([1, None, 3], dtype="Int64")}
        containers += [
            {**values, **nullable},
            {**values, "text": pd.array(["x y", pd.NA, ""], "string"), "n": [1, pd.NA, 3]},
        ]
        assert guess_columns(nullable) == {"kind": Text(words=2), "n": Numeric()}
    except ImportError:
        pass
    for given in containers:
        assert features.fit(given).learnt == features.fit(plain).learnt
        for ours, theirs in zip(features.transform(given), features.transform(plain), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"price": ["Later", {}]}}, "the kinds of columns are Numeric, .* got Later"),
        ({"learnt": {"other": [0.0, 1.0]}}, r"\['other'\] are learnt of the columns \['price'\]"),
        ({"learnt": {"price": [0.0, 0.0]}}, "column 'price': Numeric learns 2 numbers, .* got"),
        ({"learnt": {"price": [0.0]}}, "Numeric learns 2 numbers"),
        ({"learnt": {"price": None}}, "Numeric learns 2 numbers"),
        ({"columns": {"price": ["Categorical", {}]}, "learnt": {"price": ["b", "a"]}}, "sorted, distinct texts"),
        ({"columns": {"price": ["Categorical", {}]}, "learnt": {"price": [1]}}, "sorted, distinct texts"),
        ({"columns": {"price": ["Vector", {}]}, "learnt": {"price": [0.0, 1.0, 2.5]}}, "Vector learns a width >= 0"),
        ({"columns": {"price": ["Text", {}]}, "learnt": {"price": 7}}, "Text learns nothing, got 7"),
        ({"columns": {"price": ["Text", {"buckets": 2**25}]}, "learnt": {"price": None}}, "more than 2.24"),
    ],
)
def test_a_saved_form_that_no_fit_gives_is_refused(change, message):
    whole = Features({"price": Numeric()}).fit({"price": [1.0, 3.0]}).to_json()
    assert Features.from_json(whole).to_json() == whole
    with pytest.raises(ValueError, match=message):
        Features.from_json(whole | change)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"price": Numeric()}, ValueError, r"what to_json\(\) gives has columns and learnt, got 'price'; of columns make Features\(columns\)"),
        ({}, ValueError, "has columns and learnt, got nothing"),
        (["price"], TypeError, r"must be Features, or what their to_json\(\) gives, got \['price'\]"),
    ],
)  # fmt: skip
def test_what_is_no_saved_form_is_told_how_features_are_made(value, error, message):
    with pytest.raises(error, match=message):
        Features.from_json(value)


def test_names_of_columns_are_texts_as_files_keep_them():
    with pytest.raises(TypeError, match="names of columns must be texts, got 1; rename it"):
        Features({1: Numeric()})


def test_a_vector_with_a_hole_is_named_by_its_row():
    with pytest.raises(
        ValueError, match=r"column 'v': must be finite numbers .* got NaN or infinity in row 1; fill them"
    ):
        Features({"v": Vector()}).fit({"v": np.array([[1.0, 2.0], [np.nan, 0.0]])})


def test_spans_of_time_are_read_as_texts():
    spans = {"lasts": np.array([3, 3, 3, 4], "m8[D]")}
    assert guess_columns(spans) == {"lasts": Categorical()}
    assert Features(guess_columns(spans)).fit(spans).learnt == {"lasts": ["3 days", "4 days"]}
