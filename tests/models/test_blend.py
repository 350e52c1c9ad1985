"""Blend: what is its own; test_behaviour.py has what it shares with all models."""

import json

import numpy as np
import pytest
import torch
from every_model import blend, small_data, trained
from support import random_graph

from fastgcn_rec import EASE, MF, Blend, Graph, ItemKNN, LightGCN, Popularity, Recommender, Vectors, evaluate
from fastgcn_rec.data import Edges, make_dataset, synthetic_interactions
from fastgcn_rec.ranking.blending import normalized


def scores_of(model):
    return model.scorer()(torch.arange(model.n_users, device=model.graph.device))


@pytest.mark.parametrize("how", ["none", "z", "rank"])
def test_scores_are_the_weighted_sum_of_the_parts(device, how):
    graph = random_graph().to(device)
    parts = [EASE(graph, reg=5.0), MF(graph, 4, init_std=1.0), LightGCN(graph, 4, 1, similarity="cosine")]
    model = Blend(graph, parts, [2.0, 0.5, 3.0], how)
    expected = sum(w * normalized(scores_of(part), how).double() for w, part in zip(model.weights, parts, strict=True))
    np.testing.assert_allclose(scores_of(model).cpu().numpy(), expected.cpu().numpy(), rtol=1e-5, atol=1e-5)
    only = Blend(graph, parts, [0.0, 1.0, 0.0], how)
    assert torch.equal(scores_of(only), normalized(scores_of(parts[1]), how))


def test_vectors_side_by_side_give_the_lists_that_scores_give():
    graph = random_graph()
    parts = [MF(graph, 4, init_std=1.0), LightGCN(graph, 6, 1, similarity="cosine")]
    model = Blend(graph, parts, [0.7, 2.0])
    users, items, similarity = model.vectors()
    assert (users.shape, items.shape, similarity) == ((40, 10), (30, 10), "dot")
    expected = 0.7 * scores_of(parts[0]) + 2.0 * scores_of(parts[1])
    known = graph.user_degree > 0
    np.testing.assert_allclose((users @ items.T)[known], expected[known], rtol=1e-4, atol=1e-5)
    mixed = Blend(graph, [*parts, ItemKNN(graph)], [0.7, 2.0, 1e-30])
    assert (model.ranks_by_vectors, mixed.ranks_by_vectors) == (True, False)
    assert (model.recommend(range(40), 5)[0][known] == mixed.recommend(range(40), 5)[0][known]).all()
    with pytest.raises(NotImplementedError, match="has no vectors"):
        mixed.node_vectors()


@pytest.mark.parametrize("kind", ["Blend", "Blend ranks"])
def test_users_without_an_edge_get_what_the_parts_guess(kind):
    model = trained(kind)
    cold = model.graph.user_degree == 0
    expected = sum(
        w * normalized(scores_of(part), model.normalize) for w, part in zip(model.weights, model.models, strict=True)
    )
    torch.testing.assert_close(scores_of(model)[cold], expected[cold])
    assert model.recommend_new([[]], 5)[0].shape == (1, 5)


def test_a_new_user_is_scored_by_each_part_as_it_scores_new_users():
    graph = random_graph()
    parts = [LightGCN(graph, 6, 1, similarity="cosine"), ItemKNN(graph)]
    model, own = Blend(graph, parts, [0.5, 2.0]), [[1, 5, 7]]
    tables = [part.recommend_new(own, 30, exclude_seen=False) for part in (*parts, model)]
    first, second, both = (dict(zip(ids[0].tolist(), scores[0].tolist(), strict=True)) for ids, scores in tables)
    for item, score in both.items():
        assert score == pytest.approx(0.5 * first[item] + 2.0 * second[item], rel=1e-4, abs=1e-6)


