"""Ranking by whatever scores: lists, metrics, evaluation, folding in, indexes, two stages, files of lists and vectors."""

from .evaluate import evaluate
from .export import write_recommendations, write_vectors
from .fold_in import FoldIn
from .index import Index, Indexed
from .metrics import bootstrap, list_metrics, ranking_metrics
from .rank import ranked
from .two_stage import TwoStage

__all__ = [
    "FoldIn",
    "Index",
    "Indexed",
    "TwoStage",
    "bootstrap",
    "evaluate",
    "list_metrics",
    "ranked",
    "ranking_metrics",
    "write_recommendations",
    "write_vectors",
]
