"""Ranking by whatever scores: lists, metrics, evaluation, folding in, indexes, two stages, files of lists and vectors."""

from .evaluate import evaluate
from .export import write_recommendations, write_vectors
from .fold_in import FoldIn
from .index import Index
from .indexed import Indexed
from .metrics import bootstrap, list_metrics, ranking_metrics
from .rank import as_ranker, ranked
from .ranker import Ranker
from .two_stage import TwoStage
from .vectors import Vectors

__all__ = [
    "FoldIn",
    "Index",
    "Indexed",
    "Ranker",
    "TwoStage",
    "Vectors",
    "as_ranker",
    "bootstrap",
    "evaluate",
    "list_metrics",
    "ranked",
    "ranking_metrics",
    "write_recommendations",
    "write_vectors",
]
