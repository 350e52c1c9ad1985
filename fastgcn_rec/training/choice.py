"""Which epoch is kept: the edges it is chosen on, what is better, and when nothing better is to be expected."""

from __future__ import annotations

import dataclasses
import math

import torch

from ..core.graph import Graph
from ..core.grown import with_edges
from ..data import Dataset, Edges
from ..models import Recommender
from ..ranking.evaluate import evaluate
from ..ranking.metrics import is_better, parse_metric
from .config import TrainConfig
from .history import History

_HELD_OUT = {"random": "validation", "temporal": "validation (latest)", "order": "validation (last rows)"}


class Judge:
    """Evaluates epochs by the config's protocol and chooses among them; ``edges`` None: evaluates nothing and takes the last.

    What an epoch is chosen on by the protocol validation is not trained on: it is taken out of the graph, if it is there.

    Attributes
    ----------
    config : with the epochs that it has on this data (:meth:`TrainConfig.for_edges`)
    edges, chosen_on : what an epoch is chosen on, and what :class:`History` calls it
    held : those of them that are edges of train; None for none
    own : the data set's validation part, if that is what is chosen on
    seen_too : its validation part, if something else is

    Raises ValueError where there should be edges to choose on and are not.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig) -> None:
        self.name = dataset.name
        self.edges, self.chosen_on = _edges_to_judge_by(dataset, config)
        valid = dataset.valid if len(dataset.valid) else None
        self.own = valid if config.protocol == "validation" else None
        self.held = self.edges if config.protocol == "validation" and valid is None else None
        self.seen_too = valid if config.protocol == "published" else None
        self.config = config.for_edges(len(dataset.train) - (0 if self.held is None else len(self.held)))

    def training_graph(self, graph: Graph) -> Graph:
        """The graph without the edges that are held out of it."""
        return graph if self.held is None else graph.without_edges(*_on(graph, self.held))

    def base(self, graph: Graph) -> Graph:
        """The graph of the training edges alone, where the model's may have the data set's own validation part too, from a refit before."""
        if self.own is None:
            return graph
        base = graph.without_edges(*_on(graph, self.own))
        return graph if base.n_edges == graph.n_edges else base

    def refit_graph(self, graph: Graph) -> Graph:
        """The graph with all that was held out, of one that is without the data set's own validation part."""
        if self.own is None:
            return graph
        weight = self.own.weight
        if graph.weight is not None and weight is None:
            raise ValueError(
                f"fit: refit=True trains on the validation part too, and that of {self.name} has no weights, as the model's edges have; give it some "
                "(Edges(..., weight=)), or pass refit=False"
            )
        return with_edges(graph, *_on(graph, self.own), None if weight is None else torch.from_numpy(weight))

    def is_due(self, epoch: int) -> bool:
        """Whether it is an epoch to evaluate after."""
        return epoch % self.config.eval_every == 0 or epoch == self.config.epochs

    def must_evaluate(self, record: dict[str, float]) -> bool:
        """Whether the epoch of this record is to be evaluated, and was not."""
        return self.edges is not None and self.is_due(int(record["epoch"])) and self.config.metric not in record

    def evaluate(self, model: Recommender, record: dict[str, float]) -> dict[str, float]:
        """The record with the metrics of the model as it is now, on the graph that it is trained on."""
        name, k = parse_metric(self.config.metric)
        assert self.edges is not None
        seen = model.graph
        if self.seen_too is not None:
            seen = with_edges(seen, *_on(seen, self.seen_too))
        found = evaluate(model, self.edges, seen, ks=[k], metrics=tuple(dict.fromkeys((name, "recall", "ndcg"))))
        del found["n_users_evaluated"]
        if math.isnan(found[self.config.metric]):
            raise ValueError(
                f"fit: {self.config.metric} on {self.chosen_on} is not a number after epoch {int(record['epoch'])}, so that no epoch can be chosen by it: "
                "the users there have no item left to be shown; choose by another metric, or pass protocol='none'"
            )
        return record | found

    def describe(self, record: dict[str, float]) -> str:
        """A line on an epoch that was evaluated."""
        of = f"{self.config.metric} {record[self.config.metric]:.4f} on {self.chosen_on}"
        return f"epoch {int(record['epoch'])}: loss {record['loss']:.4f}, {of}"

    def choice(self, history: History, record: dict[str, float]) -> History:
        """The history with this epoch, its last; equal to ``history`` where that has it already."""
        config, epoch = self.config, int(record["epoch"])
        new = dataclasses.replace(history, epochs=[*history.epochs[: epoch - 1], record])
        judged = config.metric in record
        if self.edges is None:
            new.best_epoch = epoch
        elif judged and is_better(config.metric, record[config.metric], history.best_metric):
            new.best_epoch, new.best_metric = epoch, record[config.metric]
        elif judged and config.patience and epoch - history.best_epoch >= config.patience * config.eval_every:
            new.stopped = f"no better {config.metric} in {config.patience} evaluations"
        return new


def _edges_to_judge_by(dataset: Dataset, config: TrainConfig) -> tuple[Edges | None, str]:
    """The edges, and where they come from."""
    if config.protocol == "none":
        return None, "none"
    if config.protocol == "published":
        if len(dataset.test):
            return dataset.test, "test (published protocol)"
        raise ValueError(
            f"fit: protocol='published' chooses the epoch on the test part, and {dataset.name} has none; pass protocol='validation', or "
            "protocol='none' to keep the last epoch"
        )
    if len(dataset.valid):
        return dataset.valid, "validation (own part)"
    if config.valid_split == "temporal" and dataset.train.time is None:
        raise ValueError(
            f"fit: valid_split='temporal' holds out each user's latest edges, and {dataset.name} has no times; pass valid_split='random', or data with times"
        )
    _, held = dataset.split_valid(config.valid_fraction, seed=config.seed, by=config.valid_split)
    if len(held):
        return held, _HELD_OUT[config.valid_split]
    most = int(dataset.graph().user_degree.max())
    larger = f", or valid_fraction={math.ceil(5000 / most) / 10000:g} or more" if most > 1 else ""
    raise ValueError(
        f"fit: valid_fraction={config.valid_fraction} of a user's training edges, rounded, is none for every user of {dataset.name}, where no user "
        f"has more than {most}: there is nothing to choose an epoch on; pass protocol='none' to keep the last epoch{larger}"
    )


def _on(graph: Graph, edges: Edges) -> tuple[torch.Tensor, torch.Tensor]:
    """The edges' users and items, int64, where the graph is."""
    users, items = (torch.from_numpy(side).long().to(graph.device) for side in (edges.users, edges.items))
    return users, items
