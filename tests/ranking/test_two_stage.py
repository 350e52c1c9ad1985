import dataclasses

import numpy as np
import pytest
import torch

from fastgcn_rec import MF, Indexed, LightGCN, TwoStage, evaluate, fit, ppr
from fastgcn_rec.data import Edges, synthetic_interactions


class Recorder:
    """A ranker that keeps what it is trained on and orders by one column."""

    def __init__(self, column=1, sign=-1.0):
        self.column, self.sign = column, sign

    def fit(self, x, y, group=None):
        self.x, self.y, self.group = x, y, group

    def predict(self, x):
        return self.sign * x[:, self.column]


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(300, 200, 6000, dim=8, seed=2)


@pytest.fixture(scope="module")
def model(data):
    part, _ = data.split_valid(0.2)
    model = LightGCN(part, 16, 1)
    fit(model, part, epochs=3, batch_size=256, lr=5e-3, protocol="none", progress=False)
    return model


def identified(model, ranker, **options):
    """Items by number as a feature, so that rows can be told."""
    return TwoStage(model, ranker, item_features=np.arange(model.n_items)[:, None], **options)


def test_labels_are_the_edges_that_the_candidates_have_not_seen_and_features_see_none_of_them(data, model):
    part, valid = data.split_valid(0.2)
    two = identified(model, Recorder(), n_candidates=30).fit(data)
    x, y, group = two.ranker.x, two.ranker.y, two.ranker.group
    columns = dict(zip(two.feature_names, x.T, strict=True))
    users = np.repeat(np.unique(valid.users), group)
    items = columns["item_0"].astype(int)
    held = set(zip(valid.users.tolist(), valid.items.tolist(), strict=True))
    assert y.tolist() == [int(pair in held) for pair in zip(users.tolist(), items.tolist(), strict=True)]
    assert two.training == (len(y), y.sum(), y.sum() / len(valid))
    graph = part.graph()
    np.testing.assert_allclose(columns["popularity"], np.log1p(graph.item_degree.numpy())[items], rtol=1e-6)
    np.testing.assert_allclose(columns["user_degree"], np.log1p(graph.user_degree.numpy())[users], rtol=1e-6)
    scores = model.scorer()(torch.arange(300)).numpy()
    np.testing.assert_allclose(columns["score"], scores[users, items], rtol=1e-5, atol=1e-6)
    pi = ppr(graph, torch.arange(300), tol=1e-4).scores[:, 300:].numpy()
    np.testing.assert_allclose(columns["ppr"], np.log(1e-9 + pi[users, items]), rtol=1e-4)
    seen = graph.to_scipy().toarray() > 0
    assert not seen[users, items].any()


def test_a_ranker_that_keeps_the_order_gives_the_candidates_and_one_that_turns_it_round_the_reverse(data, model):
    whole = MF(data, 8)
    kept = TwoStage(model, Recorder(), serving=whole, n_candidates=30).fit(data)
    turned = TwoStage(model, Recorder(sign=1.0), serving=whole, n_candidates=30).fit(data)
    users = data.user_ids[::7]
    expected, _ = whole.recommend(users, 30)
    assert kept.recommend(users, 30)[0].tolist() == expected.tolist()
    assert turned.recommend(users, 30)[0].tolist() == expected[:, ::-1].tolist()
    ids, scores = kept.recommend(users, 4)
    assert ids.tolist() == expected[:, :4].tolist()
    assert scores[0].tolist() == [-1, -2, -3, -4]


def test_candidates_come_from_an_index(data, model):
    whole = MF(data, 8)
    direct = TwoStage(model, Recorder(sign=1.0), serving=whole, n_candidates=30).fit(data)
    through = TwoStage(Indexed(model), Recorder(sign=1.0), serving=Indexed(whole), n_candidates=30).fit(data)
    np.testing.assert_allclose(through.ranker.x, direct.ranker.x, rtol=1e-4, atol=1e-6)
    assert through.ranker.y.tolist() == direct.ranker.y.tolist()
    assert through.recommend(data.user_ids, 5)[0].tolist() == direct.recommend(data.user_ids, 5)[0].tolist()
    assert evaluate(through, data.test) == evaluate(direct, data.test)
    assert through.ceiling(data.test) == direct.ceiling(data.test)
    assert through.recommend([], 5)[0].shape == (0, 5)


