"""A validation part of the data set's own: the epoch is chosen on it, a refit trains on it too, and nothing else changes."""

import contextlib
import dataclasses
import signal

import numpy as np
import pytest
import torch
from every_model import TRAINED, pinsage
from support import watch_steps

from fastgcn_rec import MF, Graph, Indexed, LightGCN, Recommender, TrainConfig, TwoStage, evaluate, fit
from fastgcn_rec.data import Edges, Interactions, make_dataset, synthetic_interactions
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.system.archives import load_arrays, save_arrays
from fastgcn_rec.training import Interrupted, choice

QUICK = {"epochs": 4, "eval_every": 2, "batch_size": 128, "lr": 0.05, "progress": False}


def timed(n=900, seed=0, **options):
    rng = np.random.default_rng(seed)
    events = Interactions.from_raw(
        rng.integers(40, size=n), rng.integers(30, size=n), rng.uniform(1, 5, n), rng.permutation(n)
    )
    return make_dataset("timed", events, **{"split": "temporal-user"} | options)


@pytest.fixture(scope="module")
def data():
    return timed()


@pytest.fixture(scope="module")
def own():
    return timed(valid=0.1)


def numbers(model):
    return [p.detach().clone() for p in model.parameters()]


def records(history):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in [*history.epochs, {}, *history.refit]]


def same(one, other):
    return all(map(torch.equal, numbers(one), numbers(other)))


def judged(monkeypatch):
    """What the epochs of a training are evaluated on: (edges, what is left out)."""
    seen = []

    def spy(model, edges, exclude, **options):
        seen.append((edges, exclude))
        return evaluate(model, edges, exclude, **options)

    monkeypatch.setattr(choice, "evaluate", spy)
    return seen


def pairs(edges):
    users, items = edges.edges() if isinstance(edges, Graph) else (edges.users, edges.items)
    return set(zip(users.tolist(), items.tolist(), strict=True))


# --- what is chosen on ------------------------------------------------------------------------------------------------


def test_the_epoch_is_chosen_on_the_part_that_there_is(data, own, monkeypatch):
    seen = judged(monkeypatch)
    given = data.split_valid(0.3, seed=9)[1]
    latest = data.split_valid(0.2, by="temporal")[1]
    cases = [
        (own, {}, "validation (own part)", own.valid, own.train),
        (own, {"valid_split": "temporal", "valid_fraction": 0.5}, "validation (own part)", own.valid, own.train),
        (data, {"valid": given}, "validation (own part)", given, None),
        (data, {"valid_split": "temporal", "valid_fraction": 0.2}, "validation (latest)", latest, None),
        (data, {}, "validation", data.split_valid(0.1)[1], None),
        (own, {"protocol": "published"}, "test (published protocol)", own.test, None),
        (own, {"protocol": "none"}, "none", None, None),
    ]
    for of, options, named, edges, left_out in cases:
        seen.clear()
        model = MF(of, 8)
        whole = model.graph
        assert fit(model, of, **QUICK, **options).chosen_on == named
        assert model.graph is whole
        assert len(seen) == (0 if edges is None else 2)
        for found, exclude in seen:
            assert pairs(found) == pairs(edges)
            known = pairs(of.train) if left_out is None else pairs(left_out)
            published = options.get("protocol") == "published"
            assert pairs(exclude) == (known | pairs(of.valid) if published else known - pairs(edges))


def test_the_latest_of_each_user_are_held_out_and_data_without_times_refused(data, monkeypatch):
    seen = judged(monkeypatch)
    fit(MF(data, 8), data, **QUICK, valid_split="temporal")
    when = {(u, i): t for u, i, t in zip(data.train.users, data.train.items, data.train.time, strict=True)}
    held, kept = (pairs(part) for part in seen[0])
    for user in {u for u, _ in held}:
        assert min(when[p] for p in held if p[0] == user) > max(when[p] for p in kept if p[0] == user)
    bare = synthetic_interactions(50, 40, 400)
    with pytest.raises(ValueError, match=r"valid_split='temporal' .* has no times; pass valid_split='random'"):
        fit(MF(bare, 8), bare, **QUICK, valid_split="temporal")
    with pytest.raises(ValueError, match="valid_split must be one of"):
        TrainConfig(valid_split="weekly")


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("kind", TRAINED)
def test_the_part_that_would_be_held_out_anyway_gives_the_same_bits_when_it_is_passed(kind, refit, data):
    options = QUICK | {"refit": refit, "epochs": 2}
    plain, passed = TRAINED[kind](data), TRAINED[kind](data)
    held = data.split_valid(0.1, seed=0)[1]
    expected = fit(plain, data, **options)
    found = fit(passed, data, **options, valid=held)
    assert records(found) == records(expected)
    assert same(plain, passed)
    assert pairs(passed.graph) == pairs(data.train)


