"""The command train, and what it shares with evaluate and compare."""

import dataclasses
import json
import re

import pytest
from commands import code_of, raising

from fastgcn_rec import TrainConfig
from fastgcn_rec.cli import main
from fastgcn_rec.cli.numpydoc import attributes
from fastgcn_rec.data.splits import SPLITS
from fastgcn_rec.experiments import devices


def test_help_has_a_sentence_of_every_setting_in_their_order(capsys):
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    about = attributes(TrainConfig)
    assert set(about) == set(names)
    assert code_of("train", "--help") == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out.partition("settings of the training")[2])
    places = [re.search(rf" --{n.replace('_', '-')}\b.*? {re.escape(about[n])}", said).start() for n in names]
    assert places == sorted(places)
    for sentence in about.values():
        assert re.fullmatch(r"[^:]+: [A-Z].+[.]", sentence), sentence
        assert "`" not in sentence
    assert not attributes(type("Bare", (), {}))


def test_every_split_of_the_library_can_be_named_and_no_other(ml_100k, capsys):
    for command in ("train", "evaluate", "compare"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "{" + ",".join(SPLITS) + "}" in "".join(capsys.readouterr().out.split())
    assert code_of("train", "ml-100k", "--split", "random-user") == 2
    assert "invalid choice: 'random-user'" in capsys.readouterr().err


def test_the_split_is_that_of_the_model(ml_100k, capsys):
    out = ml_100k / "run"
    for split in ("random", "temporal-user"):
        train = ["train", "ml-100k", "--recipe", "popularity", "--out", out, "--overwrite", "--split", split]
        assert code_of(*train) == 0
        assert code_of("evaluate", out, "ml-100k", "--split", split) == 0
    capsys.readouterr()
    assert code_of("evaluate", out, "ml-100k", "--split", "new-items") == 2
    assert "another split of the same events" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_missed_before_the_data(monkeypatch, capsys):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("fastgcn_rec.data.spec.DataSpec.load", raising(AssertionError("loaded")))
    assert code_of("train", "ml-100k", "--device", "cuda") == 1
    assert "device cuda: CUDA is off: " in capsys.readouterr().err
    monkeypatch.setattr(devices, "cuda_state", lambda: "on")
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    assert code_of("train", "ml-100k", "--device", "cuda:2") == 1
    assert "device cuda:2: torch sees 2 GPUs" in capsys.readouterr().err
    assert code_of("train", "ml-100k", "--device", "gpu") == 2
    assert "must be cpu, cuda or cuda:NUMBER, got 'gpu'" in capsys.readouterr().err


@pytest.mark.usefixtures("small_gowalla")
def test_the_command_line_trains_evaluates_and_recommends(tmp_path, capsys):
    out = tmp_path / "run"
    train = ["train", "gowalla", "--epochs", "4", "--dim", "8", "--out", str(out), "--quiet", "--lr", "0.01"]
    assert main([*train, "--negatives", "nearest(1)"]) == 2
    assert "no sampler is called 'nearest'" in capsys.readouterr().err
    assert main([*train, "--loss", "max_margin", "--margin", "0.5", "--negatives", "uniform(1) + dynamic(1)"]) == 0
    written = json.loads((out / "metrics.json").read_text())["config"]
    assert (written["negatives"], written["margin"]) == ("uniform(1)+dynamic(1, candidates=32, refresh=1)", 0.5)
    assert main(train) == 2
    assert "holds another run: train.loss is 'max_margin' there, 'bpr' here" in capsys.readouterr().err
    assert main([*train, "--overwrite"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"recall@20", "ndcg@20", "seconds_train", "n_users_evaluated", "fingerprint"} <= metrics.keys()
    assert metrics["n_users_evaluated"] == 60
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in out.iterdir()) == ["curves.png", "metrics.json", "model.npz", "run.toml"]
    capsys.readouterr()
    assert main(["evaluate", str(out), "gowalla"]) == 0
    assert f"{metrics['recall@20']:.4f}" in capsys.readouterr().out
    assert main(["recommend", str(out), "7", "-k", "3"]) == 0
    assert capsys.readouterr().out.startswith("user 7: ")
    assert main(["recommend", str(out), "abc"]) == 2
    assert "integers" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    assert "self-test: passed" in capsys.readouterr().out
    assert main(["datasets", "gowalla"]) == 0


@pytest.mark.usefixtures("small_gowalla")
def test_tensorboard_gets_every_epoch(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "run"
    assert main(["train", "gowalla", "--epochs", "3", "--dim", "8", "--out", str(out), "--quiet", "--tensorboard"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    events = event_accumulator.EventAccumulator(str(out / "tensorboard")).Reload()
    logged = [event.value for event in events.Scalars("loss")]
    assert logged == pytest.approx([epoch["loss"] for epoch in metrics["epochs"]], rel=1e-6)
