"""Samplers of negatives in a configuration: their texts, and training with them."""

import dataclasses
import warnings

import pytest
import torch
from support import random_graph, same_bits_in_any_order

from fastgcn_rec import LightGCN, TrainConfig, fit, sample_batch
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.experiments.estimate import estimate_memory
from fastgcn_rec.negatives import Embeddings, PPRHard, Uniform, parse
from fastgcn_rec.training import Interrupted
from fastgcn_rec.training.steps.autograd import AutogradStep
from fastgcn_rec.training.steps.graphs import can_capture
from fastgcn_rec.training.steps.native import NativeStep

SMALL = {"epochs": 4, "batch_size": 128, "eval_every": 2, "progress": False, "protocol": "none"}
TRAINED = [
    "uniform(2)",
    "popularity(1)",
    "shared(20)",
    "shared(20, base=popularity(1))+in_batch()",
    "uniform(1)+dynamic(1, candidates=8, refresh=3)",
    "uniform(1)+semi_hard(1)",
    "uniform(1)+distance_weighted(1)",
    "curriculum(uniform(1), dynamic(1, candidates=16), cap=2)",
]


TEXTS = [
    "uniform(4)",
    "popularity(2, power=0.1)",
    "shared(500, base=popularity(1, power=0.75))",
    "in_batch()",
    "dynamic(2, candidates=32, refresh=8)",
    "semi_hard(1, margin=0.30000000000000004, candidates=64, refresh=1)",
    "distance_weighted(1, lo=0.5, hi=1.4, candidates=64, refresh=1)",
    "uniform(4)+ppr(2, lo=2000, hi=5000)",
    "curriculum(shared(5, base=uniform(1)), ppr(1, lo=2000, hi=5000, of='item'), start=1, per_epoch=1, cap=6)",
    "curriculum(uniform(1)+in_batch(), ppr(1, lo=2000, hi=5000), start=1, per_epoch=1, cap=6)+shared(3, base=uniform(1))",
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_round_trip(text):
    sampler = parse(text)
    assert str(sampler) == repr(sampler) == text
    assert parse(str(sampler)) == sampler
    assert TrainConfig(negatives=sampler) == TrainConfig(negatives=f" {text} ")
    assert dataclasses.asdict(TrainConfig(negatives=sampler))["negatives"] == text


def test_errors_of_texts_and_configurations():
    for text, message in (
        ("nearest(3)", "no sampler is called 'nearest'"),
        ("uniform", r"in brackets, as in uniform\(1\), got uniform;"),
        ("uniform(", "cannot read 'uniform\\('"),
        ("uniform(0)", r"n must be in \[1, 1048575\], got 0"),
        ("uniform('a')", "'a' is no number"),
        ("popularity(1, power='item')", "'item' is no number"),
        ("ppr(1, of=2)", "of must be 'user' or 'item', got 2"),
        ("3", "3 is no sampler"),
        ("uniform(1) * 2", "cannot read"),
        ("uniform(2, 3)", "cannot read"),
        ("__import__('os')", "no sampler is called '__import__'"),
        ("popularity(1, power=-1)", "power must be >= 0 and finite, got -1"),
        ("shared(5, base=uniform(2))", r"base names the law of one item.*got uniform\(2\)"),
        ("semi_hard(1, margin=0)", "margin must be > 0, got 0"),
        ("distance_weighted(1, lo=1.0, hi=2.0)", "0 < lo <= hi < 2, got 1.0 and 2.0"),
        ("ppr(1, lo=5, hi=5)", "lo must be below hi, got 5 and 5"),
        ("curriculum(uniform(1), in_batch())", "hard one with a count"),
        ("dynamic(1, candidates=2.5)", "candidates must be an integer, got 2.5"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(text)
    with pytest.raises(ValueError, match="the softmax takes the batch's positives"):
        TrainConfig(loss="softmax", negatives="uniform(1)")
    with pytest.raises(ValueError, match="leave n_neg at 1, got 2"):
        TrainConfig(n_neg=2, negatives="uniform(1)")
    with pytest.raises(ValueError, match="leaves out a part of the sampler"):
        TrainConfig(negatives=PPRHard(1, ranks=object()))


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(200, 150, 5000, seed=1)


def test_vectors_are_computed_at_most_once_a_step_and_kept_for_stale_ones():
    made = []
    source = Embeddings(lambda: made.append(1) or torch.full((1, 1), float(len(made))))
    graph = random_graph()
    users, pos, _ = sample_batch(graph, 4, 0, seed=0)
    Uniform(1)(graph, users, pos, seed=0, embeddings=source)
    assert made == []
    assert [float(source.at(t, 3)) for t in range(7)] == [1, 1, 1, 2, 2, 2, 3]
    assert float(source.at(7)) == float(source.at(7)) == 4
    other = Embeddings(source.compute)
    other.resume(8, source.state())  # between two refreshes
    assert float(other.at(8, 3)) == 3
    assert float(other.at(9, 3)) == 5
    other.resume(9, source.state())  # at one
    assert float(other.at(9, 3)) == 6


@pytest.mark.parametrize("text", TRAINED)
@pytest.mark.parametrize("loss", ["bpr", "max_margin"])
def test_training_lowers_the_loss_with_every_sampler(text, loss, data):
    """Held against one kind of negatives, because those trained on grow harder."""
    model = LightGCN(data, 16, 2)
    users, pos, neg = sample_batch(model.graph, 1000, 1, seed=9)
    before = float(model.bpr_loss(users, pos, neg).detach())
    fit(model, data, **SMALL, loss=loss, negatives=text, lr=5e-3)
    assert float(model.bpr_loss(users, pos, neg).detach()) < 0.95 * before


def test_one_uniform_negative_trains_to_the_bits_of_the_default(data):
    tables = []
    for options in ({"n_neg": 2}, {"negatives": "uniform(2)"}):
        model = LightGCN(data, 8, 2)
        fit(model, data, **SMALL, **options)
        tables.append(model.embedding.weight)
    assert torch.equal(*tables)


@pytest.mark.parametrize("text", TRAINED)
def test_the_native_step_and_autograd_train_alike(text, data):
    """In float64, where rounding moves no pick."""
    config, losses = TrainConfig(reg=0.01, batch_size=64, negatives=text, loss="max_margin"), []
    for kind in (NativeStep, AutogradStep):
        model = LightGCN(data, 16, 2).double()
        step = kind(model, config)
        losses.append(torch.stack([step(t, 0.01) for t in range(20)]))
    torch.testing.assert_close(*losses, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    "text",
    [
        "curriculum(uniform(1), dynamic(1, candidates=8, refresh=7), cap=3)",
        "curriculum(shared(10), popularity(1))+distance_weighted(1)",
    ],
)
@pytest.mark.parametrize("learn_alpha", [False, True])
def test_an_interrupted_run_goes_on_to_the_same_bits(text, learn_alpha, data, tmp_path):
    options = {**SMALL, "negatives": text, "lr": 0.01}

    def make():
        return LightGCN(data, 8, 2, learn_alpha=learn_alpha)

    straight, broken, resumed = make(), make(), make()
    fit(straight, data, **options)

    def stop(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    path = tmp_path / "checkpoint.npz"
    with pytest.raises(Interrupted):
        fit(broken, data, **options, checkpoint=path, on_epoch=stop)
    fit(resumed, data, **options, checkpoint=path)
    assert torch.equal(resumed.embedding.weight, straight.embedding.weight)
    with pytest.raises(ValueError, match="another config"):
        fit(make(), data, **{**options, "negatives": "uniform(1)"}, checkpoint=path)


def test_the_same_training_for_any_number_of_threads(data):
    def run():
        model = LightGCN(data, 8, 2)
        fit(model, data, **{**SMALL, "epochs": 2}, negatives="shared(9)+dynamic(1, candidates=8)+popularity(1)")
        return [model.embedding.weight.detach().clone()]

    same_bits_in_any_order(run, torch.device("cpu"), counts=(2,))


def test_the_memory_estimate_counts_the_negatives():
    sizes = 5000, 4000, 90_000, 16, 2
    own, shared = (estimate_memory(*sizes, TrainConfig(negatives=text)) for text in ("uniform(64)", "shared(64)"))
    assert own == estimate_memory(*sizes, TrainConfig(n_neg=64))
    assert shared.batch < own.batch
    grown = estimate_memory(*sizes, TrainConfig(negatives="curriculum(uniform(1), popularity(1), cap=63)"))
    assert grown == own


def test_what_cannot_be_captured_says_so():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in ("", "uniform(2)", "shared(5)+in_batch()+popularity(1)", "dynamic(1)"):
            assert can_capture(TrainConfig(negatives=text))
    for text in ("ppr(1)", "dynamic(1, refresh=2)", "curriculum(uniform(1), popularity(1))", "uniform(1)+ppr(1)"):
        with pytest.warns(UserWarning, match=r"are decided on the host .* is not captured as a CUDA graph"):
            assert not can_capture(TrainConfig(negatives=text))
