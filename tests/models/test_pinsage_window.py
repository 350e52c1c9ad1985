"""PinSAGE's queries within a window of time: who is drawn, from which graph, the same bits, files, errors."""

import dataclasses

import numpy as np
import pytest
import torch
from every_item import COLUMNS, PAPER, items
from support import random_graph, same_bits_in_any_order

from fastgcn_rec import PinSAGE, Recommender, TrainConfig, fit
from fastgcn_rec.data import Dataset, Interactions, make_dataset, synthetic_interactions
from fastgcn_rec.features import Categorical, Features
from fastgcn_rec.models.pinsage.window import Events, PairTimes
from fastgcn_rec.negatives import Negatives
from fastgcn_rec.training.steps.make import make_step

SIZES = {"embedding_dim": 8, "hidden_dim": 16, "top": 5, "n_walks": 20}


def with_times(seed=1, kind=np.int64, span=40):
    """Events at few different times, so that many fall on a window's ends."""
    dataset = synthetic_interactions(60, 50, 700, seed=1)
    time = np.random.default_rng(seed).integers(0, span, len(dataset.train)).astype(kind)
    if kind == np.float64:
        time = time / 4  # exact
    return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, time=time))


def model_of(dataset, **options):
    options = {**PAPER, **SIZES, "history": 4, "window": 5, **options}
    return PinSAGE(dataset, Features(COLUMNS), items(dataset.n_items), **options)


def times_of(dataset):
    return PairTimes.of(dataset)


def time_of(dataset):
    edges = dataset.train
    return dict(zip(zip(edges.users.tolist(), edges.items.tolist(), strict=True), edges.time.tolist(), strict=True))


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize("window", [0, 2.5, 7, 1e30])
def test_items_within_the_window_are_drawn_equally_often_and_no_others(kind, window):
    dataset = with_times(kind=kind)
    when, graph = time_of(dataset), dataset.graph()
    users, columns = graph.edges()
    left = graph.without_edges(users[::5], columns[::5])
    events = Events(left, times_of(dataset), window)
    there = {}
    for user, item in zip(*(e.tolist() for e in left.edges()), strict=True):
        there.setdefault(user, []).append(item)
    users, columns, draws = users[::5], columns[::5], 4000
    drawn = events.draw(users, columns, draws, 3, 0).view(-1, draws)
    sizes = set()
    for user, item, row in zip(users.tolist(), columns.tolist(), drawn, strict=True):
        near = [j for j in there.get(user, []) if abs(when[user, j] - when[user, item]) <= window]
        found, counts = row.unique(return_counts=True)
        assert found.tolist() == (sorted(near) or [-1])
        assert (counts - draws / len(found)).abs().max() < 6 * (draws / len(found)) ** 0.5
        sizes.add(len(near))
    assert len(sizes) >= (2 if window == 0 else 3)
    assert window >= 7 or 0 in sizes


def test_a_window_reaches_as_far_from_a_pair_that_is_taken_out_of_the_graph():
    # The times left, 10 and 20, span less than the window, and the pair's own lies outside of them.
    train = Interactions.from_raw([1, 1, 1], [1, 2, 3], time=[0, 10, 20])
    dataset = make_dataset("toy", train, split="none")
    pair = torch.tensor([0]), torch.from_numpy(dataset.items_of([1]))
    events = Events(dataset.graph().without_edges(*pair), times_of(dataset), 15)
    assert dataset.item_ids[events.draw(*pair, 3, 0, 0)].tolist() == [2, 2, 2]


def test_long_times_are_exact():
    start = 2**60 + 1  # not a float64
    train = Interactions.from_raw([1, 1, 1, 1], [1, 2, 3, 4], time=[start, start + 3, start + 4, start - 4])
    dataset = make_dataset("toy", train, split="none")
    pair = torch.tensor([0]), torch.from_numpy(dataset.items_of([1]))
    first, count = Events(dataset.graph().without_edges(*pair), times_of(dataset), 3.9).near(*pair)
    assert (first.tolist(), count.tolist()) == ([1], [1])


