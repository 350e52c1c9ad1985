"""What a model was made of and what it is trained and judged on: the same ids, the same edges, the same weights."""

import dataclasses

import numpy as np
import pytest
import torch
from every_model import EVERY, TRAINED, pinsage

from fastgcn_rec import MF, Graph, Indexed, LightGCN, Recommender, TwoStage, evaluate, fit
from fastgcn_rec.data import Edges, Interactions, build_dataset, make_dataset, synthetic_interactions

QUICK = {"epochs": 1, "batch_size": 128, "progress": False}


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(0)
    pairs = np.stack([rng.integers(0, 60, 900), rng.integers(0, 50, 900)])
    return Interactions.from_raw(*pairs, rating=rng.uniform(0.5, 9, 900), user_ids=range(60), item_ids=range(50))


@pytest.fixture(scope="module")
def splits(events):
    """The same events, users and items; other numbers for them."""
    return [make_dataset("same events", events, split="random", seed=seed) for seed in (0, 1)]


def other_edges(data, n=5):
    """The same ids and as many training edges, n of them others."""
    pairs = set(zip(data.train.users.tolist(), data.train.items.tolist(), strict=True))
    free = [(u, i) for u in range(data.n_users) for i in range(data.n_items) if (u, i) not in pairs][:n]
    users, items = data.train.users.copy(), data.train.items.copy()
    users[:n], items[:n] = np.array(free).T
    return dataclasses.replace(data, train=Edges(users, items))


class Ranker:
    def fit(self, x, y): ...

    def predict(self, x):
        return x[:, 0]


# --- ids and edges ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["validation", "none"])
@pytest.mark.parametrize("kind", TRAINED)
def test_training_on_another_numbering_of_the_same_ids_is_refused(splits, kind, protocol):
    one, two = splits
    model = TRAINED[kind](one)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"fit: same events has other (users|items) than the model.*Pass the data set that"
    ):
        fit(model, two, protocol=protocol, **QUICK)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())


@pytest.mark.parametrize("protocol", ["validation", "published", "none"])
def test_training_on_other_edges_of_the_same_ids_is_refused(splits, protocol):
    data = splits[0]
    with pytest.raises(ValueError, match=rf"of the {len(data.train)} edges .* 5 are no training edges .* 5 are not in"):
        fit(MF(data, 4), other_edges(data), protocol=protocol, **QUICK)
    fewer = data.split_valid(0.1)[0]
    with pytest.raises(ValueError, match="edges of the graph of the model"):
        fit(MF(data, 4), fewer, protocol=protocol, **QUICK)
    with pytest.raises(ValueError, match="not in the graph"):
        fit(MF(fewer, 4), data, protocol=protocol, **QUICK)


@pytest.mark.parametrize("kind", EVERY)
def test_a_test_part_of_another_numbering_is_refused_also_after_saving(splits, kind, tmp_path):
    one, two = splits
    model = EVERY[kind](one)
    model.save(tmp_path / "m.npz")
    for judged in (model, Recommender.load(tmp_path / "m.npz")):
        assert evaluate(judged, one.test)["n_users_evaluated"] > 0
        with pytest.raises(ValueError, match=r"evaluate: test has other (users|items) than the model"):
            evaluate(judged, two.test)


def test_what_searches_and_ranks_for_a_model_knows_its_ids(splits):
    one, two = splits
    part, valid = one.split_valid(0.2)
    for judged in (Indexed(MF(part, 4)), TwoStage(MF(part, 4), Ranker(), n_candidates=20).fit(one)):
        evaluate(judged, valid)
        with pytest.raises(ValueError, match="evaluate: test has other"):
            evaluate(judged, two.test)


