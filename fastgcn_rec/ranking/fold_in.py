"""Folding in for whatever ranks."""

from __future__ import annotations

from typing import Any

from .folded import Folded
from .rank import as_ranker


class FoldIn(Folded):
    """A trained model, frozen to serve users and items that it has not seen.

    What does not depend on them is computed once, when this is made: a later training of the model is not seen. Then a new user costs
    O(edges * dim) and the scoring of the items. :meth:`Recommender.fold_in_users` and :meth:`Recommender.recommend_new` make one for each call.

    Parameters
    ----------
    model : Recommender, or anything that :func:`fastgcn_rec.ranking.as_ranker` takes, such as :class:`fastgcn_rec.Vectors`
    calibrate : bool
        Multiply new vectors by one number a side, the c that minimises |Z - c F|^2 for the trained vectors Z of up to 1,024 of the graph's own nodes,
        evenly spaced by degree, and the vectors F that folding in gives them. Rankings of one user do not depend on it, unless items have a bias
        beside an inner product (``popularity``), but whether new items get among the old ones does (docs/serve.md).
    options : of the model's ``folding``; see :meth:`MF.folding` (which holds for vectors of any origin) and :meth:`LightGCN.folding` for the formulas

    Raises
    ------
    TypeError : options that the model does not take. ValueError : ``calibrate`` without a graph to compare with. NotImplementedError : the model has
        no rule for new nodes.

    Examples
    --------
    >>> from fastgcn_rec import Graph, LightGCN
    >>> model = LightGCN(Graph.from_edges([0, 0, 1, 1], [0, 1, 1, 2]), embedding_dim=8)
    >>> fold = FoldIn(model)
    >>> fold.users([[0, 1], [2]]).shape
    torch.Size([2, 8])
    >>> fold.recommend([[0, 1]], k=1)[0].tolist()
    [[2]]
    """

    def __init__(self, model: Any, *, calibrate: bool = False, **options: Any) -> None:
        super().__init__(as_ranker(model, who="FoldIn"), calibrate=calibrate, **options)