def test_equal_scores_keep_the_candidates_order(data, model):
    flat = TwoStage(model, Recorder(sign=0.0), n_candidates=20).fit(data)
    kept = TwoStage(model, Recorder(), n_candidates=20).fit(data)
    users = data.user_ids[:50]
    assert flat.recommend(users, 20)[0].tolist() == kept.recommend(users, 20)[0].tolist()


def test_users_with_few_items_left_are_padded(model, data):
    everything = Edges(np.repeat(0, 198), np.arange(198))
    almost = dataclasses.replace(data, train=everything)
    two = TwoStage(
        MF(dataclasses.replace(data, train=everything.select(slice(0, 100))), 4), Recorder(), n_candidates=150
    )
    two.fit(almost)
    ids, scores = two.recommend(data.user_ids[:1], 5)
    assert sorted(ids[0, :2]) == sorted(data.item_ids[198:])
    assert ids[0, 2:].tolist() == [-1] * 3
    assert np.isinf(scores[0, 2:]).all()


def test_no_order_exceeds_the_ceiling_and_at_its_depth_all_are_equal(data, model):
    for sign in (-1.0, 1.0):
        two = TwoStage(model, Recorder(sign=sign), n_candidates=25).fit(data)
        ceiling = two.ceiling(data.test)["recall@25"]
        found = evaluate(two, data.test, ks=[5, 25, 60], metrics=["recall"])
        assert found["recall@25"] == found["recall@60"] == pytest.approx(ceiling, abs=1e-12)
        assert found["recall@5"] < ceiling


def test_a_gradient_boosted_ranker_improves_poor_candidates(data):
    ensemble = pytest.importorskip("sklearn.ensemble", reason="needs scikit-learn: an extra")
    part, _ = data.split_valid(0.2)
    weak = MF(part, 16)
    fit(weak, part, epochs=2, batch_size=256, lr=5e-3, protocol="none", progress=False)
    ranker = ensemble.HistGradientBoostingClassifier(max_iter=50, random_state=0)
    two = TwoStage(weak, ranker, n_candidates=60).fit(data)
    reordered = evaluate(two, data.test)["recall@20"]
    first_stage = evaluate(weak, data.test, two.graph)["recall@20"]
    assert reordered > 1.1 * first_stage
    assert reordered <= two.ceiling(data.test)["recall@60"]


def test_errors(data, model):
    with pytest.raises(TypeError, match=r"ranker must have fit\(X, y\) and .* got list"):
        TwoStage(model, [])
    with pytest.raises(TypeError, match="TwoStage: use_ppr must be True or False, got 'no'"):
        TwoStage(model, Recorder(), use_ppr="no")
    with pytest.raises(ValueError, match="n_candidates must be >= 1, got 0"):
        TwoStage(model, Recorder(), n_candidates=0)
    with pytest.raises(ValueError, match=r"shape \[n_items, F\] = \[200, F\], got \[3, 1\]"):
        TwoStage(model, Recorder(), item_features=np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"has seen every training edge of .*split_valid\(0.1\)"):
        TwoStage(MF(data, 4), Recorder()).fit(data)
    other = synthetic_interactions(20, 40, 60)
    with pytest.raises(ValueError, match=r"candidates is for 300 users and 200 items, .* has 20 and 40"):
        TwoStage(model, Recorder()).fit(other)
    with pytest.raises(ValueError, match="serving is for 20 users and 40 items"):
        TwoStage(model, Recorder(), serving=MF(other, 4))
    two = TwoStage(model, Recorder(), n_candidates=10)
    with pytest.raises(RuntimeError, match=r"call fit\(dataset\) first"):
        two.recommend(data.user_ids[:1], 5)
    with pytest.raises(ValueError, match=r"k must lie in \[1, n_candidates\] = \[1, 10\], got 11"):
        two.fit(data).recommend(data.user_ids[:1], 11)
    with pytest.raises(ValueError, match="users holds 1 id that is not among"):
        two.recommend([10**9], 5)


class Pipeline:
    """As scikit-learn's: steps, and a fit that takes anything and refuses what is not STEP__ARGUMENT."""

    def __init__(self, last):
        self.steps = [("scale", object()), ("last", last)]

    def fit(self, x, y, **options):
        self.options = options
        assert all(name.startswith("last__") for name in options)
        self.steps[-1][1].fit(x, y, **{name.removeprefix("last__"): value for name, value in options.items()})

    def predict(self, x):
        return self.steps[-1][1].predict(x)


class Wrapped(Recorder):
    def fit(self, x, y, **options):
        super().fit(x, y, **options)


class Plain(Recorder):
    def fit(self, x, y):
        super().fit(x, y)