def test_a_ranker_trains_on_the_data_set_of_both_models_only(splits):
    one, two = splits
    part, _ = one.split_valid(0.2)
    with pytest.raises(ValueError, match=r"TwoStage: same events has other (users|items) than candidates"):
        TwoStage(MF(part, 4), Ranker(), n_candidates=20).fit(two)
    with pytest.raises(ValueError, match="5 are no training edges of same events"):
        TwoStage(MF(part, 4), Ranker(), serving=MF(other_edges(one), 4), n_candidates=20).fit(one)


def test_times_of_another_numbering_are_refused(splits):
    one, two = splits
    with pytest.raises(ValueError, match="PinSAGE: same events has other"):
        pinsage(one).use_times(two)


def test_edges_and_graphs_that_a_user_makes_say_nothing_of_ids_and_are_taken(splits):
    data = splits[0]
    own = Edges(data.test.users, data.test.items)
    assert own.ids is None
    assert evaluate(MF(data, 4), own) == evaluate(MF(data, 4), data.test)
    model = MF(data.graph(), 4)
    assert model.ids is None
    fit(model, data, **QUICK)
    assert evaluate(model, data.test)["n_users_evaluated"] > 0
    with pytest.raises(ValueError, match="5 are no training edges"):
        fit(model, other_edges(data), **QUICK)


def test_a_model_with_more_items_knows_their_ids_too(splits):
    data = splits[0]
    grown = pinsage(data).with_items({"kind": ["kind 1"]}, [[0, 1]])
    assert [len(ids) for ids in grown.ids] == [60, 51]
    with pytest.raises(ValueError, match="51"):
        evaluate(grown, data.test)
    assert pinsage(data.graph()).with_items({"kind": ["kind 1"]}).ids is None


# --- weights ----------------------------------------------------------------------------------------------------------


def weighted(data, seed=0):
    weight = np.random.default_rng(seed).choice([0.5, 50.0], len(data.train)).astype(np.float32)
    return dataclasses.replace(data, train=dataclasses.replace(data.train, weight=weight))


def trained(make, data, **options):
    model = make(data)
    fit(model, data, **{**QUICK, "lr": 0.05, **options})
    return torch.cat([p.detach().flatten() for p in model.parameters()])


USES_WEIGHTS = [kind for kind in TRAINED if not kind.startswith("MF")]


@pytest.mark.parametrize("protocol", ["validation", "none"])
@pytest.mark.parametrize("kind", USES_WEIGHTS)
def test_weights_are_trained_with(splits, kind, protocol):
    plain, data = splits[0], weighted(splits[0])
    with_weights = trained(TRAINED[kind], data, protocol=protocol)
    assert not torch.equal(with_weights, trained(TRAINED[kind], plain, protocol=protocol))
    through_a_graph = TRAINED[kind](data.graph())
    fit(through_a_graph, plain, **QUICK, lr=0.05, protocol=protocol)  # the graph's weights, not the data set's
    assert torch.equal(with_weights, torch.cat([p.detach().flatten() for p in through_a_graph.parameters()]))


def test_the_edges_trained_on_are_the_models_without_those_held_out(splits):
    data = weighted(splits[0])
    model, seen = LightGCN(data, 4, 1), []
    whole = model.graph
    fit(model, data, **QUICK, on_epoch=lambda record: seen.append(model.graph))
    part, valid = data.split_valid(0.1)
    assert model.graph is whole
    assert seen[0].fingerprint() == part.graph().fingerprint()
    assert len(valid)
    assert seen[0].weight is not None


def test_a_checkpoint_of_other_weights_is_refused(splits, tmp_path):
    data, file = splits[0], tmp_path / "c.npz"
    fit(LightGCN(weighted(data).graph(), 4, 1), data, checkpoint=file, **QUICK)
    with pytest.raises(ValueError, match="made with another graph"):
        fit(LightGCN(weighted(data, 1).graph(), 4, 1), data, checkpoint=file, **QUICK)


