"""Training: one loop for every model with an embedding table."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ._same import check_dataset
from .data import Dataset, Edges
from .evaluate import evaluate, is_better, parse_metric
from .models import Recommender
from .steps import make_step
from .storage import check_target, load_arrays, save_arrays
from .train_config import TrainConfig


@dataclasses.dataclass
class History:
    """What happened: one record an epoch ({"epoch", "loss", "seconds"} and the metrics, where evaluated), and the choice (``best_metric``
    is None where nothing was evaluated); ``refit`` holds the epochs on all of train that followed it."""

    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)
    refit: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_metric: float | None = None
    chosen_on: str = "none"
    stopped: str = ""

    @property
    def seconds_train(self) -> float:
        return sum(record["seconds"] for record in self.epochs + self.refit)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during training, after everything was saved; the message says how to go on."""


def fit(
    model: Recommender,
    dataset: Dataset,
    config: TrainConfig | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    **options: Any,
) -> History:
    """Trains ``model`` on the edges of its graph, with their weights; afterwards it holds the chosen epoch's parameters.

    Parameters
    ----------
    model : MF, LightGCN, ...
    dataset : Dataset
        The one that the model was made from: its ids and training edges are compared with the model's. A model of a Graph of these edges, which
        may have weights of its own, is taken as well.
    config : TrainConfig; ``options`` replace single fields of it
    checkpoint : path, optional
        Written every ``eval_every`` epochs, after the last and on Ctrl-C. If it exists, training goes on from it exactly: the
        same bits as without the interruption. Removed by nobody; delete it to start anew.
    progress : bool
        A bar with loss, rate and remaining time.
    on_epoch : called with every epoch's record (for logging; not while refitting)

    Returns
    -------
    History

    Notes
    -----
    The same bits for the same seed, whatever the number of threads: sample t of the training stream depends on (seed, t) alone,
    and all gradient sums have a fixed order.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> from fastgcn_rec.models import MF
    >>> data = synthetic_interactions(50, 40, 400)
    >>> len(fit(MF(data, 8), data, epochs=2, progress=False).epochs)
    2
    """
    config = dataclasses.replace(config or TrainConfig(), **options)
    if not isinstance(model, Recommender):
        raise TypeError(f"fit: model must be a Recommender, such as LightGCN(dataset), got {type(model).__name__}")
    if not any(p.requires_grad for p in model.parameters()):
        raise TypeError(
            f"fit: {type(model).__name__} has no parameter that takes a gradient, so that there is no training: a model of this class is made when "
            "it is constructed, or all its parameters are frozen (requires_grad)"
        )
    check_dataset("fit", model, dataset)
    if len(dataset.train) == 0:
        raise ValueError(f"fit: {dataset.name} has no training edges")
    initial = {name: p.detach().clone() for name, p in model.named_parameters()}
    history = _Run(model, dataset, config, checkpoint).go(progress, on_epoch)
    if config.refit:
        model.load_state_dict(initial, strict=False)
        again = dataclasses.replace(config, protocol="none", epochs=history.best_epoch, refit=False)
        beside = None if checkpoint is None else refit_checkpoint(checkpoint)
        history.refit = _Run(model, dataset, again, beside).go(progress, None).epochs
    return history


def refit_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the training after the choice keeps its own checkpoint."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-refit{path.suffix}")


