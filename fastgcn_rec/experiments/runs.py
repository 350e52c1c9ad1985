"""What a run leaves in its folder: model.npz, metrics.json, curves.png."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.world import World
from ..data import Dataset
from ..models import Popularity, Recommender
from ..ranking.evaluate import evaluate
from ..system.files import check_target
from ..system.values import write_json
from ..training.checkpoint import refit_checkpoint, remove_checkpoint
from ..training.config import TrainConfig
from ..training.history import History
from ..training.loop import fit
from .blended import METRIC, blended, check_targets, forget
from .items import write_items
from .plots import plot_curves
from .recipes import Recipe

CHECKPOINT = "checkpoint.npz"  # of a training that is not finished
MODEL = "model.npz"
WRITTEN = (MODEL, "metrics.json", "curves.png", "items.npz")
KS = (10, 20, 50)
METRICS = ("recall", "ndcg", "precision", "hit", "mrr", "map", "coverage")


def train_and_write(
    model: Recommender, data: Dataset, config: TrainConfig, out: Path, progress: bool = True, tensorboard: bool = False
) -> dict[str, Any]:
    """Trains, evaluates once on test, and on a validation part that was not trained on, writes OUT/model.npz, metrics.json and curves.png; returns the metrics.

    Within a group of several ranks all of them call it, the first one writes."""
    world = World.current()
    world.by_first(lambda: _check(out))
    checkpoint = out / CHECKPOINT
    history = fit(
        model,
        data,
        config,
        checkpoint=checkpoint,
        progress=progress,
        on_epoch=_logger(out, tensorboard and world.first),
    )
    metrics = {
        "seconds_train": history.seconds_train,
        "best_epoch": history.best_epoch,
        "chosen_on": history.chosen_on,
        f"best_{config.metric}": history.best_metric,
        "stopped": history.stopped or "all epochs done",
        "config": dataclasses.asdict(config),
        "epochs": history.epochs,
        "refit": history.refit,
    }
    written = _written(model, data, out, metrics, world)

    def finish() -> None:
        _plot(history, out / "curves.png", f"{type(model).__name__} on {data.name}", config.metric)
        remove_checkpoint(refit_checkpoint(checkpoint))
        remove_checkpoint(checkpoint)  # last: until all is written the same command does not train anew
        _say(written, out, f"; epoch {history.best_epoch} chosen on {history.chosen_on}", "of training")

    world.by_first(finish)
    return written


def make_and_write(recipe: Recipe, data: Dataset, out: Path, device: str = "cpu") -> dict[str, Any]:
    """Makes a model that needs no training, evaluates it once on test, writes OUT/model.npz and metrics.json; returns the metrics."""
    _check(out)
    start = time.perf_counter()
    model = recipe.make_model(data).to(device)
    metrics = _written(model, data, out, {"seconds_train": time.perf_counter() - start}, World())
    _say(metrics, out, "", "to make it")
    return metrics


def blend_and_write(
    recipe: Recipe, data: Dataset, out: Path, device: str = "cpu", progress: bool = True
) -> dict[str, Any]:
    """Trains the parts of a blend and weighs them, evaluates it once on test, writes OUT/model.npz and metrics.json; returns the metrics."""
    _check(out)
    check_targets(recipe, out)
    made = blended(recipe, data, device=device, folder=out, progress=progress)
    metrics = _written(made.model, data, out, made.report(), World())
    forget(recipe, out)  # last: until all is written the same command does not train anew
    names = dict(zip(recipe.parts, made.weighed.alone, strict=True))
    alone = ", ".join(f"{name} {value:.4f}" for name, value in names.items())
    print(f"{METRIC} on what was held out: {made.weighed.value:.4f}, of the parts alone: {alone}")
    _say(metrics, out, "", "of training")
    return metrics


def _written(model: Recommender, data: Dataset, out: Path, known: dict[str, Any], world: World) -> dict[str, Any]:
    """Writes the model, and what it reaches on test beside what is known of it; ranks share the users out."""
    if model.columns is None:
        world.by_first(lambda: model.save(out / MODEL))
    else:
        model.save(out / MODEL)
    world.by_first(lambda: write_items(data, out))
    metrics: dict[str, Any] = evaluate(model, data, ks=KS, metrics=METRICS, world=world) if len(data.test) else {}
    if metrics and not isinstance(model, Popularity):
        metrics["popularity"] = evaluate(Popularity(data), data, ks=(20,), metrics=("recall", "ndcg"), world=world)
    if len(data.valid) and not _has_seen(model, data):
        metrics["valid"] = evaluate(model, data, part="valid", ks=KS, metrics=METRICS, world=world)
    metrics |= known | {"fingerprint": data.fingerprint(), "model": {"class": type(model).__name__, **model.config()}}
    world.by_first(lambda: write_json(out / "metrics.json", metrics))
    return metrics


def _has_seen(model: Recommender, data: Dataset) -> bool:
    """Whether the validation part is among what the model was trained on, as after a refit."""
    return model.graph.n_edges > len(data.train)


def _say(metrics: dict[str, Any], out: Path, chosen: str, did: str) -> None:
    if "recall@20" in metrics:
        print(f"test: Recall@20 {metrics['recall@20']:.4f}, NDCG@20 {metrics['ndcg@20']:.4f}, ", end="")
        print(f"{metrics['n_users_evaluated']} users{chosen}")
    if "popularity" in metrics:
        bar = metrics["popularity"]
        print(
            f"popularity: Recall@20 {bar['recall@20']:.4f}, NDCG@20 {bar['ndcg@20']:.4f}, the same items for all users",
            end="",
        )
        worse = metrics["recall@20"] <= bar["recall@20"] and metrics["ndcg@20"] <= bar["ndcg@20"]
        print("; this model is no better: `fastgcn-rec compare` shows which recipes are" if worse else "")
    if "valid" in metrics:
        valid = metrics["valid"]
        print(
            f"valid: Recall@20 {valid['recall@20']:.4f}, NDCG@20 {valid['ndcg@20']:.4f}, {valid['n_users_evaluated']} users"
        )
    print(f"{metrics['seconds_train']:.0f} s {did}; files: {', '.join(str(p) for p in sorted(out.iterdir()))}")


def _check(out: Path) -> None:
    """That the files can be written is known before the work."""
    for name in WRITTEN:
        check_target(out / name)
    out.mkdir(parents=True, exist_ok=True)


def _logger(out: Path, tensorboard: bool) -> Callable[[dict[str, float]], None] | None:
    if not tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError("--tensorboard needs its package: pip install 'fastgcn_rec[tensorboard]'") from None
    writer = SummaryWriter(str(out / "tensorboard"))  # type: ignore[no-untyped-call]

    def log(record: dict[str, float]) -> None:
        for name, value in record.items():
            if name != "epoch":
                writer.add_scalar(name, value, int(record["epoch"]))  # type: ignore[no-untyped-call]
        writer.flush()  # type: ignore[no-untyped-call]

    return log


def _plot(history: History, path: Path, title: str, metric: str) -> None:
    try:
        plot_curves(history, path, title, metric)
    except ImportError as error:
        print(f"no {path.name}: {error}")