@pytest.mark.parametrize("kind", ["EASE", "GraphFilter", "IALS", "ItemKNN", "RP3beta", "SparseEASE", "SLIM", "UserKNN"])
def test_models_without_training_are_made_with_weights(splits, kind):
    users = torch.arange(60)
    assert not torch.equal(*(EVERY[kind](data).scorer()(users) for data in (splits[0], weighted(splits[0]))))


def by_raw_id(data, part):
    return dict(
        zip(
            zip(data.user_ids[part.users].tolist(), data.item_ids[part.items].tolist(), strict=True),
            part.weight.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("split", ["random", "leave-k-out", "none"])
def test_ratings_weigh_the_edges_through_every_renumbering(events, split):
    options = {"by": "random"} if split == "leave-k-out" else {}
    data = make_dataset("rated", events, split=split, weight="rating", min_rating=2, **options)
    first = {}
    for u, i, r in zip(events.users.tolist(), events.items.tolist(), events.rating.tolist(), strict=True):
        if r >= 2:
            first.setdefault((u, i), float(np.float32(r)))  # of a repeated pair the earliest event's
    part, valid = data.split_valid(0.2)
    for version, parts in (
        (data, (data.train, data.test)),
        (data.clustered(3), None),
        (part, (part.train, valid, part.test)),
    ):
        found = {}
        for edges in parts or (version.train, version.test):
            found |= by_raw_id(version, edges)
        assert found == first
    graph = data.graph().to_scipy().tocoo()
    assert {
        (int(data.user_ids[u]), int(data.item_ids[i])): w
        for u, i, w in zip(graph.row, graph.col, graph.data.tolist(), strict=True)
    } == by_raw_id(data, data.train)
    assert "weighted" in repr(data)


def test_the_fingerprint_has_weights_where_there_are_some(events):
    plain = make_dataset("x", events, split="none")
    data = make_dataset("x", events, split="none", weight="rating")
    order = np.random.default_rng(1).permutation(len(data.train))
    shuffled = dataclasses.replace(data, train=data.train.select(order))
    doubled = dataclasses.replace(data, train=dataclasses.replace(data.train, weight=2 * data.train.weight))
    assert plain.fingerprint() != data.fingerprint() == shuffled.fingerprint() != doubled.fingerprint()


def test_of_repeated_pairs_the_first_weight_is_kept():
    ids = np.array([1, 2])
    train = Edges([0, 1, 0], [1, 1, 1], weight=[3, 5, 7])
    data = build_dataset("x", train, Edges([], []), ids, ids)
    assert by_raw_id(data, data.train) == {(1, 2): 3, (2, 2): 5}


def test_weights_that_are_none_are_refused(events):
    for bad in ([0.0], [-1], [np.nan], [np.inf], [1e39], [1e-60]):
        with pytest.raises(ValueError, match=r"weight must be positive and finite in float32, got .* at edge 0"):
            Edges([0], [0], weight=bad)
    with pytest.raises(ValueError, match=r"weight must have shape \[1\], got \[2\]"):
        Edges([0], [0], weight=[1, 2])
    with pytest.raises(TypeError, match="weight must be numbers"):
        Edges([0], [0], weight=["a"])
    unrated = Interactions.from_raw([1], [2])
    with pytest.raises(ValueError, match="weight='rating' needs ratings, but x has none"):
        make_dataset("x", unrated, split="none", weight="rating")
    with pytest.raises(ValueError, match="weight must be 'rating' or None, got 'time'"):
        make_dataset("x", events, weight="time")


def test_edges_can_be_taken_out_of_a_graph():
    graph = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 0], 3, 2, [1.0, 2.0, 3.0, 4.0])
    left = graph.without_edges(torch.tensor([0, 2, 1]), torch.tensor([1, 0, 0]))  # the last is no edge
    assert left.to_scipy().toarray().tolist() == [[1, 0], [0, 3], [0, 0]]


def test_synthetic_data_is_unweighted():
    assert synthetic_interactions(20, 20, 50).train.weight is None
