"""How to train: every setting in one place, checked all at once."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from ..core.arguments import check_count
from ..core.fields import Rule
from ..losses import Objective
from ..negatives import Sampler, parse
from ..ranking.metrics import parse_metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(Objective):
    """How to train. What comes before ``epochs`` is its :class:`fastgcn_rec.losses.Objective`, all that a model may know of it.

    Attributes
    ----------
    loss : "bpr", "binary", "max_margin" or "softmax"
        What a step minimises; the softmax is in-batch, on cosines.
    temperature : float
        Of the softmax: what cosines are divided by. See :func:`fastgcn_rec.softmax_loss`.
    negative_weight : float
        Of the softmax: the weight of the negatives, 1 in the plain one.
    logq : float
        The softmax's bias of an item is -logq * log q, q the probability that it is drawn as a positive. 1 corrects for negatives that
        are drawn by popularity, which vectors of length 1 need; 0, the default, leaves popularity to the vectors' lengths (docs/choices.md).
    logq_density : float
        Makes ``logq`` at least min(1, logq_density * density), density the part of all pairs of users and items that are edges. On dense data every
        vector is trained in most steps, so that lengths learn little of popularity. 50: from 2 % on the correction is full.
    margin : float
        Of max_margin: by how much a positive is to score above a negative.
    reg : float
        The ridge, lambda in lambda * 1/2 * sum |e|^2 / B over the ego embeddings of the batch's users, positives and negatives, repeated
        rows counted as often as they occur (LightGCN's published formula).
    sampler : "user" or "edge"
        How positives are drawn: see :func:`fastgcn_rec.sample_batch`. Weights of edges do not enter here: they say how much a node takes from
        its neighbours (propagation, walks), so that MF, whose vectors take nothing from neighbours, trains as without them.
    batch_size : int
        Positive pairs in a step.
    seed : int
        Of all that is drawn in training.
    epochs : int
        How many at most; an epoch is ceil(n_edges / batch_size) steps.
    min_steps : int
        Where ``epochs`` epochs are fewer steps than these, as on small data, so many epochs more are trained that they are not, and ``eval_every`` grows
        in proportion: :meth:`for_edges`. 0: ``epochs`` as they are. Who changes ``epochs`` alone means it: :meth:`replaced`.
    n_neg : int
        Uniform negatives per positive (all losses but softmax, which takes none).
    negatives : str or Sampler
        In place of ``n_neg`` uniform ones: a sampler of :mod:`fastgcn_rec.negatives` or its text, which is what is kept, such as
        "uniform(1)+dynamic(1, candidates=32)". "": ``n_neg`` uniform ones.
    optimizer : "adam", "lazy_adam", "adagrad" or "sgd"
        What moves the table in a step: adam every row, the others those of the batch's users, positives and negatives alone, which is several
        times as fast where a batch touches few. These are for MF, and LightGCN without layers. :class:`fastgcn_rec.TrainStep` states their laws. Each wants
        a learning rate of its own (docs/train.md).
    lr : float
        The learning rate.
    warmup : float in [0, 1)
        The part w of all steps in which the learning rate rises from 0 to ``lr``: step t of T takes lr * min(1, f / w) with
        f = (t + 1/2) / T. Adam's first steps have one size whatever the gradient; a warmup keeps them small.
    lr_schedule : "constant" or "linear"
        What follows the warmup; linear: lr * (1 - f) / (1 - w), so that ``epochs`` is part of the recipe.
    protocol : "validation", "published" or "none"
        How the epoch that is kept is chosen. validation: on the validation part of the data set, or a part of train that is held out where it has
        none; the epoch with the best metric there is kept, the test part is not looked at;
        published: the epoch is picked on the test part, as most published code does, and the result says so;
        none: no evaluation, the last epoch is kept.
    valid_fraction : float in (0, 1)
        The part of train that the protocol validation holds out of data without a validation part.
    valid_split : "random", "temporal" or "order"
        Which part: any of each user's edges, the latest ones, which needs times, or the last ones in the order of rows (:meth:`fastgcn_rec.data.Dataset.split_valid`).
    metric : str
        What chooses the epoch, NAME@K with a name out of :data:`fastgcn_rec.ranking.metrics.METRICS`. Of gini and popularity less is better.
    eval_every : int
        Epochs from one evaluation to the next.
    patience : int
        Stop after so many evaluations without a better one (0: never).
    refit : bool
        After the choice, train anew on all of train and the validation part for the chosen number of epochs (a linear schedule ends there), so
        that what was chosen on is not lost.
    storage : "float32" or "bfloat16"
        Dtype of the layers between hops; parameters and sums stay float32. docs/performance.md says what it gives.

    Scalars of NumPy and torch become Python's.

    Raises
    ------
    TypeError : fields of another kind (2.5 or True for an int). ValueError : values that cannot work. Either names all such fields at once.

    Examples
    --------
    >>> TrainConfig(lr=0.0, metric="ndcg")
    Traceback (most recent call last):
    ValueError: TrainConfig: 2 settings cannot work:
      lr must be > 0 and finite, got 0.0
      metric must be NAME@K with K >= 1 and NAME out of recall, ndcg, precision, hit, mrr, map, novelty, diversity, coverage, gini, popularity, personalization, got 'ndcg'
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        *Objective.rules,
        (("epochs", "min_steps", "patience"), "be >= 0 and below 2**31", lambda value: 0 <= value < 2**31),
        (("n_neg", "eval_every"), "be >= 1 and below 2**31", lambda value: 1 <= value < 2**31),
        (("lr",), "be > 0 and finite", lambda value: 0 < value < math.inf),
        (("warmup",), "be a part of all steps, 0 <= warmup < 1", lambda value: 0 <= value < 1),
        (("valid_fraction",), "lie strictly between 0 and 1", lambda value: 0 < value < 1),
    )

    epochs: int = 100
    min_steps: int = 0
    n_neg: int = 1
    negatives: str | Sampler = ""
    optimizer: Literal["adam", "lazy_adam", "adagrad", "sgd"] = "adam"
    lr: float = 1e-3
    warmup: float = 0.0
    lr_schedule: Literal["constant", "linear"] = "constant"
    protocol: Literal["validation", "published", "none"] = "validation"
    valid_fraction: float = 0.1
    valid_split: Literal["random", "temporal", "order"] = "random"
    metric: str = "recall@20"
    eval_every: int = 5
    patience: int = 5
    refit: bool = False
    storage: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives:
            object.__setattr__(self, "negatives", str(parse(self.negatives)))  # the text is the one form

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        try:
            parse_metric(self.metric)
        except ValueError as error:
            yield str(error)
        if self.min_steps and not self.epochs:
            yield f"min_steps stretches the epochs, got min_steps={self.min_steps} with epochs=0; give epochs, or leave min_steps at 0"
        if self.refit and self.protocol != "validation":
            yield f"refit needs protocol='validation', got {self.protocol!r}: nothing is held out"
        if self.negatives:
            yield from self._problems_of_negatives()

    def _problems_of_negatives(self) -> Iterator[str]:
        try:
            sampler = parse(self.negatives)
            text = str(sampler)
            whole = parse(text) == sampler
        except ValueError as error:
            yield str(error)
            return
        if not whole:
            yield (
                f"negatives={text} leaves out a part of the sampler, so that a checkpoint could not name it; write a "
                "sampler class of your own (fastgcn_rec.negatives.Sampler)"
            )
        if self.loss == "softmax":
            yield f"the softmax takes the batch's positives as negatives, not negatives={text!r}"
        if self.n_neg != 1:
            yield f"negatives={text!r} has counts of its own; leave n_neg at 1, got {self.n_neg}"

    def steps_per_epoch(self, n_edges: int) -> int:
        """ceil(n_edges / batch_size)."""
        return math.ceil(n_edges / self.batch_size)

    def for_edges(self, n_edges: int) -> TrainConfig:
        """The same training of a graph of ``n_edges`` edges in epochs alone: max(epochs, ceil(min_steps / steps per epoch)) of them, ``eval_every`` longer
        by the same factor, rounded, and ``min_steps=0``. A schedule spans all of them, ``patience`` counts evaluations.

        >>> config = TrainConfig(epochs=14, eval_every=7, min_steps=2800).for_edges(80_000)  # 40 steps an epoch
        >>> config.epochs, config.eval_every, config.min_steps
        (70, 35, 0)
        """
        steps = self.steps_per_epoch(check_count(n_edges, "for_edges: n_edges", 0))
        wanted = -(-self.min_steps // steps) if steps else 0
        if wanted <= self.epochs:
            return dataclasses.replace(self, min_steps=0) if self.min_steps else self
        longer = min(max(1, round(self.eval_every * wanted / self.epochs)), 2**31 - 1)
        return dataclasses.replace(self, epochs=wanted, eval_every=longer, min_steps=0)

    def replaced(self, **settings: Any) -> TrainConfig:
        """With ``settings`` in place of single fields. ``epochs`` without ``min_steps`` are so many epochs, on data of any size.

        >>> TrainConfig(epochs=14, min_steps=2800).replaced(epochs=2).min_steps
        0
        """
        if "epochs" in settings:
            settings = {"min_steps": 0, **settings}
        return dataclasses.replace(self, **settings)

    def depends_on_epochs(self) -> bool:
        """Whether a step's learning rate depends on the number of epochs."""
        return self.warmup > 0 or self.lr_schedule != "constant"

    def lr_at(self, step: int, total: int) -> float:
        """The learning rate of step ``step`` (from 0) of ``total``."""
        part = (step + 0.5) / total
        if part < self.warmup:
            return self.lr * part / self.warmup
        return self.lr * (1 - part) / (1 - self.warmup) if self.lr_schedule == "linear" else self.lr


def with_options(config: TrainConfig | None, options: Mapping[str, Any]) -> TrainConfig:
    """The config, or the default one, with ``options`` in place of single fields."""
    if config is not None and not isinstance(config, TrainConfig):
        raise TypeError(
            f"fit: config must be a TrainConfig, got {config!r:.80}; pass single settings as fit(..., epochs=5)"
        )
    config = config or TrainConfig()
    known = [field.name for field in dataclasses.fields(config)]
    if "row_groups" in options:
        raise ValueError(
            f"fit: ranks share out columns here, got row_groups={options['row_groups']!r}; where they share out rows of the graph too, "
            "call fastgcn_rec.training.rows.fit_rows (docs/ranks.md)"
        )
    if unknown := [name for name in options if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"is {near[0]} meant" if near else f"there are {', '.join(known)}"
        raise TypeError(f"fit: {unknown[0]!r} is no field of {type(config).__name__}; {hint}{'?' if near else ''}")
    return config.replaced(**options)
