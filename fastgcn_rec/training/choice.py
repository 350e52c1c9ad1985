"""Which epoch is kept: the edges it is chosen on, what is better, and when nothing better is to be expected."""

from __future__ import annotations

import dataclasses
import math

import torch

from ..core.graph import Graph
from ..data import Dataset, Edges
from ..models import Recommender
from ..ranking.evaluate import evaluate
from ..ranking.metrics import is_better, parse_metric
from .config import TrainConfig
from .history import History

_CHOSEN_ON = {"validation": "validation", "published": "test (published protocol)", "none": "none"}


class Judge:
    """Evaluates epochs by the config's protocol and chooses among them; ``edges`` None: evaluates nothing and takes the last.

    Raises ValueError where there should be edges to choose on and are not.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig) -> None:
        self.config = config
        self.edges = _edges_to_judge_by(dataset, config)
        self.chosen_on = _CHOSEN_ON[config.protocol]

    def training_graph(self, graph: Graph) -> Graph:
        """The graph without the edges that are held out of it."""
        if self.edges is None or self.config.protocol != "validation":
            return graph
        users, items = (torch.from_numpy(side).long().to(graph.device) for side in (self.edges.users, self.edges.items))
        return graph.without_edges(users, items)

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
        found = evaluate(model, self.edges, model.graph, ks=[k], metrics=tuple(dict.fromkeys((name, "recall", "ndcg"))))
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


def _edges_to_judge_by(dataset: Dataset, config: TrainConfig) -> Edges | None:
    if config.protocol == "none":
        return None
    if config.protocol == "published":
        if len(dataset.test):
            return dataset.test
        raise ValueError(
            f"fit: protocol='published' chooses the epoch on the test part, and {dataset.name} has none; pass protocol='validation', or "
            "protocol='none' to keep the last epoch"
        )
    _, held = dataset.split_valid(config.valid_fraction, seed=config.seed)
    if len(held):
        return held
    most = int(dataset.graph().user_degree.max())
    larger = f", or valid_fraction={math.ceil(5000 / most) / 10000:g} or more" if most > 1 else ""
    raise ValueError(
        f"fit: valid_fraction={config.valid_fraction} of a user's training edges, rounded, is none for every user of {dataset.name}, where no user "
        f"has more than {most}: there is nothing to choose an epoch on; pass protocol='none' to keep the last epoch{larger}"
    )
