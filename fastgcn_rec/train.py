"""Training: one loop for every model with an embedding table."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from ._same import check_dataset
from .data import Dataset, Edges
from .evaluate import evaluate
from .models import Recommender
from .negatives import Sampler, parse
from .ops.softmax_loss import check_negative_weight
from .steps import make_step
from .storage import load_arrays, save_arrays

LOSSES = ("bpr", "binary", "max_margin", "softmax")
PROTOCOLS = ("validation", "published", "none")
STORAGES = ("float32", "bfloat16")
SCHEDULES = ("constant", "linear")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes
    ----------
    epochs : int
        At most; an epoch is ceil(n_edges / batch_size) steps.
    batch_size : int
    loss : "bpr", "binary", "max_margin" or "softmax" (in-batch, on cosines)
    temperature, negative_weight : float
        Of the softmax: see :func:`fastgcn_rec.softmax_loss`.
    logq : float
        The softmax's bias of an item is -logq * log q, q the probability that it is drawn as a positive. 1 corrects for negatives that
        are drawn by popularity, which vectors of length 1 need; 0, the default, leaves popularity to the vectors' lengths (docs/results.md).
    margin : float
        Of max_margin.
    sampler : "user" or "edge"
        How positives are drawn: see :func:`fastgcn_rec.sample_batch`. Weights of edges do not enter here: they say how much a node takes from
        its neighbours (propagation, walks), so that MF, whose vectors take nothing from neighbours, trains as without them.
    n_neg : int
        Uniform negatives per positive (all losses but softmax, which takes none).
    negatives : str or Sampler
        What takes their place: a sampler of :mod:`fastgcn_rec.negatives` or its text, which is what is kept, such as
        "uniform(1)+dynamic(1, candidates=32)". "": ``n_neg`` uniform ones.
    lr : float
        Of Adam.
    warmup : float in [0, 1)
        The part w of all steps in which the learning rate rises from 0 to ``lr``: step t of T takes lr * min(1, f / w) with
        f = (t + 1/2) / T. Adam's first steps have one size whatever the gradient; a warmup keeps them small.
    lr_schedule : "constant" or "linear"
        What follows the warmup; linear: lr * (1 - f) / (1 - w), so that ``epochs`` is part of the recipe.
    reg : float
        lambda in lambda * 1/2 * sum |e|^2 / B over the ego embeddings of the batch's users, positives and negatives, repeated
        rows counted as often as they occur (LightGCN's published formula).
    protocol : "validation", "published" or "none"
        validation: a part of train is held out, the epoch with the best metric there is kept, the test part is not looked at;
        published: the epoch is picked on the test part, as most published code does, and the result says so;
        none: no evaluation, the last epoch is kept.
    valid_fraction, metric, eval_every, patience : of the choice
        Stop after ``patience`` evaluations without a better metric (0: never).
    refit : bool
        After the choice, train anew on all of train for the chosen number of epochs (a linear schedule ends there), so that
        the held-out part is not lost.
    seed : int
    storage : "float32" or "bfloat16"
        Of the layers between hops; parameters and sums stay float32. docs/performance.md says what it gives.
    """

    epochs: int = 100
    batch_size: int = 2048
    loss: Literal["bpr", "binary", "max_margin", "softmax"] = "bpr"
    temperature: float = 0.1
    negative_weight: float = 1.0
    logq: float = 0.0
    margin: float = 1.0
    sampler: Literal["user", "edge"] = "edge"
    n_neg: int = 1
    negatives: str | Sampler = ""
    lr: float = 1e-3
    warmup: float = 0.0
    lr_schedule: Literal["constant", "linear"] = "constant"
    reg: float = 1e-4
    protocol: Literal["validation", "published", "none"] = "validation"
    valid_fraction: float = 0.1
    metric: str = "recall@20"
    eval_every: int = 5
    patience: int = 5
    refit: bool = False
    seed: int = 0
    storage: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        choices = {
            "loss": LOSSES,
            "sampler": ("user", "edge"),
            "lr_schedule": SCHEDULES,
            "protocol": PROTOCOLS,
            "storage": STORAGES,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"TrainConfig: {name} must be one of {allowed}, got {getattr(self, name)!r}")
        if self.refit and self.protocol != "validation":
            raise ValueError(
                f"TrainConfig: refit needs protocol='validation', got {self.protocol!r}: nothing is held out"
            )
        for name, least in (("epochs", 0), ("batch_size", 1), ("n_neg", 1), ("eval_every", 1), ("patience", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"TrainConfig: {name} must be >= {least}, got {getattr(self, name)}")
        if not 0 <= self.margin < math.inf:
            raise ValueError(f"TrainConfig: margin must be >= 0 and finite, got {self.margin}")
        check_negative_weight("TrainConfig", self.negative_weight)
        if not math.isfinite(self.logq):
            raise ValueError(f"TrainConfig: logq must be finite, got {self.logq}")
        if self.loss != "softmax" and (self.logq, self.negative_weight) != (0, 1):
            raise ValueError(
                f"TrainConfig: logq and negative_weight are the softmax's, got {self.logq} and {self.negative_weight} with loss={self.loss!r}; "
                "leave them at 0 and 1"
            )
        if self.negatives:
            self._take_negatives(parse(self.negatives))
        if not 0 <= self.warmup < 1:
            raise ValueError(f"TrainConfig: warmup is a part of all steps, 0 <= warmup < 1, got {self.warmup}")

    def _take_negatives(self, sampler: Sampler) -> None:
        text = str(sampler)
        if parse(text) != sampler:
            raise ValueError(
                f"TrainConfig: negatives={text} leaves out a part of the sampler, so that a checkpoint could not name it; write a "
                "sampler class of your own (fastgcn_rec.negatives.Sampler)"
            )
        if self.loss == "softmax":
            raise ValueError(
                f"TrainConfig: the softmax takes the batch's positives as negatives, not negatives={text!r}"
            )
        if self.n_neg != 1:
            raise ValueError(
                f"TrainConfig: negatives={text!r} has counts of its own; leave n_neg at 1, got {self.n_neg}"
            )
        object.__setattr__(self, "negatives", text)  # frozen: the text is the one form

    def depends_on_epochs(self) -> bool:
        """Whether a step's learning rate depends on the number of epochs."""
        return self.warmup > 0 or self.lr_schedule != "constant"

    def lr_at(self, step: int, total: int) -> float:
        """The learning rate of step ``step`` (from 0) of ``total``."""
        part = (step + 0.5) / total
        if part < self.warmup:
            return self.lr * part / self.warmup
        return self.lr * (1 - part) / (1 - self.warmup) if self.lr_schedule == "linear" else self.lr


@dataclasses.dataclass
class History:
    """What happened: one record an epoch ({"epoch", "loss", "seconds"} and the metrics, where evaluated), and the choice; ``refit``
    holds the epochs on all of train that followed it."""

    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)
    refit: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_metric: float = -math.inf
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
        self.full_graph = model.graph
        self.judge: Edges | None = None
        if config.protocol == "validation":
            _, self.judge = dataset.split_valid(config.valid_fraction, seed=config.seed)
            held = (
                torch.from_numpy(side).long().to(model.graph.device) for side in (self.judge.users, self.judge.items)
            )
            model.graph = self.full_graph.without_edges(*held)
        elif config.protocol == "published":
            self.judge = dataset.test
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
            with torch.no_grad():
                for name, p in self.parameters.items():
                    p.copy_(self.best[name])
        return self.history

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
        if not math.isfinite(record["loss"]):
            raise FloatingPointError(
                f"fit: the loss of epoch {epoch} is {record['loss']}; lower lr (now {self.config.lr})"
            )
        history, config = self.history, self.config
        history.epochs.append(record)
        due = epoch % config.eval_every == 0 or epoch == config.epochs
        if self.judge is None:
            history.best_epoch = epoch
        elif due:
            name, k = config.metric.split("@")
            names = tuple(dict.fromkeys((name, "recall", "ndcg")))
            record |= evaluate(self.model, self.judge, self.model.graph, ks=[int(k)], metrics=names)
            del record["n_users_evaluated"]
            value = record[config.metric]
            if value > history.best_metric:
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
