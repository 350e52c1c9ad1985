"""``python -m benchmarks.compare_pinsage --data online-retail``: what features, the graph, and both give, for items trained on and for new ones.

A tenth of the items is held out of training altogether: their features are not fitted on and no event of theirs is in the training graph.
The rest is split as the data set is by default. Each model is trained once a seed, its epoch picked on a validation part of train; then it
ranks (1) the items it was trained on, against the test part, and (2), grown by ``with_items``, the held-out items, which bring their first
0 or 5 events as edges and whose other events are to be found, among the held-out items alone and among all. Users whose edges the new items
bring see these as their own. Nothing is chosen on the test part.

``--contenders "text vectors"`` (and ``"words and text vectors"``) read the titles by the encoder of the extra ``text``. ``--trend 0.07`` ranks with what
is popular now too, of the same trainings: PinSAGE's ``trend``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastgcn_rec import Graph, PinSAGE, Popularity, evaluate, fit
from fastgcn_rec.data import Dataset, Edges
from fastgcn_rec.data.rows import last_ranks
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.features import Categorical, Embedding, Features, Numeric, Text, text_vectors

from .harness import Record, Settings, command_of, dataset_named, run_context, write_results

COLUMNS = {
    "online-retail": {"id": Categorical(), "title": Text(words=2), "median_price": Numeric(log=True)},
    "ml-1m": {"id": Categorical(), "genres": Categorical("|"), "year": Numeric(), "period": Categorical()},
    "ml-100k": {"id": Categorical(), "genres": Categorical("|"), "year": Numeric(), "period": Categorical()},
}
EPOCHS = {"online-retail": 8, "ml-1m": 4, "ml-100k": 8}
MODEL = {"linear": True, "top": 20, "n_walks": 1000, "walk_length": 1, "degree_power": 0.5, "history": 30, "round_share": 0.1,
         "cold_share": 0.3}  # fmt: skip
TRAIN = dataclasses.replace(RECIPES["pinsage"].training(), eval_every=1)
VECTOR = {"title_vector": Embedding()}


@dataclasses.dataclass(frozen=True)
class Contender:
    """What a model sees: the titles' words (where COLUMNS has them) or their vectors, the ids, the graph."""

    ids: bool = False
    graph: bool = False
    words: bool = True
    vectors: bool = False

    def features(self, data: str) -> Features:
        left_out = {"id": self.ids, "title": self.words}
        columns = {name: kind for name, kind in COLUMNS[data].items() if left_out.get(name, True)}
        return Features(columns | (VECTOR if self.vectors else {}))


CONTENDERS = {
    "features only": Contender(),
    "features and ids": Contender(ids=True),
    "features and graph": Contender(graph=True),
    "PinSAGE": Contender(ids=True, graph=True),
    "text vectors": Contender(words=False, vectors=True),
    "words and text vectors": Contender(vectors=True),
    "PinSAGE, text vectors": Contender(ids=True, graph=True, vectors=True),
}
GIVEN = (0, 5)
KS = (20,)


