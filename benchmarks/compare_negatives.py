"""``python -m benchmarks.compare_negatives --data gowalla --seconds T --seeds 3``: LightGCN trained for equal times, sampler by sampler.

Every sampler trains the same model from the same start for the same seconds of training (batches, steps, what the sampler computes;
not evaluation, and not what is computed once for a data set, whose seconds are told apart), by turns for every seed. What is compared is judged on a part held out of train, so that the test part chooses
nothing; ``--on test`` trains on all of train and judges on test, for a choice that is made.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from fastgcn_rec import Graph, LightGCN, TrainConfig, evaluate
from fastgcn_rec.negatives import parse
from fastgcn_rec.training.steps.make import make_step

from .harness import Record, Settings, command_of, dataset_named, run_context, write_results

SAMPLERS = (
    "uniform(1)",
    "uniform(4)",
    "popularity(1)",
    "shared(256)",
    "in_batch()",
    "dynamic(1, candidates=32, refresh=8)",
    "semi_hard(1, refresh=8)",
    "distance_weighted(1, refresh=8)",
    "curriculum(uniform(1), dynamic(1, candidates=32, refresh=8))",
    "ppr(1)",
    "curriculum(uniform(1), ppr(1))",
)
METRICS = ("recall@20", "ndcg@20")


def train(graph: Graph, judge, sampler: str, seconds: float, seed: int, args: argparse.Namespace) -> Record:
    """One training: steps until the time is up, then one evaluation."""
    model = LightGCN(graph, args.dim, args.layers, seed=seed)
    config = TrainConfig(
        loss=args.loss, margin=args.margin, negatives=sampler, batch_size=args.batch_size, lr=args.lr, seed=seed
    )
    start = time.perf_counter()
    parse(sampler).prepare(graph)
    prepared = time.perf_counter() - start
    start = time.perf_counter()
    step = make_step(model, config)
    for t in itertools.count():
        step(t, config.lr)
        if time.perf_counter() - start >= seconds:
            break
    spent = time.perf_counter() - start
    metrics = evaluate(model, judge, graph, ks=[20], metrics=("recall", "ndcg"))
    epochs = (t + 1) * config.batch_size / graph.n_edges
    return {"seed": seed, "steps": t + 1, "epochs": epochs, "seconds": spent, "prepared": prepared} | {
        m: metrics[m] for m in METRICS
    }


def summary(sampler: str, runs: Sequence[Record]) -> Record:
    """Means over the seeds, and the spread: the sample's standard deviation, None for one seed."""
    record: Record = {"case": "compare_negatives", "sampler": sampler}
    record["epochs"] = statistics.mean(r["epochs"] for r in runs)
    record["prepared_seconds"] = max(r["prepared"] for r in runs)
    for metric in METRICS:
        values = [r[metric] for r in runs]
        record[metric] = statistics.mean(values)
        record[f"{metric}_spread"] = statistics.stdev(values) if len(values) > 1 else None
    return record | {"runs": list(runs)}


def table(records: Sequence[Record]) -> str:
    lines = [f"{'sampler':64s} {'epochs':>7s}" + "".join(f" {m:>18s}" for m in METRICS)]
    for r in records:
        cells = "".join(
            f" {r[m]:.4f}" + (f" +- {s:.4f}" if (s := r[f"{m}_spread"]) is not None else f"{'':10s}") + "  "
            for m in METRICS
        )
        lines.append(f"{r['sampler']:64s} {r['epochs']:7.1f}{cells}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser("python -m benchmarks.compare_negatives", description=__doc__)
    parser.add_argument("--data", default="gowalla")
    parser.add_argument("--seconds", type=float, default=120.0, help="of training, for each sampler and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--on", choices=("validation", "test"), default="validation")
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, metavar="TEXT", help="as for TrainConfig.negatives")
    parser.add_argument("--loss", choices=("bpr", "binary", "max_margin"), default="bpr")
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/compare-negatives.json"))
    args = parser.parse_args(argv)
    configs = [TrainConfig(negatives=text) for text in args.samplers]  # names are checked before anything runs
    texts = [str(config.negatives) for config in configs]
    data = dataset_named(args.data)
    data, judge = (data, data.test) if args.on == "test" else data.split_valid(0.1, seed=0)
    graph = data.graph()
    runs: dict[str, list[Record]] = {text: [] for text in texts}
    for seed in range(args.seeds):
        for text in texts:
            runs[text].append(train(graph, judge, text, args.seconds, seed, args))
            print(f"seed {seed}, {text}: recall@20 {runs[text][-1]['recall@20']:.4f}", flush=True)
    records = [summary(text, runs[text]) for text in texts]
    print(table(records))
    context = run_context(argv, Settings(args.data, torch.device("cpu"), args.dim))
    context["command"] = command_of("benchmarks.compare_negatives", argv)
    options = {k: v for k, v in vars(args).items() if k not in ("json", "samplers")}
    write_results(args.json, context | {"options": options}, records)
    print(f"written: {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
