import numpy as np
import pytest
import scipy.sparse as sp
import torch
from support import ranking

from fastgcn_rec import Index, Indexed, LightGCN, Popularity, evaluate
from fastgcn_rec.data import synthetic_interactions


def vectors(n=500, dim=16, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def build(table, kind, **options):
    if kind == "faiss":
        pytest.importorskip("faiss", reason="needs faiss: an extra")
    return Index.build(table, kind, **options)


both = pytest.mark.parametrize("kind", ["exact", "faiss"])


def brute_force(table, query, k, excluded):
    scores = table @ query
    return ranking([i for i in range(len(table)) if i not in excluded], scores.__getitem__)[:k]


def test_exact_search_is_brute_force():
    table, queries = vectors(), vectors(40, seed=1)
    exclude = [np.random.default_rng(q).choice(500, q, replace=False).tolist() for q in range(40)]
    ids, scores = Index.build(table).search(queries, 10, exclude)
    for q in range(40):
        expected = brute_force(table, queries[q], 10, set(exclude[q]))
        assert ids[q].tolist() == expected
        np.testing.assert_allclose(scores[q], table[expected] @ queries[q], rtol=1e-5, atol=1e-5)
    assert Index.build(table).recall(queries, 10, exclude) == 1.0


@both
def test_exclusion_drops_no_results(kind):
    table, queries = vectors(), vectors(30, seed=1)
    # Each query's own best 60: what is excluded stands where a search without exclusion would look.
    exclude = [brute_force(table, q, 60, ()) for q in queries]
    index = build(table, kind)
    ids, scores = index.search(queries, 10, exclude)
    for row, own, values in zip(ids, exclude, scores, strict=True):
        assert len(set(row.tolist())) == 10
        assert row.min() >= 0
        assert not set(row.tolist()) & set(own)
        assert (np.diff(values) <= 0).all()
    assert index.recall(queries, 10, exclude) >= 0.9


@both
def test_what_is_left_is_found_to_the_last_one_and_then_padded(kind):
    table, queries = vectors(200), vectors(4, seed=1)
    left = [set(), {7}, set(range(10, 15)), set(range(200))]
    exclude = [sorted(set(range(200)) - keep) for keep in left]
    ids, scores = build(table, kind, ids=[f"v{n}" for n in range(200)]).search(
        queries, 8, [[f"v{n}" for n in own] for own in exclude]
    )
    for row, values, keep in zip(ids.tolist(), scores, left, strict=True):
        found = [name for name in row if name]
        assert len(found) == min(8, len(keep))
        assert set(found) <= {f"v{n}" for n in keep}
        assert row[len(found) :] == [""] * (8 - len(found))
        assert np.isinf(values[len(found) :]).all()


@both
def test_lists_of_ids_and_matrices_say_the_same(kind):
    table, queries = vectors(), vectors(3, seed=1)
    names = np.arange(500) * 10 + 3
    matrix = sp.csr_array(np.eye(3, 500))
    index = build(table, kind, ids=names)
    by_matrix = index.search(queries, 5, matrix)
    by_ids = index.search(queries, 5, [[3], [13], [23]])
    assert by_matrix[0].tolist() == by_ids[0].tolist()
    assert by_matrix[0].min() >= 3


@both
def test_a_saved_index_answers_alike(kind, tmp_path):
    table, queries = vectors(), vectors(20, seed=1)
    index = build(table, kind, ids=[f"item {n}" for n in range(500)])
    index.save(tmp_path / "index.npz")
    again = Index.load(tmp_path / "index.npz")
    assert again.kind == kind
    for mine, theirs in zip(index.search(queries, 7), again.search(queries, 7), strict=True):
        assert mine.tolist() == theirs.tolist()


def test_an_index_of_a_models_items_gives_its_recommendations():
    data = synthetic_interactions(50, 80, 600, seed=1)
    model = LightGCN(data, 8, 1, similarity="cosine")
    users, items = model.scoring_vectors()
    seen = data.graph().to_scipy()
    ids, scores = Index.build(items, ids=model.item_ids).search(users, 10, seen)
    expected = model.recommend(model.user_ids, 10)
    assert ids.tolist() == expected[0].tolist()
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-6)


