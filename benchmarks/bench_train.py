"""Time to quality: a recipe trained and evaluated as the command line does it, and where a step's time goes."""

from __future__ import annotations

import time

import torch

from fastgcn_rec import TrainStep, evaluate, fit, sample_batch
from fastgcn_rec.experiments.recipes import RECIPES

from .harness import Record, Settings

RECIPE = "softmax"


def records(settings: Settings) -> list[Record]:
    names = (RECIPE, "gowalla") if settings.device.type == "cuda" else (RECIPE,)
    return [record for name in names for record in _records(settings, name)]


def _records(settings: Settings, name: str) -> list[Record]:
    recipe, data = RECIPES[name], settings.dataset
    epochs = 1 if settings.quick else recipe.train.epochs
    model = recipe.make_model(data).to(settings.device)
    history = fit(model, data, recipe.train, epochs=epochs, progress=False)
    metrics = evaluate(model, data.test)
    return [
        {
            "case": f"train/{name}",
            "data": settings.data,
            "device": settings.device.type,
            "seconds_train": round(history.seconds_train, 1),
            "epochs": len(history.epochs),
            "best_epoch": history.best_epoch,
            "recall@20": round(metrics["recall@20"], 4),
            "ndcg@20": round(metrics["ndcg@20"], 4),
            **(_shares(settings) if settings.device.type == "cpu" else {}),
        }
    ]


def _shares(settings: Settings, steps: int = 200) -> dict[str, float]:
    """The parts of a step, as shares of its time."""
    config, graph = RECIPES[RECIPE].train, settings.graph
    layers = RECIPES[RECIPE].model_options["num_layers"]
    step = TrainStep(
        graph, settings.embedding(), [1 / (layers + 1)] * (layers + 1), loss=config.loss, temperature=config.temperature,
        reg=config.reg, lr=config.lr, storage=torch.bfloat16 if config.storage == "bfloat16" else None,
    )  # fmt: skip
    n_neg = 0 if config.loss == "softmax" else config.n_neg
    sampling, start = 0.0, time.perf_counter()
    for t in range(steps):
        begin = time.perf_counter()
        users, pos, neg = sample_batch(graph, config.batch_size, n_neg, seed=0, offset=t * config.batch_size)
        sampling += time.perf_counter() - begin
        step(users, pos, neg if n_neg else None)
    total = time.perf_counter() - start
    parts = {"sampling": sampling, **step.seconds}
    return {"step_ms": round(total / steps * 1e3, 2)} | {f"share_{k}": round(v / total, 3) for k, v in parts.items()}