@pytest.mark.parametrize("refit", [False, True])
def test_a_data_set_with_the_part_trains_as_with_the_part_passed(refit, data):
    held = data.split_valid(0.1, seed=0)[1]
    raw = Interactions.from_raw(data.user_ids[held.users], data.item_ids[held.items])
    own = data.with_valid(held)
    one, two, three = LightGCN(own, 8, 1), LightGCN(data, 8, 1), LightGCN(data, 8, 1)
    options = QUICK | {"refit": refit}
    found = [
        fit(one, own, **options),
        fit(two, data, **options, valid=held),
        fit(three, data, **options, valid=raw),
    ]
    assert records(found[0]) == records(found[1]) == records(found[2])
    assert same(one, two)
    assert same(one, three)


# --- the refit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRAINED)
def test_a_refit_is_on_train_and_valid_for_the_chosen_number_of_epochs(kind, own, tmp_path):
    model = TRAINED[kind](own)
    history = fit(model, own, **QUICK, refit=True)
    assert len(history.refit) == history.best_epoch > 0
    assert pairs(model.graph) == pairs(own.train) | pairs(own.valid)
    if not kind.startswith("PinSAGE"):  # whose features are fitted on the items that its graph has
        plain = TRAINED[kind](own.graph(parts=("train", "valid")))
        fit(plain, own, **QUICK | {"epochs": history.best_epoch}, protocol="none")
        assert same(plain, model)
    model.save(tmp_path / "m.npz")
    for found in (model, Recommender.load(tmp_path / "m.npz")):
        assert pairs(found.graph) == pairs(own.train) | pairs(own.valid)
        assert evaluate(found, own)["n_users_evaluated"] > 0
        assert evaluate(found, own) == evaluate(found, own.test)  # valid is in the graph


def test_a_refitted_model_is_taken_where_the_data_set_is(own):
    class First:
        def fit(self, x, y): ...

        def predict(self, x):
            return x[:, 0]

    model, again = MF(own, 8), MF(own, 8)
    fit(model, own, **QUICK, refit=True)
    before = pairs(model.graph)
    fit(again, own, **QUICK)
    fit(model, own, **QUICK)  # goes on from where it is: its graph stays, and what is chosen on is not trained on
    assert pairs(model.graph) == before
    assert evaluate(Indexed(model), own)["n_users_evaluated"] > 0
    part, _ = own.split_valid(0.2)
    two = TwoStage(MF(part, 8), First(), serving=model, n_candidates=20).fit(own)
    assert two.training.n_rows > 0
    shown = two.ranked(two.graph, torch.arange(own.n_users), 20)
    assert not before & {
        (u, i) for block, ids, _ in shown for u, row in zip(block.tolist(), ids.tolist(), strict=True) for i in row
    }
    other = dataclasses.replace(own, valid=own.valid.select(np.arange(len(own.valid) - 5)))
    with pytest.raises(ValueError, match="5 are no training edges of timed"):
        fit(model, other, **QUICK)
    with pytest.raises(ValueError, match="5 are no training edges of timed"):
        evaluate(model, other)


def test_weights_of_the_part_are_those_of_the_refit():
    own = timed(valid=0.1, weight="rating")
    model = LightGCN(own, 8, 1)
    fit(model, own, **QUICK, refit=True)
    whole = own.graph(parts=("train", "valid"))
    assert model.graph.fingerprint() == whole.fingerprint()
    unweighted = LightGCN(Graph.from_edges(own.train.users, own.train.items, own.n_users, own.n_items), 8, 1)
    fit(unweighted, own, **QUICK, refit=True)
    assert unweighted.graph.weight is None
    bare = dataclasses.replace(own, valid=Edges(own.valid.users, own.valid.items))
    epochs = []
    with pytest.raises(ValueError, match=r"that of timed has no weights, .*Edges\(..., weight=\).* refit=False"):
        fit(LightGCN(bare, 8, 1), bare, **QUICK, refit=True, on_epoch=epochs.append)
    assert not epochs
    fit(LightGCN(bare, 8, 1), bare, **QUICK)