class Named(Recorder):
    def fit(self, x, y, sizes=None):
        super().fit(x, y, sizes)


def test_groups_reach_rankers_through_wrappers_and_pipelines(data, model):
    expected = TwoStage(model, Recorder(), n_candidates=20, use_ppr=False).fit(data).ranker.group
    assert expected.sum() == TwoStage(model, Recorder(), n_candidates=20, use_ppr=False).fit(data).training.n_rows
    wrapped, named = Wrapped(), Named()
    for ranker, inner, options in (
        (wrapped, wrapped, {}),
        (pipeline := Pipeline(Recorder()), pipeline.steps[-1][1], {}),
        (named, named, {"group": "sizes"}),
    ):
        TwoStage(model, ranker, n_candidates=20, use_ppr=False, **options).fit(data)
        np.testing.assert_array_equal(inner.group, expected)
    for ranker, options in ((Plain(), {}), (Wrapped(), {"group": None}), (Pipeline(Plain()), {})):
        TwoStage(model, ranker, n_candidates=20, use_ppr=False, **options).fit(data)
        assert getattr(ranker, "group", None) is None


def test_candidates_are_counted_by_integers(data, model):
    with pytest.raises(TypeError, match=r"TwoStage: n_candidates must be an int, got 20.0"):
        TwoStage(model, Recorder(), n_candidates=20.0)
    two = TwoStage(model, Recorder(), n_candidates=np.int64(20), use_ppr=False).fit(data)
    with pytest.raises(TypeError, match=r"TwoStage: k must be an int, got 2.0"):
        two.recommend(data.user_ids[:1], 2.0)


class Fixed(Recorder):
    """A ranker that returns what a function makes of the rows, once it is trained."""

    def __init__(self, made):
        self.made = made

    def predict(self, x):
        return self.made(x)


@pytest.mark.parametrize("low", [-np.inf, -1e300, -1.0, np.inf])
def test_an_item_ranks_above_padding_whatever_its_score(model, data, low):
    two = TwoStage(model, Fixed(lambda x: np.full(len(x), low)), n_candidates=1000, use_ppr=False).fit(data)
    ids, _ = two.recommend(data.user_ids, 250)
    left = data.n_items - data.graph().user_degree.numpy()
    for row, n in zip(ids, left, strict=True):
        assert (row[:n] >= 0).all()
        assert (row[n:] == -1).all()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda x: np.where(x[:, 1] == 2, np.nan, 1.0), r"Fixed.predict must return no NaN, .* got \d+ in \d+ rows"),
        (lambda x: np.zeros(len(x) - 1), r"Fixed.predict must return numbers \[\d+\] for"),
        (lambda x: np.zeros((len(x), 1)), r"got dtype float64 and shape \[\d+, 1\]"),
        (lambda x: 0.5, r"shape \[\]"),
        (lambda x: np.zeros(len(x), complex), "dtype complex128"),
        (lambda x: np.array(["high"] * len(x)), "dtype <U4"),
    ],
)
def test_a_ranker_gives_one_number_a_row(model, data, made, message):
    two = TwoStage(model, Fixed(made), n_candidates=5, use_ppr=False).fit(data)
    with pytest.raises(ValueError, match=message):
        two.recommend(data.user_ids, 5)
    two.ranker.predict_proba = lambda x: np.stack([np.ones(len(x)), np.full(len(x), np.nan)], 1)
    with pytest.raises(ValueError, match=r"Fixed.predict_proba must return no NaN"):
        evaluate(two, data)
    two.ranker.predict_proba = lambda x: np.zeros(len(x))
    with pytest.raises(ValueError, match=r"Fixed.predict_proba must return numbers \[\d+, classes\]"):
        evaluate(two, data)


def test_more_candidates_than_items_are_the_items(model, data):
    many, all_items = (
        TwoStage(model, Recorder(), n_candidates=n, use_ppr=False).fit(data) for n in (10**9, data.n_items)
    )
    assert many.recommend(data.user_ids, 30)[0].tolist() == all_items.recommend(data.user_ids, 30)[0].tolist()
    assert list(many.ceiling(data.test).values()) == list(all_items.ceiling(data.test).values())


@pytest.mark.parametrize("features", [np.ones((200, 1), complex), np.full((200, 1), "1.5")])
def test_features_are_real_numbers(model, features):
    with pytest.raises(TypeError, match="TwoStage: item_features must be real numbers, got dtype"):
        TwoStage(model, Recorder(), item_features=features)