def described(data: Dataset, vectors: bool = False) -> Dataset:
    """With the items' ids as a column, the years also in fives, as categories, and the ``vectors`` of their titles."""
    info = {**data.item_info, "id": data.item_ids}
    if vectors:
        info["title_vector"] = text_vectors(info["title"])
    if "year" in info:
        known = ~np.isnan(info["year"].astype(float))
        info["period"] = np.array([str(int(y) // 5) if k else "" for y, k in zip(info["year"], known, strict=True)])
    return dataclasses.replace(data, item_info=info)


@dataclasses.dataclass
class Task:
    """Items kept for training come first; ``held`` are the others, by their ids in ``whole``."""

    whole: Dataset
    train: Dataset
    held: np.ndarray
    events: Edges  # of the held-out items, items numbered from 0
    rank: np.ndarray  # of an event among its item's, the first 0

    @classmethod
    def make(cls, whole: Dataset, share: float, seed: int) -> Task:
        rng = np.random.default_rng(seed)
        chosen = np.zeros(whole.n_items, bool)
        chosen[rng.choice(whole.n_items, round(share * whole.n_items), replace=False)] = True
        kept, held = np.flatnonzero(~chosen), np.flatnonzero(chosen)
        number = np.empty(whole.n_items, np.int64)
        number[kept], number[held] = np.arange(len(kept)), np.arange(len(held))

        def part(edges: Edges, of: np.ndarray) -> Edges:
            some = edges.select(of[edges.items])
            return Edges(some.users, number[some.items], some.time)

        train = dataclasses.replace(
            whole,
            train=part(whole.train, ~chosen),
            test=part(whole.test, ~chosen),
            item_ids=whole.item_ids[kept],
            item_info={name: column[kept] for name, column in whole.item_info.items()},
        )
        parts = [part(edges, chosen) for edges in (whole.train, whole.test)]
        users, items = (np.concatenate([getattr(p, side) for p in parts]) for side in ("users", "items"))
        order = rng.permutation(len(users)) if parts[0].time is None else -np.concatenate([p.time for p in parts])
        return cls(whole, train, held, Edges(users, items), last_ranks(items, order, len(held)))

    def edges(self, given: int) -> tuple[Edges, Edges]:
        return self.events.select(self.rank < given), self.events.select(self.rank >= given)


Scores = Callable[[torch.Tensor], torch.Tensor]


def judged(task: Task, given: int, name: str, scores: Scores) -> Record:
    """``scores``: users [b] -> [b, items trained on + held-out items]."""
    n, m = task.train.n_items, len(task.held)
    known, wanted = task.edges(given)
    own = Graph.from_edges(known.users, known.items, task.whole.n_users, m)
    everything = Graph.from_edges(
        np.concatenate([task.train.train.users, known.users]),
        np.concatenate([task.train.train.items, known.items + n]),
        task.whole.n_users,
        n + m,
    )
    among = evaluate(lambda users: scores(users)[:, n:].contiguous(), wanted, own, ks=KS)
    all_items = evaluate(scores, Edges(wanted.users, wanted.items + n), everything, ks=KS)
    record: Record = {"case": f"{given} events given", "contender": name}
    return (
        record | {f"{key} held-out": v for key, v in among.items()} | {f"{key} all": v for key, v in all_items.items()}
    )


def compare(task: Task, args: argparse.Namespace, seed: int) -> list[Record]:
    popularity = Popularity(task.train)
    records: list[Record] = [
        {"case": "warm", "contender": "popularity", **evaluate(popularity, task.train.test, ks=KS)}
    ]
    chance = torch.rand(task.whole.n_users, task.whole.n_items, generator=torch.Generator().manual_seed(seed))
    records += [judged(task, given, "random", lambda users: chance[users]) for given in GIVEN]
    held_info = {name: column[task.held] for name, column in task.whole.item_info.items()}
    for name in args.contenders:
        contender = CONTENDERS[name]
        layers = args.layers if contender.graph else 0
        features = contender.features(args.data)
        options = {"num_layers": layers, "seed": seed, **MODEL, "top": args.top}
        model = PinSAGE(task.train, features, **options)
        start = time.perf_counter()
        history = fit(model, task.train, TRAIN, epochs=args.epochs, seed=seed, progress=False)
        trained: Record = {
            "seconds": time.perf_counter() - start,
            "best_epoch": history.best_epoch,
            "valid": history.best_metric,
        }
        models = {name: model}
        if args.trend:
            models[f"{name}, trend"] = PinSAGE(task.train, features, trend=args.trend, **options)
            models[f"{name}, trend"].load_state_dict(dict(model.named_parameters()), strict=False)
        for called, one in models.items():
            records.append({"case": "warm", "contender": called, **trained, **evaluate(one, task.train.test, ks=KS)})
            for given in GIVEN:
                known, _ = task.edges(given)
                by_item = Graph.from_edges(known.items, known.users, len(task.held), task.whole.n_users).to_scipy()
                start = time.perf_counter()
                grown = one.with_items(held_info, by_item, task.whole.item_ids[task.held])
                users, items = grown.scoring_vectors()
                seconds = time.perf_counter() - start
                record = judged(task, given, called, lambda rows, u=users, i=items: u[rows] @ i.T)
                records.append(record | {"seconds": seconds})
        print(f"seed {seed}, {name}: {trained}", flush=True)
    return [{"seed": seed, **record} for record in records]


def table(records: Sequence[Record]) -> str:
    """Mean and standard deviation over the seeds."""
    lines, groups = [], {}
    for r in records:
        groups.setdefault((r["case"], r["contender"]), []).append(r)
    for (case, contender), group in groups.items():
        figures = []
        for key in (k for k in group[0] if "@" in k):
            values = [r[key] for r in group]
            figures.append(f"{key} {np.mean(values):.4f} +- {np.std(values, ddof=1) if len(values) > 1 else 0:.4f}")
        lines.append(f"{case:16s} {contender:14s} " + ", ".join(figures))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser("python -m benchmarks.compare_pinsage", description=__doc__)
    parser.add_argument("--data", choices=sorted(COLUMNS), default="online-retail")
    parser.add_argument("--share", type=float, default=0.1, help="of the items to hold out")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--top", type=int, default=MODEL["top"], help="neighbours of an item")
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=[name for name, c in CONTENDERS.items() if not c.vectors]
    )
    parser.add_argument("--trend", type=float, default=0.0, help="PinSAGE's trend; needs times. 0: without")
    parser.add_argument("--epochs", type=int, help="default: by data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    args.epochs = args.epochs or EPOCHS[args.data]
    whole = described(dataset_named(args.data), any(CONTENDERS[name].vectors for name in args.contenders))
    records: list[Record] = []
    for seed in args.seeds:
        records += compare(Task.make(whole, args.share, seed), args, seed)
        print(table(records), flush=True)
    if args.json:
        context: dict[str, Any] = run_context(argv, Settings(args.data, torch.device("cpu")))
        context["command"] = command_of("benchmarks.compare_pinsage", argv)
        context["model"] = MODEL | {"top": args.top, "trend": args.trend}
        context["train"] = dataclasses.asdict(TRAIN.replaced(epochs=args.epochs))
        write_results(args.json, context, records)
        print(f"written: {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
