"""Ranking by whatever scores: lists, metrics, evaluation, folding in, indexes, two stages, files of lists and vectors."""

from .content import diversity, novelty
from .evaluate import UserMetrics, evaluate, evaluate_users
from .export import write_recommendations, write_vectors
from .fold_in import FoldIn
from .index import Index
from .indexed import Indexed
from .metrics import bootstrap, list_metrics, ranking_metrics
from .rank import as_ranker, ranked
from .ranker import Ranker
from .recommendations import ListsReport, Recommendations, read_recommendations
from .significance import PairedTest, benjamini_hochberg, holm, paired_tests
from .two_stage import TwoStage
from .vectors import Vectors

__all__ = [
    "FoldIn",
    "Index",
    "Indexed",
    "PairedTest",
    "ListsReport",
    "Ranker",
    "Recommendations",
    "TwoStage",
    "UserMetrics",
    "Vectors",
    "as_ranker",
    "benjamini_hochberg",
    "bootstrap",
    "diversity",
    "evaluate",
    "evaluate_users",
    "holm",
    "list_metrics",
    "novelty",
    "paired_tests",
    "ranked",
    "ranking_metrics",
    "read_recommendations",
    "write_recommendations",
    "write_vectors",
]
