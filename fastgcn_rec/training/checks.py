"""What ``fit`` refuses before it trains."""

from __future__ import annotations

from typing import Any

from ..core.graph import Graph
from ..data import Dataset
from ..losses import Objective
from ..models import Recommender
from ..ranking.same_data import check_same_data
from .config import TrainConfig


def check_trainable(model: Any, dataset: Any) -> None:
    """Raises unless the model has something to train, on this data set's training edges."""
    if not isinstance(model, Recommender):
        raise TypeError(f"fit: model must be a Recommender, such as LightGCN(dataset), got {type(model).__name__}")
    if not list(model.parameters()):
        raise TypeError(
            f"fit: {type(model).__name__} has no parameters to train: a model of this class is ready when it is made"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"fit: all parameters of this {type(model).__name__} have requires_grad=False: nothing would be trained; call requires_grad_() on what "
            "should be"
        )
    check_same_data("fit", model, dataset)
    if len(dataset.train) == 0:
        raise ValueError(f"fit: {dataset.name} has no training edges")


def with_own_part(dataset: Any, valid: Any, config: TrainConfig) -> Any:
    """The data set with ``valid`` as its validation part, where that is given; what is no data set stays as it is."""
    if valid is None or not isinstance(dataset, Dataset):
        return dataset
    if config.protocol != "validation":
        raise ValueError(
            f"fit: valid is what protocol='validation' chooses the epoch on, and protocol is {config.protocol!r}; leave one of them out"
        )
    found = dataset.with_valid(valid)
    if not len(found.valid):
        raise ValueError(
            "fit: valid has no edges, so that there is nothing to choose an epoch on; leave it out to hold out a part of train, or pass protocol='none'"
        )
    return found


def check_learnable(graph: Graph, objective: Objective, name: str) -> None:
    """Raises where no loss could tell one item from another."""
    degree = graph.user_degree[graph.user_degree > 0]
    if objective.loss in ("bpr", "max_margin") and int(degree.min()) == graph.n_items:
        raise ValueError(
            f"fit: loss={objective.loss!r} ranks a user's items above others, and every user of {name} has all {graph.n_items} items: nothing can be "
            "learnt from it; take data with items that are not chosen, or loss='binary'"
        )
    if objective.loss == "softmax" and int((graph.item_degree > 0).sum()) == 1:
        raise ValueError(
            f"fit: loss='softmax' ranks a pair's item above those of the batch, and all edges of {name} are of one item: nothing can be learnt from it"
        )
