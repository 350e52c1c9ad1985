"""Training: one loop for every model that has something to train."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..core.graph import Graph
from ..data import Dataset, Edges, Interactions
from ..models import Recommender
from ..system import stopping
from ..system.progress import progress_bar, showing
from .checkpoint import Checkpoint, refit_checkpoint
from .checks import check_learnable, check_trainable, with_own_part
from .choice import Judge
from .config import TrainConfig, with_options
from .history import History
from .interruption import Asked, saved_when_stopped
from .sharing import shared_out
from .state import State
from .steps.make import make_step


def fit(
    model: Recommender,
    dataset: Dataset,
    config: TrainConfig | None = None,
    *,
    valid: Edges | Interactions | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    **options: Any,
) -> History:
    """Trains ``model`` on the edges of its graph, with their weights; afterwards it holds the chosen epoch's parameters.

    With ``refit`` and a validation part of the data set's own the graph is that of train and of this part afterwards.

    Parameters
    ----------
    model : MF, LightGCN, ...
        Parameters with ``requires_grad=False`` stay as they are.
    dataset : Dataset
        The one that the model was made from: its ids and training edges are compared with the model's. A model of a Graph of these edges, which
        may have weights of its own, is taken as well.
    config : TrainConfig; ``options`` replace single fields of it
    valid : Edges of internal ids, or Interactions, optional
        What the epoch is chosen on, in place of ``dataset.valid`` or a part held out of train. What of it is in train is not trained on before
        ``refit``; ids must be known to the data set. The same as training on ``dataset.with_valid(valid)``.
    checkpoint : path, optional
        Written every ``eval_every`` epochs, after the last, and when training stops before. If it exists, training goes on from it
        exactly: the same bits and the same History as without the interruption. Removed by nobody; delete it to start anew.
    progress : bool
        A bar with loss, rate and remaining time; a line from time to time where there is no terminal.
    on_epoch : called with every epoch's record (for logging; not while refitting)
        Once for every epoch, also over interruptions; again only for epochs after the last checkpoint where a process was killed or stopped by a
        second signal. On several ranks by each of them, with the same record.

    Returns
    -------
    History

    Raises
    ------
    ValueError : before training, where there is nothing to train, to learn from or to choose the epoch on, or the checkpoint is of another training.
    FloatingPointError : training diverged (loss or parameters not finite at an epoch's end). The model holds the best epoch so far, or what it held
        before, and the checkpoint is the last one from before.
    Interrupted : Ctrl-C, SIGTERM or SIGHUP: the step under way is completed and all is saved; an evaluation is given up, and taken after going on. A second
        signal stops at once: what is in the middle of a step is not saved, and the checkpoint remains the last whole one. The model holds the
        parameters of the moment.

    Notes
    -----
    The same bits for the same seed, whatever the number of threads: sample t of the training stream depends on (seed, t) alone,
    and all gradient sums have a fixed order.

    Where torch.distributed is initialised, all its ranks call ``fit`` with the same arguments, and train together (docs/ranks.md): each holds some columns
    of the table, and every rank ends with the whole model (one made with ``world=`` stays shared out) and the same History, the bits of one process.
    ``batch_size`` is that of all together. MF and LightGCN train so. An error on one rank alone leaves the model shared out.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> from fastgcn_rec.models import MF
    >>> data = synthetic_interactions(50, 40, 400)
    >>> len(fit(MF(data, 8), data, epochs=2, progress=False).epochs)
    2
    """
    config = with_options(config, options)
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"fit: on_epoch must be a function of an epoch's record, got {on_epoch!r:.80}")
    dataset = with_own_part(dataset, valid, config)
    check_trainable(model, dataset)
    path = None if checkpoint is None else Path(checkpoint)
    with stopping.deferred() as stop, _in_training_mode(model), shared_out(model, config, dataset, path, stop):
        judge = Judge(dataset, config)
        config = judge.config
        with _on_graph(model, judge.base(model.graph)) as graph:
            if not config.refit:
                return _train(model, judge, _checkpoint(path, model, config, dataset), stop, progress, on_epoch).history
            again, whole = dataclasses.replace(config, protocol="none", refit=False), judge.refit_graph(graph)
            beside = None if path is None else refit_checkpoint(path)
            with _on_graph(model, whole):  # what is refused, now, not after the first training
                check_learnable(whole, again, dataset.name)
                if judge.own is not None:
                    model.check_learnable()
                if (file := _checkpoint(beside, model, again, dataset)) is not None:
                    file.refuse_others()
            chosen = _train(model, judge, _checkpoint(path, model, config, dataset), stop, progress, on_epoch)
            chosen.restore(chosen.initial)
            again = dataclasses.replace(again, epochs=chosen.history.best_epoch)
            with _on_graph(model, whole):
                file = _checkpoint(beside, model, again, dataset)
                chosen.history.refit = _train(model, Judge(dataset, again), file, stop, progress).history.epochs
        model.graph = whole
        return chosen.history


def _train(
    model: Recommender,
    judge: Judge,
    checkpoint: Checkpoint | None,
    stop: stopping.Stop,
    progress: bool,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> State:
    """One training, from its beginning or from its checkpoint to its end; the model then holds the chosen epoch's parameters."""
    config, graph = judge.config, judge.training_graph(model.graph)
    check_learnable(graph, config, judge.name)
    with _on_graph(model, graph):
        state = State(model, config, judge.chosen_on, checkpoint)
        if judge.held is not None and state.world.size > 1:  # times decide on it, and the order of rows
            state.world.agree("fit", **{"edges held out of train": graph.fingerprint()})
        asked = Asked(stop, state.world)
        with saved_when_stopped(state, stop):
            model.check_learnable()
            state.begin(make_step(model, config))
            with (
                showing(progress),
                progress_bar(state.total, "step", initial=state.step, shown=state.world.first) as bar,
            ):
                while True:
                    if epoch := state.ended_epoch:
                        record = state.record()
                        if unseen := judge.must_evaluate(record):
                            asked.check(now=True)
                            record = judge.evaluate(model, record)
                        state.end_epoch(judge.choice(state.history, record))
                        if unseen:
                            bar.write(judge.describe(record))
                        state.report(on_epoch)
                        if judge.is_due(epoch):
                            state.save()
                    if state.done:
                        break
                    asked.check()
                    state.advance(bar)
            if judge.edges is not None:
                state.restore(state.best)
            asked.check(now=True)
        return state


def _checkpoint(path: Path | None, model: Recommender, config: TrainConfig, dataset: Dataset) -> Checkpoint | None:
    return None if path is None else Checkpoint.of(path, model, config, dataset)


@contextlib.contextmanager
def _on_graph(model: Recommender, graph: Graph) -> Iterator[Graph]:
    """The model with this graph in place of its own."""
    before, model.graph = model.graph, graph
    try:
        yield graph
    finally:
        model.graph = before


@contextlib.contextmanager
def _in_training_mode(model: Recommender) -> Iterator[None]:
    """What is drawn at random in training is drawn, whatever mode the model was put in, to which it returns."""
    before = model.training
    model.train()
    try:
        yield
    finally:
        model.train(before)
