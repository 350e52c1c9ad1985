"""Tuning: what it finds is no worse than what it began from, on edges of train alone, whatever interrupts it."""

import dataclasses
import inspect
import json
import math
import signal
import sys

import numpy as np
import pytest

from fastgcn_rec import IALS, MF, Recommender, TrainConfig, evaluate, fit
from fastgcn_rec.data import Edges, synthetic_interactions
from fastgcn_rec.experiments import RECIPES, Recipe, read_recipe, tune
from fastgcn_rec.experiments import trials as trials_module
from fastgcn_rec.experiments.study import Study, Trial
from fastgcn_rec.experiments.trials import value_in
from fastgcn_rec.experiments.tune import recipe_of
from fastgcn_rec.models.space import Tunable

TRAIN = TrainConfig(epochs=6, loss="softmax", batch_size=256, lr=3e-3, lr_schedule="linear", warmup=0.2, eval_every=3, patience=0, refit=True)  # fmt: skip
MF4 = Recipe("MF", {"embedding_dim": 4, "init_std": 0.01}, TRAIN, "")
SPACE = (Tunable("train.lr", 1e-3, 1e-1, log=True), Tunable("train.logq", 0.0, 1.0), Tunable("init_std", 1e-3, 0.3, log=True))  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(80, 60, 1100, dim=4, seed=1)


def without_times(trials):
    """What of trials does not depend on the clock."""
    return [dataclasses.replace(trial, seconds=0.0, value=str(trial.value)) for trial in trials]


def searched(data, **options):
    return tune(data, MF4, space=SPACE, progress=False, **options)


@pytest.fixture(scope="module")
def whole(data):
    return searched(data, trials=14)


def test_it_begins_with_the_recipe_as_fit_judges_it_and_ends_no_worse(data, whole):
    history = fit(MF(data, 4, init_std=0.01), data, TRAIN, progress=False)
    first = whole.trials[0]
    assert (first.stage, first.value, first.epochs) == ("full", history.best_metric, 6)
    assert whole.value == max(trial.value for trial in whole.trials if trial.state == "done") > first.value
    model = whole.recipe.make_model(data, seed=0)
    assert fit(model, data, whole.recipe.training(), progress=False).best_metric == whole.value
    assert whole.recipe.training().refit
    assert f"recall@20 {whole.value:.4f} on the validation part" in whole.recipe.expected


def test_short_trainings_come_first_and_the_best_of_three_in_full(whole):
    stages = [trial.stage for trial in whole.trials]
    assert stages[:6] == ["full", "short", "short", "short", "short", "full"]
    short = [trial for trial in whole.trials[1:5] if trial.state == "done"]
    promoted = whole.trials[5].params
    assert promoted == max((t for t in short if t.params != whole.trials[0].params), key=lambda t: t.value).params
    assert {trial.epochs for trial in whole.trials if trial.stage == "short" and trial.state == "done"} == {2}
    tried = [json.dumps(trial.params) for trial in whole.trials if trial.stage == "short"]
    assert len(set(tried)) == len(tried)


def test_the_test_part_plays_no_part(data, whole):
    rng = np.random.default_rng(0)
    other = Edges(rng.integers(0, 80, 300), rng.integers(0, 60, 300))
    for test in (other, data.test.select(slice(0, 0))):
        assert without_times(searched(dataclasses.replace(data, test=test), trials=4).trials) == without_times(whole.trials[:4])  # fmt: skip


def test_another_seed_tries_other_values(data, whole):
    other = searched(data, trials=3, seed=1).trials
    assert without_times(other[:2]) == without_times(whole.trials[:2])
    assert other[2].params != whole.trials[2].params


def interrupting(monkeypatch, at, what):
    """``what`` happens within fit, after every epoch whose number in the process is in ``at``; the list of epochs that were trained."""
    seen = []

    def fitted(*arguments, on_epoch, **options):
        def watched(record):
            seen.append(int(record["epoch"]))
            if len(seen) in at:
                what()
            on_epoch(record)

        return fit(*arguments, on_epoch=watched, **options)

    monkeypatch.setattr(trials_module, "fit", fitted)
    return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_interrupted_goes_on_to_the_same_trials_and_trains_no_epoch_twice(data, whole, tmp_path, monkeypatch, number):  # fmt: skip
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    seen = interrupting(monkeypatch, {2, 7, 9, 14}, lambda: signal.raise_signal(number))
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt, match=rf"interrupted in trial \d: all is saved in {tmp_path}") as caught:
            searched(data, trials=8, out=tmp_path)
        assert caught.value.signal == number
    found = searched(data, trials=8, out=tmp_path)
    signal.signal(signal.SIGTERM, handler)
    assert without_times(found.trials) == without_times(whole.trials[:8])
    assert len(seen) == sum(trial.epochs for trial in found.trials)
    assert read_recipe(tmp_path / "recipe.toml") == found.recipe
    assert not (tmp_path / "trial.npz").exists()
    seen.clear()
    again = searched(data, trials=8, out=tmp_path)
    assert (again.trials, again.recipe, seen) == (found.trials, found.recipe, [])