def test_a_window_of_time_needs_the_times_of_the_part_before_training(data, own):
    model = pinsage(own, window=500)
    fit(model, own, **QUICK | {"epochs": 2}, refit=True, loss="softmax")
    assert pairs(model.graph) == pairs(own.train) | pairs(own.valid)
    bare = synthetic_interactions(50, 40, 400, seed=4)
    timed_train = dataclasses.replace(
        bare, train=dataclasses.replace(bare.train, time=np.arange(len(bare.train))), test=Edges([], [])
    )
    model, epochs = pinsage(timed_train, window=500), []
    with pytest.raises(ValueError, match="window needs the times of all pairs"):
        fit(model, timed_train, **QUICK, refit=True, loss="softmax", valid=bare.test, on_epoch=epochs.append)
    assert not epochs


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.train is not None])
def test_every_recipe_trains_on_data_with_a_part(name, own):
    recipe = RECIPES[name]
    model = recipe.make_model(own, **{option: 8 for option in recipe.model_options if option == "embedding_dim"})
    config = recipe.training().replaced(epochs=2, eval_every=1)
    history = fit(model, own, config, progress=False)
    assert history.chosen_on == (
        "validation (own part)" if config.protocol == "validation" else "test (published protocol)"
    )
    assert pairs(model.graph) == (pairs(own.train) | pairs(own.valid) if config.refit else pairs(own.train))
    assert evaluate(model, own)["n_users_evaluated"] > 0


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same_model", [False, True])
@pytest.mark.parametrize("passed", [False, True])
def test_an_interruption_in_any_step_of_either_half_changes_no_bit(
    same_model, passed, data, own, tmp_path, monkeypatch
):
    of = data if passed else own
    options = QUICK | {"refit": True} | ({"valid": data.split_valid(0.2, seed=3)[1]} if passed else {})
    straight, path = LightGCN(of, 8, 1), tmp_path / "c.npz"
    whole, taken = fit(straight, of, **options), 0

    def stop(step, t, lr):
        nonlocal taken
        taken += 1
        signal.raise_signal(signal.SIGINT)
        return step(t, lr)

    watch_steps(monkeypatch, stop)
    model, stops = LightGCN(of, 8, 1), 0
    for _ in range(100):
        model = model if same_model else LightGCN(of, 8, 1)
        graph = model.graph
        with contextlib.suppress(Interrupted):
            history = fit(model, of, **options, checkpoint=path)
            break
        stops += 1
        assert model.graph is graph
    assert stops == taken > len(whole.epochs)
    assert records(history) == records(whole)
    assert same(model, straight)
    assert pairs(model.graph) == pairs(straight.graph)
    watch_steps(monkeypatch, None)  # nothing is left to be done, of the same model either
    for again in (LightGCN(of, 8, 1), model):
        assert records(fit(again, of, **options, checkpoint=path)) == records(whole)
        assert same(again, straight)


def test_a_checkpoint_is_of_its_part(data, own, tmp_path):
    path, held = tmp_path / "c.npz", data.split_valid(0.1, seed=3)[1]
    fit(MF(data, 8), data, **QUICK, valid=held, checkpoint=path)
    others = ({}, {"valid": data.split_valid(0.1, seed=4)[1]}, {"valid_split": "temporal"})
    for other in others:
        with pytest.raises(ValueError, match="was made with another"):
            fit(MF(data, 8), data, **QUICK, **other, checkpoint=path)
    path.unlink()
    fit(MF(data, 8), data, **QUICK, checkpoint=path)
    with pytest.raises(ValueError, match="was made with another"):
        fit(MF(data, 8), data, **QUICK, valid=held, checkpoint=path)


def test_a_checkpoint_of_before_there_was_valid_split_goes_on(data, tmp_path, monkeypatch):
    path, straight = tmp_path / "c.npz", MF(data, 8)
    whole = fit(straight, data, **QUICK, checkpoint=path)
    meta, arrays = load_arrays(path, "checkpoint")
    assert meta["identity"]["config"].pop("valid_split") == "random"
    save_arrays(path, meta, arrays)
    with pytest.raises(ValueError, match="was made with another config"):
        fit(MF(data, 8), data, **QUICK, valid_split="temporal", checkpoint=path)
    watch_steps(monkeypatch, None)
    resumed = MF(data, 8)
    assert fit(resumed, data, **QUICK, checkpoint=path) == whole
    assert same(resumed, straight)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"valid": Edges([], [])}, ValueError, r"fit: valid has no edges.* leave it out .* protocol='none'"),
        (
            {"valid": Edges([0], [1]), "protocol": "none"},
            ValueError,
            "fit: valid is what protocol='validation' chooses",
        ),
        ({"valid": Edges([0], [1]), "protocol": "published"}, ValueError, "protocol is 'published'"),
        ({"valid": Edges([0], [99])}, ValueError, r"valid.items must lie in \[0, 30\)"),
        ({"valid": Interactions.from_raw([0, 77], [1, 1])}, ValueError, "valid holds 1 id that is not .* timed: 77"),
        ({"valid": 0.1}, TypeError, "valid must be Edges of internal ids, .* got float"),
    ],
)
def test_what_is_no_part_is_refused_before_training(options, error, message, data):
    model = MF(data, 8)
    graph, before = model.graph, numbers(model)
    with pytest.raises(error, match=message):
        fit(model, data, **QUICK | options)
    assert model.graph is graph
    assert all(map(torch.equal, numbers(model), before))


def test_a_part_that_takes_all_edges_leaves_nothing_to_train_on(data):
    with pytest.raises(ValueError, match="timed has no training edges"):
        fit(MF(data, 8), data, **QUICK, valid=data.train)
