"""Which values to try next: Optuna's sampler on what was tried."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..models.space import Tunable
from ..system.values import json_value, same_values
from .study import Trial

_RANDOM = 8  # trials before what was tried decides
_ASKED = 50  # times for values that were not tried yet


def plays(one: Tunable, params: Mapping[str, Any]) -> bool:
    """Whether it plays a part beside the others' values.

    >>> plays(Tunable("b", 0.0, 1.0, when=("similarity", ("bm25",))), {"similarity": "cosine", "b": 0.5})
    False
    """
    return one.when is None or one.when[0] not in params or params[one.when[0]] in one.when[1]


def optuna_or_error() -> Any:
    """The module. ImportError: it is not installed."""
    try:
        import optuna
    except ImportError:
        raise ImportError("tune needs optuna: pip install 'fastgcn_rec[tune]'") from None
    return optuna


class Search:
    """Proposes values by a tree-structured Parzen estimator (Bergstra et al. 2011; all values together: Falkner et al. 2018).

    What it proposes depends on the seed and on the trials so far alone, so that a search that was interrupted goes on as it would have.

    Parameters
    ----------
    space : what varies
    maximize : whether more is better
    seed : int

    Raises
    ------
    ImportError : optuna is not installed.

    Examples
    --------
    >>> search = Search((Tunable("reg", 1.0, 100.0, log=True),), maximize=True)
    >>> 1 <= search.propose([])["reg"] <= 100
    True
    """

    def __init__(self, space: Sequence[Tunable], maximize: bool, seed: int = 0) -> None:
        self._optuna: Any = optuna_or_error()
        self.space, self.maximize, self.seed = tuple(space), maximize, seed
        self._laws = {one.name: self._law(one) for one in self.space}

    def _law(self, one: Tunable) -> Any:
        laws = self._optuna.distributions
        if one.choices:
            return laws.CategoricalDistribution([json.dumps(json_value(value)) for value in one.choices])
        return (laws.IntDistribution if one.whole else laws.FloatDistribution)(*one.ends, log=one.log)

    def propose(self, tried: Sequence[Trial]) -> dict[str, Any] | None:
        """Values that none of ``tried`` has; None where no such ones are found, as the space is used up."""
        with self._quiet():
            for attempt in range(_ASKED):
                asked = self._study(tried, (len(tried), attempt)).ask(self._laws)
                params = {one.name: self._value(one, asked.params[one.name]) for one in self.space}
                params |= {one.name: one.first for one in self.space if not plays(one, params)}
                if not any(same_values(params, dict(trial.params)) for trial in tried):
                    return params
        return None

    def importances(self, tried: Sequence[Trial]) -> dict[str, float]:
        """How much of the difference between good trials and all each option makes, in sum 1, the largest first (PED-ANOVA, Watanabe et al. 2023); empty
        where there is too little to tell."""
        done = [trial for trial in tried if trial.state == "done"]
        if len(self.space) < 2 or len(done) < 2 * _RANDOM or len({trial.value for trial in done}) < 2:
            return {}
        with self._quiet():
            evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
            found = self._optuna.importance.get_param_importances(self._study(done, (0, 0)), evaluator=evaluator)
        return {name: float(value) for name, value in found.items()}

    def _study(self, tried: Sequence[Trial], drawn: tuple[int, int]) -> Any:
        optuna = self._optuna
        # each proposal has a stream of its own: 1000 attempts, 2^20 trials, and the seed above
        seed = (self.seed * (1 << 20) + drawn[0]) * 1000 + drawn[1]
        sampler = optuna.samplers.TPESampler(multivariate=True, n_startup_trials=_RANDOM, seed=seed % (1 << 32))
        study = optuna.create_study(direction="maximize" if self.maximize else "minimize", sampler=sampler)
        for trial in tried:
            if self._holds(trial.params):
                ended = optuna.trial.TrialState.COMPLETE if trial.state == "done" else optuna.trial.TrialState.PRUNED
                values = {round(1000 * part): value for part, value in trial.values}
                study.add_trial(
                    optuna.trial.create_trial(
                        state=ended,
                        value=trial.value if trial.state == "done" else None,
                        params={one.name: self._known(one, trial.params[one.name]) for one in self.space},
                        distributions=self._laws,
                        intermediate_values=values,
                    )
                )
        return study

    def _holds(self, params: Mapping[str, Any]) -> bool:
        return all(one.holds(params[one.name]) for one in self.space)

    @staticmethod
    def _value(one: Tunable, proposed: Any) -> Any:
        """As it is tried: of a float three digits."""
        if one.choices:
            return json.loads(proposed)
        if one.whole:
            return int(proposed)
        low, high = one.ends
        return min(max(float(f"{proposed:.3g}"), float(low)), float(high))

    @staticmethod
    def _known(one: Tunable, value: Any) -> Any:
        if not one.choices:
            return value
        return next(
            json.dumps(json_value(own)) for own in one.choices if same_values(json_value(own), json_value(value))
        )

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Without a line for every study, and without warnings that an option is new there."""
        logging = self._optuna.logging
        before = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
                yield
        finally:
            logging.set_verbosity(before)