def test_a_repeated_pair_has_the_time_of_its_first_event():
    train = Interactions.from_raw([1, 1, 1], [1, 2, 1], time=[30, 31, 10])
    dataset = make_dataset("toy", train, split="none")
    users, columns = dataset.graph().edges()
    assert sorted(times_of(dataset).at(users, columns).tolist()) == [10, 31]


@pytest.mark.parametrize("protocol", ["none", "validation"])
def test_queries_come_from_the_graph_that_is_trained_on(protocol, monkeypatch):
    """What is drawn is near in time, in the round's graph and thus neither held out nor to be predicted."""
    dataset = with_times()
    when, seen = time_of(dataset), []
    draw = Events.draw

    def spy(self, users, columns, width, seed, step):
        drawn = draw(self, users, columns, width, seed, step)
        seen.append((users, columns, drawn.view(-1, width), model.rounds.now, model.graph))
        return drawn

    monkeypatch.setattr(Events, "draw", spy)
    model = model_of(dataset, round_share=0.2)
    fit(model, dataset, epochs=1, batch_size=32, loss="softmax", protocol=protocol, progress=False)
    held_out = set(zip(*(e.tolist() for e in model.graph.edges()), strict=True))
    assert held_out == set(when)
    some = 0
    for users, columns, drawn, now, graph in seen:
        assert (graph.n_edges < len(when)) is (protocol == "validation")
        left = set(zip(*(e.tolist() for e in now.graph.edges()), strict=True))
        trained = set(zip(*(e.tolist() for e in graph.edges()), strict=True))
        assert left < trained
        for user, item, row in zip(users.tolist(), columns.tolist(), drawn.tolist(), strict=True):
            for other in row:
                if other >= 0:
                    assert (user, other) in left
                    assert other != item
                    assert abs(when[user, other] - when[user, item]) <= 5
                    some += 1
    assert some > 1000


@pytest.mark.parametrize(("loss", "n_neg"), [("softmax", 0), ("bpr", 2)])
def test_a_pair_without_items_near_is_left_out(loss, n_neg):
    dataset = with_times()
    alone = dataclasses.replace(dataset.train, time=np.arange(len(dataset.train)))  # nobody has two events at a time
    model = model_of(dataclasses.replace(dataset, train=alone), window=0.5)
    config = TrainConfig(batch_size=16, loss=loss, reg=0.0)
    users, pos, negatives = make_step(model, TrainConfig(batch_size=16, loss="bpr", n_neg=max(1, n_neg))).batches(
        0, 0, 0
    )
    out = Negatives(negatives.ids[:, :n_neg])
    model.batch_loss(config, 0, users, pos, out).backward()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)
    model.rounds.window = model.rounds.now = None
    model.batch_loss(config, 0, users, pos, out).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.table.grad.any()


def test_pairs_of_a_session_teach_what_belongs_together():
    """Two kinds of items that a user has alternately, a day each: only within a window are they told apart."""
    rng, rows = np.random.default_rng(0), []
    for user in range(60):
        for day in range(8):
            rows += [(user, 2 * n + day % 2, 100 * day + n) for n in rng.choice(15, 4, replace=False)]
    users, columns, time = np.array(rows).T
    dataset = make_dataset("days", Interactions.from_raw(users, columns, time=time), split="none")

    def gap(window):
        model = PinSAGE(
            dataset, Features({"id": Categorical()}), {"id": dataset.item_ids}, **SIZES, num_layers=0, history=1, window=window
        )  # fmt: skip
        fit(model, dataset, epochs=6, batch_size=64, loss="softmax", lr=0.01, reg=0.0, protocol="none", progress=False)
        z = model.get_embedding()[model.n_users :].detach()
        alike = torch.from_numpy(dataset.item_ids[:, None] % 2 == dataset.item_ids % 2)
        cosines = z @ z.T
        return float(cosines[alike].mean() - cosines[~alike].mean())

    assert gap(20) > gap(None) + 0.2