def test_the_parts_of_a_file_know_their_users(tmp_path):
    model = blend(small_data(), "z", ("GraphFilter", "MF"))
    model.save(tmp_path / "m.npz")
    other = Recommender.load(tmp_path / "m.npz")
    for one, two in zip(model.models, other.models, strict=True):
        assert one.recommend(["u03"], 4)[0].tolist() == two.recommend(["u03"], 4)[0].tolist()
    assert {part.graph for part in other.models} == {other.graph}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["parts"].pop(), "its Blend has 1 parts, and arrays that are of none: parts.1"),
        (lambda c: c["parts"][0].update({"class": "Gone"}), "its Blend has a Gone, which is not known here"),
        (lambda c: c["parts"][0].update(config=3), "its Blend has a part that is no class and configuration"),
        (lambda c: c.update(weights={}), "its Blend has weights that are no list"),
        (lambda c: c.update(weights=[1.0]), "weights must be a finite number >= 0 for each of the 2 parts"),
        (lambda c: c.update(normalize="l2"), "normalize must be one of"),
        (lambda c: c.pop("parts"), "its Blend has options that are not known here"),
    ],
)
def test_a_file_of_something_else_is_refused(change, message):
    model = blend(small_data(), "z", ("MF", "MF"))
    config = json.loads(json.dumps(model.config()))
    change(config)
    with pytest.raises(ValueError, match=message):
        Blend.restored(model.graph, config, dict(model.state_dict()))


def test_chosen_weights_are_better_than_either_part():
    data = synthetic_interactions(400, 250, 9000, dim=8, seed=2)
    data = data.with_valid(data.split_valid(0.2)[1])
    parts = [EASE(data, reg=20.0), Popularity(data)]
    model = Blend.choose(data, parts)
    values = [evaluate(one, data, part="valid")["ndcg@20"] for one in (model, *parts)]
    assert values[0] >= max(values[1:]) - 1e-9
    assert model.weights[0] > 0
    assert Blend.choose(data, parts).weights == model.weights
    whole = Blend(data, parts, model.weights)
    assert evaluate(whole, data, part="valid")["ndcg@20"] == values[0]
    with pytest.raises(ValueError, match="with a validation part"):
        Blend.choose(data.with_valid(Edges([], [])), parts)


def test_parts_that_do_not_fit_are_refused():
    graph, data = random_graph(), small_data()
    with pytest.raises(
        ValueError, match=r"parts\[1\], a MF, must be of the edges of data, .*train them anew with refit=False"
    ):
        Blend(graph, [MF(graph), MF(random_graph(seed=3))])
    with pytest.raises(TypeError, match=r"parts\[0\] must be a model, such as LightGCN\(data\), got Vectors"):
        Blend(graph, [Vectors(np.eye(40), np.eye(30, 40), graph)])
    for none in ([], None, MF(graph)):
        with pytest.raises(TypeError, match="parts must be a list of models, at least one"):
            Blend(graph, none)
    for weights in ([1.0], [1.0, -0.1], [0.0, 0.0], [1.0, np.inf], [np.nan, 1.0]):
        with pytest.raises(
            ValueError, match="weights must be a finite number >= 0 for each of the 2 parts, not all of them 0"
        ):
            Blend(graph, [MF(graph), MF(graph)], weights)
    with pytest.raises(ValueError, match=r"weights must be 1e\+38 or less, .* got \[1e\+300, 1.0\]; divide all"):
        Blend(graph, [MF(graph), MF(graph)], [1e300, 1])
    with pytest.raises(TypeError, match="weights must be a list of numbers, got 5"):
        Blend(graph, [MF(graph)], 5)
    with pytest.raises(TypeError, match="weights must be a number"):
        Blend(graph, [MF(graph)], ["1"])
    with pytest.raises(ValueError, match="normalize must be one of"):
        Blend(graph, [MF(graph)], normalize="l1")
    events = {"user": [f"v{u}" for u in data.train.users], "item": data.item_ids[data.train.items]}
    renamed = make_dataset("other", events, user="user", item="item", split="none")
    with pytest.raises(ValueError, match="data has other"):
        Blend(data, [MF(renamed)])


def test_a_weight_of_0_asks_nothing_of_its_part(monkeypatch):
    graph = random_graph()
    idle = ItemKNN(graph)
    monkeypatch.setattr(idle, "scorer", lambda: pytest.fail("asked"))
    model = Blend(graph, [idle, MF(graph)], [0.0, 1.0])
    assert not model.ranks_by_vectors or model.recommend([0], 3)[0].shape == (1, 3)
    Blend(Graph.from_edges([0], [0]), [Popularity(Graph.from_edges([0], [0]))]).recommend([0], 1)