@both
def test_empty_cases(kind):
    index = build(vectors(5), kind)
    assert index.search(np.zeros((0, 16)), 3)[0].shape == (0, 3)
    assert np.isnan(index.recall(np.zeros((0, 16)), 3))
    ids, scores = build(np.zeros((0, 16)), kind).search(vectors(2), 3)
    assert ids.tolist() == [[-1] * 3] * 2
    assert np.isinf(scores).all()


def test_errors(monkeypatch, tmp_path):
    index = Index.build(vectors(10))
    with pytest.raises(ValueError, match=r"kind must be one of .* got 'annoy'"):
        Index.build(vectors(10), "annoy")
    with pytest.raises(ValueError, match="effort must be >= 1, got 0"):
        Index.build(vectors(10), effort=0)
    with pytest.raises(ValueError, match="ids must have length n = 10, one for each vector, got 1"):
        Index.build(vectors(10), ids=[1])
    with pytest.raises(ValueError, match="ids must be distinct, got 1 repeated"):
        Index.build(vectors(3), ids=[1, 2, 1])
    with pytest.raises(ValueError, match=r"queries must have shape \[n, 16\], got \[2, 8\]"):
        index.search(vectors(2, 8), 3)
    with pytest.raises(ValueError, match="vectors must be finite, got NaN or infinity in row 1"):
        Index.build(torch.tensor([[0.0], [float("nan")]]))
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        index.search(vectors(1), 0)
    with pytest.raises(ValueError, match="exclude holds 1 id that is not among the 10 ids of the index: 10"):
        index.search(vectors(1), 3, [[10]])
    with pytest.raises(ValueError, match="exclude must be 2 lists of ids, one a query, got 1"):
        index.search(vectors(2), 3, [[1]])
    with pytest.raises(ValueError, match=r"exclude must have shape \[2, 10\], got \[1, 10\]"):
        index.search(vectors(2), 3, sp.csr_array((1, 10)))
    (tmp_path / "damaged.npz").write_bytes(b"none")
    with pytest.raises(ValueError, match="is not a file of fastgcn_rec"):
        Index.load(tmp_path / "damaged.npz")
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'fastgcn_rec\[ann\]', or take kind='exact'"):
        Index.build(vectors(10), "faiss")


@both
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_model_is_ranked_through_its_index(kind, similarity):
    if kind == "faiss":
        pytest.importorskip("faiss", reason="needs faiss: an extra")
    data = synthetic_interactions(300, 200, 3000, seed=1)
    model = LightGCN(data, 16, 1, similarity=similarity)
    indexed = Indexed(model, kind)
    ids, scores = indexed.recommend(data.user_ids, 20)
    expected, exact = model.recommend(data.user_ids, 20)
    same = (ids == expected).mean()
    assert same == 1 if kind == "exact" else same > 0.95
    np.testing.assert_allclose(scores[ids == expected], exact[ids == expected], rtol=1e-5, atol=1e-7)
    found = evaluate(indexed, data.test)
    assert found["recall@20"] == pytest.approx(
        evaluate(model, data.test)["recall@20"], abs=0 if kind == "exact" else 0.01
    )
    assert indexed.recall(data.user_ids[:50], 20) > 0.95
    all_items = indexed.recommend(data.user_ids[:3], 200, exclude_seen=False)[0]
    assert all(sorted(row) == sorted(data.item_ids) for row in all_items.tolist())


def test_a_model_without_vectors_has_no_index():
    with pytest.raises(TypeError, match="Indexed: Popularity does not score by vectors"):
        Indexed(Popularity(synthetic_interactions(20, 40, 60)))


@pytest.mark.parametrize(
    "factory", ["HNSW16,Flat", "IVF32,Flat", "PCA12,IVF32,Flat", "IVF32,Flat,RFlat", "IVF32_HNSW8,Flat"]
)
def test_effort_reaches_what_searches_whatever_it_is_composed_of(factory):
    table, queries = vectors(2000), vectors(40, seed=1)
    low, high = (build(table, "faiss", factory=factory, effort=e).recall(queries, 10) for e in (1, 4096))
    assert low < high - 0.2
    assert high > (0.45 if "PCA" in factory else 0.95)  # of 16 dimensions 12 are left