def test_resuming_gives_the_bits_of_going_through(tmp_path):
    dataset, file = with_times(), tmp_path / "state.npz"
    options = {"batch_size": 64, "loss": "softmax", "lr": 0.01, "eval_every": 1, "patience": 0, "progress": False}
    through, first, resumed = (model_of(dataset) for _ in range(3))
    fit(through, dataset, epochs=4, **options)
    fit(first, dataset, epochs=2, checkpoint=file, **options)
    fit(resumed, dataset, epochs=4, checkpoint=file, **options)
    for a, b in zip(through.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="another model"):
        fit(model_of(dataset, window=6), dataset, epochs=4, checkpoint=file, **options)


def test_a_checkpoint_of_other_times_is_refused(tmp_path):
    dataset, file = with_times(), tmp_path / "state.npz"
    train = dataclasses.replace(dataset.train, time=dataset.train.time[::-1].copy())
    other = dataclasses.replace(dataset, train=train)
    assert other.fingerprint() == dataset.fingerprint()
    options = {"batch_size": 64, "loss": "softmax", "protocol": "none", "progress": False, "checkpoint": file}
    fit(model_of(dataset), dataset, epochs=1, **options)
    with pytest.raises(ValueError, match="another data"):
        fit(model_of(other), other, epochs=2, **options)
    fit(model_of(dataset), dataset, epochs=2, **options)


def test_the_same_bits_for_any_number_of_threads():
    dataset = with_times()

    def run():
        model = model_of(dataset)
        fit(model, dataset, epochs=1, batch_size=100, loss="softmax", lr=0.01, protocol="none", progress=False)
        return [p.detach() for p in model.parameters()]

    same_bits_in_any_order(run, torch.device("cpu"))


def test_a_model_from_a_file_says_that_it_needs_times(tmp_path):
    dataset = with_times()
    options = {"epochs": 1, "batch_size": 100, "loss": "softmax", "protocol": "none", "progress": False}
    model = model_of(dataset)
    model.save(tmp_path / "m.npz")
    again = Recommender.load(tmp_path / "m.npz")
    assert again.config() == model.config()
    assert again.options["window"] == 5
    assert torch.equal(again.get_embedding(), model.get_embedding())
    grown = model.with_items(items(1), [[0]])
    assert grown.get_embedding().isfinite().all()
    for loaded in (again, grown):
        with pytest.raises(ValueError, match=r"window=5.0 needs times, .* use_times\(dataset\)"):
            loaded.batch_loss(
                TrainConfig(batch_size=4, loss="softmax"),
                0,
                *(torch.tensor([0, 1, 2, 3]),) * 2,
                Negatives(torch.empty(4, 0, dtype=torch.int64)),
            )
    fit(again.use_times(dataset), dataset, **options)
    fit(model, dataset, **options)
    assert torch.equal(again.get_embedding(), model.get_embedding())
    with pytest.raises(ValueError, match=r"the model is for 60 users and 51 items, .* has 60 and 50"):
        grown.use_times(dataset)


def test_errors_say_what_is_missing():
    dataset = with_times()
    for window in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"window must be >= 0 and finite, or None, got {window}"):
            model_of(dataset, window=window)
    timeless = synthetic_interactions(60, 50, 700, seed=1)
    assert isinstance(timeless, Dataset)
    timeless = dataclasses.replace(timeless, train=dataclasses.replace(timeless.train, time=None))
    with pytest.raises(ValueError, match=r"window needs times, but .* has none; leave window at None"):
        model_of(timeless)
    with pytest.raises(ValueError, match=r"window needs times, and a Graph has none; pass a Dataset"):
        model_of(random_graph())
    fewer, _ = dataset.split_valid(0.5)
    with pytest.raises(ValueError, match=r"are no training edges of .*; make the model from this data set"):
        model_of(dataset).use_times(fewer)
    with pytest.raises(ValueError, match="lacks some; train on the Dataset"):
        PairTimes.of(fewer).at(*dataset.graph().edges())


def test_times_between_which_nothing_can_be_learnt_are_refused():
    dataset = with_times()
    apart = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, time=np.arange(len(dataset.train))))
    with pytest.raises(ValueError, match=r"no user has two within window=0\.0: nothing can be learnt"):
        fit(model_of(apart, window=0), apart, epochs=1, loss="softmax", protocol="none", progress=False)