class _Run:
    """The state of one training: everything a checkpoint must hold."""

    def __init__(
        self, model: Recommender, dataset: Dataset, config: TrainConfig, checkpoint: str | os.PathLike[str] | None
    ) -> None:
        self.model, self.config = model, config
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        if self.checkpoint is not None:
            check_target(self.checkpoint)
        self.full_graph = model.graph
        self.judge: Edges | None = None
        if config.protocol == "validation":
            _, self.judge = dataset.split_valid(config.valid_fraction, seed=config.seed)
            _check_judge(self.judge, dataset, config)
            held = (
                torch.from_numpy(side).long().to(model.graph.device) for side in (self.judge.users, self.judge.items)
            )
            model.graph = self.full_graph.without_edges(*held)
        elif config.protocol == "published":
            self.judge = dataset.test
            _check_judge(self.judge, dataset, config)
        chosen_on = {"validation": "validation", "published": "test (published protocol)", "none": "none"}
        self.history = History(chosen_on=chosen_on[config.protocol])
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.take_step = make_step(model, config)
        self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.step, self.seconds = 0, 0.0  # step counts over all epochs; seconds and loss_sum within one
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=model.graph.device)
        self.identity: dict[str, Any] = {
            "config": dataclasses.asdict(config),
            "model": model.config(),
            "data": dataset.fingerprint(),
            "graph": self.full_graph.fingerprint(),  # has the weights
        }
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume()

    def go(self, progress: bool, on_epoch: Callable[[dict[str, float]], None] | None) -> History:
        steps = math.ceil(self.model.graph.n_edges / self.config.batch_size)
        total = steps * self.config.epochs
        bar = tqdm(total=total, initial=self.step, disable=not progress, unit="step", smoothing=0.02)
        try:
            while self.step < total and not self.history.stopped:
                self._one_step(bar, steps, total)
                if self.step % steps == 0:
                    self._end_epoch(self.step // steps, on_epoch, bar)
        except KeyboardInterrupt:
            hint = "pass checkpoint=... to be able to go on after an interruption"
            if self.checkpoint is not None:
                self._save()
                hint = f"everything is saved in {self.checkpoint}; run the same command again to go on"
            raise Interrupted(f"interrupted in step {self.step} of {total}: {hint}") from None
        finally:
            bar.close()
            self.model.graph = self.full_graph
        if self.judge is not None:
            self._put_back()
        return self.history

    @torch.no_grad()
    def _put_back(self) -> None:
        for name, p in self.parameters.items():
            p.copy_(self.best[name])

    def _one_step(self, bar: Any, steps: int, total: int) -> None:
        start = time.perf_counter()
        self.loss_sum += self.take_step(self.step, self.config.lr_at(self.step, total))
        self.step += 1
        if self.step % 20 == 0 or self.step % steps == 0:  # only here the host waits for a GPU
            done = (self.step - 1) % steps + 1
            mean = float(self.loss_sum) / done
            bar.set_description(f"epoch {(self.step - 1) // steps + 1}, loss {mean:.4f}", refresh=False)
        self.seconds += time.perf_counter() - start
        bar.update()

    def _end_epoch(self, epoch: int, on_epoch: Callable[[dict[str, float]], None] | None, bar: Any) -> None:
        steps = self.step // epoch
        record = {"epoch": float(epoch), "loss": float(self.loss_sum) / steps, "seconds": self.seconds}
        self.loss_sum.zero_()
        self.seconds = 0.0
        if not (math.isfinite(record["loss"]) and all(map(_is_finite, self.parameters.values()))):
            self._put_back()
            raise FloatingPointError(
                f"fit: training has diverged, after epoch {epoch} the loss is {record['loss']:.4g} and parameters are not finite; lower lr "
                f"(now {self.config.lr}) or raise reg (now {self.config.reg}). The model holds "
                + (
                    f"epoch {self.history.best_epoch}, the best"
                    if self.history.best_metric is not None
                    else "what it held before"
                )
            )
        history, config = self.history, self.config
        history.epochs.append(record)
        due = epoch % config.eval_every == 0 or epoch == config.epochs
        if self.judge is None:
            history.best_epoch = epoch
        elif due:
            name, k = parse_metric(config.metric)
            names = tuple(dict.fromkeys((name, "recall", "ndcg")))
            record |= evaluate(self.model, self.judge, self.model.graph, ks=[k], metrics=names)
            del record["n_users_evaluated"]
            value = record[config.metric]
            if math.isnan(value):
                raise ValueError(
                    f"fit: {config.metric} on {history.chosen_on} is not a number after epoch {epoch}, so that no epoch can be chosen by it: the "
                    "users there have no item left to be shown; choose by another metric, or pass protocol='none'"
                )
            if is_better(config.metric, value, history.best_metric):
                history.best_epoch, history.best_metric = epoch, value
                self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
            elif config.patience and epoch - history.best_epoch >= config.patience * config.eval_every:
                history.stopped = f"no better {config.metric} in {config.patience} evaluations"
            if not bar.disable:
                bar.write(
                    f"epoch {epoch}: loss {record['loss']:.4f}, {config.metric} {value:.4f} on {history.chosen_on}"
                )
        if due and self.checkpoint is not None:
            self._save()
        if on_epoch is not None:
            on_epoch(record)

    def _save(self) -> None:
        assert self.checkpoint is not None
        meta = {
            "kind": "checkpoint",
            "format": 1,
            "identity": self.identity,
            "step": self.step,
            "loss_sum": float(self.loss_sum),
            "seconds": self.seconds,
            "history": dataclasses.asdict(self.history),
        }
        tensors: dict[str, torch.Tensor] = {f"now.{name}": p for name, p in self.parameters.items()}
        tensors |= {f"best.{name}": p for name, p in self.best.items()} | self.take_step.state()
        arrays = {name: t.detach().cpu().numpy() for name, t in tensors.items()}
        save_arrays(self.checkpoint, meta, arrays)

    def _resume(self) -> None:
        assert self.checkpoint is not None
        meta, arrays = load_arrays(self.checkpoint, "checkpoint")
        for part, mine in self.identity.items():
            theirs = meta["identity"][part]
            if part == "config" and not self.config.depends_on_epochs():  # going on for longer is allowed
                mine, theirs = {**self.identity["config"], "epochs": 0}, {**theirs, "epochs": 0}
            if mine != theirs:
                raise ValueError(
                    f"fit: {self.checkpoint} was made with another {part}:\n  there {theirs}\n  here  {mine}\n"
                    "Delete the checkpoint to start anew, or repeat the old settings to go on"
                )
        self.step, self.seconds = meta["step"], meta["seconds"]
        self.loss_sum.fill_(meta["loss_sum"])
        self.history = History(**meta["history"])
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(torch.from_numpy(arrays[f"now.{name}"]))
                self.best[name].copy_(torch.from_numpy(arrays[f"best.{name}"]))
            own = {n: torch.from_numpy(a) for n, a in arrays.items() if not n.startswith(("now.", "best."))}
            self.take_step.resume(self.step, own)


def _check_judge(judge: Edges, dataset: Dataset, config: TrainConfig) -> None:
    """The part that an epoch is chosen on has an edge."""
    if len(judge):
        return
    if config.protocol == "published":
        raise ValueError(
            f"fit: protocol='published' chooses the epoch on the test part, and {dataset.name} has none; pass protocol='validation', or "
            "protocol='none' to keep the last epoch"
        )
    most = int(dataset.graph().user_degree.max())
    larger = f", or valid_fraction={math.ceil(5000 / most) / 10000:g} or more" if most > 1 else ""
    raise ValueError(
        f"fit: valid_fraction={config.valid_fraction} of a user's training edges, rounded, is none for every user of {dataset.name}, where no user "
        f"has more than {most}: there is nothing to choose an epoch on; pass protocol='none' to keep the last epoch{larger}"
    )


def _is_finite(parameter: torch.Tensor) -> bool:
    return not parameter.numel() or all(map(math.isfinite, torch.aminmax(parameter.detach())))