def test_what_was_killed_goes_on_with_all_that_it_was_judged_by_before(data, whole, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Passes by all that writes, as a kill does."""

    def kill():
        raise Killed

    interrupting(monkeypatch, {5}, kill)
    with pytest.raises(Killed):
        searched(data, trials=3, out=tmp_path)
    begun = json.loads((tmp_path / "study.json").read_text())["begun"]
    assert [part for part, _ in begun["values"]] == [0.5]  # epoch 3 of 6, which the checkpoint has too
    assert begun["seconds"] > 0
    assert without_times(searched(data, trials=3, out=tmp_path).trials) == without_times(whole.trials[:3])


def test_a_trial_whose_checkpoint_is_lost_begins_anew(data, whole, tmp_path, monkeypatch):
    interrupting(monkeypatch, {7}, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        searched(data, trials=3, out=tmp_path)
    assert json.loads((tmp_path / "study.json").read_text())["begun"]["stage"] == "short"
    (tmp_path / "trial.npz").unlink()
    assert without_times(searched(data, trials=3, out=tmp_path).trials) == without_times(whole.trials[:3])


def test_minutes_cut_a_training_at_an_epoch_and_more_of_them_go_on(data, whole, tmp_path, monkeypatch):
    seen = interrupting(monkeypatch, (), lambda: None)
    found = searched(data, minutes=1e-9, out=tmp_path)
    assert (found.trials, seen, found.stopped) == ([], [1], "1e-09 minutes are over, within trial 0")
    assert math.isnan(found.value)
    assert found.recipe == MF4
    assert not (tmp_path / "recipe.toml").exists()
    assert searched(data, minutes=1e-9, out=tmp_path).stopped == "1e-09 minutes are over"
    more = searched(data, minutes=5, trials=3, out=tmp_path)
    assert without_times(more.trials) == without_times(whole.trials[:3])
    assert len(seen) == sum(trial.epochs for trial in more.trials)
    assert sum(trial.seconds for trial in more.trials) < 300


def test_a_model_without_training_is_judged_on_what_is_held_out(data, tmp_path):
    found = tune(data, "ease", trials=6, metric="ndcg@10", valid_fraction=0.2, out=tmp_path, progress=False)
    part, held = data.split_valid(0.2, seed=0)
    for trial in found.trials:
        model = Recommender.registry["EASE"](part, reg=trial.params["reg"])
        assert trial.value == pytest.approx(evaluate(model, held, part.graph(), ks=10)["ndcg@10"], abs=1e-12)
    assert found.value == max(trial.value for trial in found.trials)
    assert found.recipe.model_options["reg"] == max(found.trials, key=lambda trial: trial.value).params["reg"]
    assert read_recipe(tmp_path / "recipe.toml") == found.recipe
    lines = found.table(3).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["trial", "ndcg@10", "epochs", "seconds", "reg"]


def test_a_validation_part_of_the_data_is_what_judges(data):
    own = data.with_valid(data.split_valid(0.3, seed=5)[1])
    first = tune(own, MF4, trials=1, progress=False).trials[0]
    assert first.value == fit(MF(own, 4, init_std=0.01), own, TRAIN, progress=False).best_metric


def test_a_correction_by_density_is_varied_from_what_it_comes_to(data):
    recipe = dataclasses.replace(MF4, train=dataclasses.replace(TRAIN, logq_density=2.0))
    found = tune(data, recipe, trials=3, space=SPACE, progress=False)
    part = data.with_valid(data.split_valid(TRAIN.valid_fraction, seed=0)[1])
    own = recipe.train.logq_on(part.graph())
    assert 0 < own < 1
    assert [trial.params["train.logq"] for trial in found.trials[:2]] == [own, own]
    same = dataclasses.replace(recipe, train=dataclasses.replace(TRAIN, logq=own))
    assert tune(data, same, trials=2, space=SPACE, progress=False).trials[1].value == found.trials[1].value


def test_options_that_are_left_to_the_data_are_varied_from_what_they_come_to(data):
    found = tune(data, Recipe("IALS", {"embedding_dim": 8, "iterations": 2}, None, ""), trials=3, progress=False)
    own = IALS.left_to(data.with_valid(data.split_valid(0.1, seed=0)[1]).graph())
    first = found.trials[0].params
    assert {name: first[name] for name in own} == own
    assert all(None not in trial.params.values() for trial in found.trials)


def test_less_of_a_metric_may_be_better(data):
    found = tune(data, "ease", trials=6, metric="gini@10", progress=False)
    assert found.value == min(trial.value for trial in found.trials) < max(trial.value for trial in found.trials)


def test_what_does_not_work_is_noted_and_the_others_go_on(data):
    space = (Tunable("train.lr", 1e-3, 1e-2), Tunable("train.batch_size", choices=(256, 1)))  # the softmax takes 2
    found = tune(data, MF4, trials=8, space=space, progress=False)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert failed
    assert all(trial.params["train.batch_size"] == 1 and "batch_size must be >= 2" in trial.error for trial in failed)
    assert found.recipe.training().batch_size == 256
    with pytest.raises(TypeError, match="embedding_dim must be an int"):
        tune(data, Recipe("MF", {"embedding_dim": "x"}, TRAIN, ""), trials=3, space=SPACE[:2], progress=False)


def test_a_space_that_is_used_up_ends_the_search(data):
    space = [Tunable("precision", choices=("float64", "float32"))]
    found = tune(data, "ease", trials=9, space=space, progress=False)
    assert found.stopped == "the space has nothing that was not tried"
    assert sorted(trial.params["precision"] for trial in found.trials) == ["auto", "float32", "float64"]


def test_what_falls_behind_the_median_is_stopped_and_the_best_short_one_promoted():
    study = Study({}, "recall@20")
    study.trials = [Trial("short", {"a": n}, "done", n / 10, ((0.5, n / 20), (1.0, n / 10))) for n in range(4)]
    assert study.falls_behind("short", 0.5, 0.07)  # the median is .075
    assert not study.falls_behind("short", 0.5, 0.08)
    assert not study.falls_behind("short", 0.3, 0.0)  # early
    assert not study.falls_behind("short", 1.0, 0.0)  # at its end
    assert not study.falls_behind("full", 0.5, 0.0)  # nothing to compare with
    lower = Study({}, "gini@20")
    lower.trials = study.trials
    assert lower.falls_behind("short", 0.5, 0.08)
    assert not lower.falls_behind("short", 0.5, 0.07)
    study.trials.append(Trial("full", {"a": 0}, "done", 0.0))
    assert study.to_promote().params == {"a": 3}
    study.trials.append(Trial("full", {"a": 3}, "done", 0.5))
    assert study.to_promote() is None
    assert study.best().params == {"a": 3}


def test_another_study_and_what_no_search_wrote_are_not_lost(data, tmp_path):
    (tmp_path / "recipe.toml").write_text("mine")
    with pytest.raises(FileExistsError, match=r"recipe\.toml was not written by a search"):
        tune(data, "ease", trials=1, out=tmp_path, progress=False)
    (tmp_path / "recipe.toml").unlink()
    found = tune(data, "ease", trials=2, out=tmp_path, progress=False)
    for options, differs in (({"seed": 3}, "seed is 0 there, 3 here"), ({"metric": "ndcg@5"}, "metric is 'recall@20' there, 'ndcg@5' here"), ({"valid_fraction": 0.3}, "data is ")):  # fmt: skip
        with pytest.raises(FileExistsError, match=differs):
            tune(data, "ease", trials=2, out=tmp_path, progress=False, **options)
    assert tune(data, "ease", trials=2, out=tmp_path, progress=False).trials == found.trials
    other = tune(data, "ease", trials=1, seed=3, out=tmp_path, overwrite=True, progress=False)
    assert len(other.trials) == 1
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ValueError, match=r"study\.json is no study that can be gone on with"):
        tune(data, "ease", trials=1, out=tmp_path, progress=False)


DAMAGE = {
    "a value that is a text": lambda study: study["trials"][0].update(value="x"),
    "seconds that are a text": lambda study: study["trials"][0].update(seconds="x"),
    "seconds below 0": lambda study: study["trials"][0].update(seconds=-1.0),
    "no options": lambda study: study["trials"][0].update(params={}),
    "options that are none": lambda study: study["trials"][0].update(params=None),
    "another state": lambda study: study["trials"][0].update(state="lost"),
    "another stage": lambda study: study["trials"][0].update(stage="lost"),
    "values that are no pairs": lambda study: study["trials"][0].update(values=[[1, 2, 3]]),
    "a trial under way that is none": lambda study: study.update(begun={"stage": "full"}),
    "nothing of what it is of": lambda study: study.update(about=None),
    "another format": lambda study: study.update(format=9),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_study_is_refused_by_its_file(data, tmp_path, what):
    tune(data, "ease", trials=1, out=tmp_path, progress=False)
    study = json.loads((tmp_path / "study.json").read_text())
    DAMAGE[what](study)
    (tmp_path / "study.json").write_text(json.dumps(study))
    with pytest.raises(ValueError, match=r"study\.json is no study that can be gone on with: .*--overwrite to lose it"):
        tune(data, "ease", trials=2, out=tmp_path, progress=False)


def test_of_another_study_the_setting_that_differs_is_named(data, tmp_path):
    tune(data, "itemknn", trials=1, out=tmp_path, progress=False)
    other = dataclasses.replace(
        RECIPES["itemknn"], model_options={**RECIPES["itemknn"].model_options, "shrinkage": 3.0}
    )
    with pytest.raises(FileExistsError, match=r"recipe\.options\.shrinkage is 1000\.0 there, 3\.0 here"):
        tune(data, other, trials=1, out=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"minutes": "3"}, "tune: minutes must be a number, got str"),
        ({"minutes": True}, "tune: minutes must be a number, got bool"),
        ({"trials": 1.5}, r"tune: trials must be an int, got 1\.5"),
        ({"trials": True}, "tune: trials must be an int, got True"),
        ({"trials": 1, "seed": 1.5}, "tune: seed must be an int"),
        ({"trials": 1, "recipe": None}, r"recipe must be a name, a \.toml file or a Recipe, got NoneType"),
        ({"trials": 1, "space": "reg"}, "space must be a list of Tunable, got 'r' in it"),
    ],
)
def test_what_is_of_another_kind_is_named(data, options, text):
    with pytest.raises(TypeError, match=text):
        tune(data, **{"recipe": "ease", "progress": False, **options})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"trials": 1, "seed": -1}, "tune: seed must be >= 0, got -1"),
        ({"trials": 1, "space": [Tunable("reg", 1.0, 2.0)] * 2}, "space must have each option once, got reg twice"),
        (
            {"trials": 1, "recipe": MF4, "space": [Tunable("train.metric", choices=("recall@5", "ndcg@5"))]},
            "train.metric is of how trials are judged",
        ),
        ({}, "give minutes, trials, or both"),
        ({"minutes": 0}, "minutes must be > 0 and finite, got 0"),
        ({"trials": 0}, "trials must be >= 1, got 0"),
        ({"trials": 1, "recipe": "popularity"}, "nothing to vary of Popularity: its class has no tuning_space"),
        ({"trials": 1, "fixed": ["reg"]}, "nothing to vary of EASE: all that its space has is fixed"),
        ({"trials": 1, "space": [Tunable("depth", 1, 2)]}, "'depth' is no option of EASE"),
        ({"trials": 1, "metric": "recal@20"}, "metric must be NAME@K"),
        ({"trials": 1, "valid_fraction": 1e-9}, "is none for every user of"),
    ],
)
def test_what_cannot_be_searched_is_said(data, options, text):
    with pytest.raises(ValueError, match=text):
        tune(data, **{"recipe": "ease", "progress": False, **options})


def test_without_optuna_the_way_out_is_said(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"tune needs optuna: pip install 'fastgcn_rec\[tune\]'"):
        tune(data, "ease", trials=1)
    with pytest.raises(ImportError, match="tune needs optuna"):  # before what takes long, or fails
        tune("no-such-file.csv", "ease", trials=1)


TUNED = sorted(name for name, kind in Recommender.registry.items() if kind.tuning_space)


@pytest.mark.parametrize("model", TUNED)
def test_the_space_of_every_model_holds_what_its_recipe_says_and_works(data, model):
    named = recipe_of(model)
    recipe = RECIPES[named] if isinstance(named, str) else named
    kind = Recommender.registry[model]
    for one in kind.tuning_space:
        if one.when is None or value_in(recipe, one.when[0]) in one.when[1]:
            value = value_in(recipe, one.name)
            value = kind.left_to(data.graph())[one.name] if value is None else value
            assert one.with_value(value).holds(value)
        for tried in one.choices or one.ends:
            if one.name.startswith("train."):
                own = {} if one.when is None else {one.when[0].removeprefix("train."): one.when[1][0]}
                TrainConfig(**own, **{one.name.removeprefix("train."): tried})
            else:
                options = inspect.signature(kind).parameters
                idle = [
                    o.name for o in kind.tuning_space if o.when and o.when[0] == one.name and tried not in o.when[1]
                ]
                own = {name: options[name].default for name in idle}
                recipe.make_model(data, **{one.name: tried}, **own)


def test_an_option_that_plays_no_part_beside_another_is_left_out(data):
    found = tune(data, "itemknn", trials=14, progress=False)
    assert len({trial.params["similarity"] for trial in found.trials}) == 5
    assert [trial.error for trial in found.trials if trial.state == "failed"] == []
    for trial in found.trials[1:]:
        kind, shrinkage = trial.params["similarity"], trial.params["shrinkage"]
        assert shrinkage == 0 or kind in ("cosine", "jaccard", "tfidf")
        assert kind == "bm25" or (trial.params["k1"], trial.params["b"]) == (0.1, 0.0)
    best = max(found.trials, key=lambda trial: trial.value).params
    assert ("k1" in found.recipe.model_options) == (best["similarity"] == "bm25")