def test_effort_is_kept_in_files(tmp_path):
    table, queries = vectors(1000), vectors(20, seed=1)
    index = build(table, "faiss", factory="IVF16,Flat", effort=16)
    index.save(tmp_path / "i.npz")
    again = Index.load(tmp_path / "i.npz")
    assert (again.factory, again.effort) == ("IVF16,Flat", 16)
    assert (again.search(queries, 10)[0] == index.search(queries, 10)[0]).all()
    assert again.recall(queries, 10) == 1.0


@pytest.mark.parametrize(
    ("factory", "n", "reason"),
    [
        ("IVF64,Flat", 50, "at least as large as number of clusters"),
        ("HNWS32", 100, "could not parse"),
        ("PQ5", 500, "multiple"),
    ],
)
def test_what_faiss_refuses_is_said_in_its_words_and_ours(factory, n, reason):
    with pytest.raises(
        ValueError, match=rf"makes no index factory='{factory}' of {n} vectors \[16\].*{reason}.*index_factory"
    ) as error:
        build(vectors(n), "faiss", factory=factory)
    assert ".cpp" not in str(error.value)


@both
@pytest.mark.parametrize("n", [0, 150])
def test_vectors_are_added_and_removed_by_id(kind, n):
    table, queries = vectors(200), vectors(10, seed=1)
    names = [f"v{i}" for i in range(200)]
    options = {"factory": "IVF4,Flat", "effort": 4} if kind == "faiss" else {}
    whole = build(table, kind, ids=names, **options)
    first = build(table[:n], kind, ids=names[:n], **options)
    grown = first.with_vectors(table[n:], names[n:])
    assert len(first.ids) == n
    assert (grown.search(queries, 8)[0] == whole.search(queries, 8)[0]).all()
    fewer = grown.without(names[:20])
    found = fewer.search(queries, 8)[0]
    assert (found == whole.search(queries, 8, [names[:20]] * 10)[0]).all()
    assert len(grown.ids) == 200
    with pytest.raises(ValueError, match="ids must be distinct, got 1 repeated"):
        grown.with_vectors(table[:1], names[:1])
    with pytest.raises(ValueError, match="ids must have length n = 201, one for each vector, got 202"):
        grown.with_vectors(table[:1], ["a", "b"])
    with pytest.raises(ValueError, match=r"ids of the index: 'v0'"):
        fewer.without(["v0"])
    with pytest.raises(ValueError, match=r"shape \[n, 16\], got \[1, 3\]"):
        grown.with_vectors(table[:1, :3], ["a"])


@both
def test_numbers_of_results_and_effort_are_integers(kind):
    index = build(vectors(20), kind)
    assert index.search(vectors(1), np.int64(3))[0].shape == (1, 3)
    with pytest.raises(TypeError, match=r"Index: k must be an int, got 2.0"):
        index.search(vectors(1), 2.0)
    with pytest.raises(TypeError, match=r"Index: effort must be an int, got 2.5"):
        Index.build(vectors(20), kind, effort=2.5)


@pytest.mark.parametrize(("ids", "more"), [(["a"], [5]), ([5], ["a"])])
def test_ids_of_an_index_are_of_one_kind(ids, more):
    index = Index.build([[1.0, 2.0]], ids=ids)
    for ask in (
        lambda: index.with_vectors([[1.0, 2.0]], more),
        lambda: index.without(more),
        lambda: index.search([[1.0, 2.0]], 1, [more]),
    ):
        with pytest.raises(TypeError, match=r"must be (strings|integers) as the ids of the index are, got"):
            ask()
    assert index.with_vectors(np.empty((0, 2)), []).ids.tolist() == ids
    assert index.without(ids).with_vectors([[1.0, 2.0]], more).ids.tolist() == more


@pytest.mark.parametrize("given", [np.ones((1, 2), complex), torch.ones(1, 2, dtype=torch.complex64), [["1", "2"]]])
def test_vectors_are_real_numbers(given):
    index = Index.build([[1.0, 2.0]])
    for ask in (
        lambda: Index.build(given),
        lambda: index.with_vectors(given, [7]),
        lambda: index.search(given, 1),
    ):
        with pytest.raises(TypeError, match=r"Index: (vectors|queries) must be real numbers, got dtype"):
            ask()
