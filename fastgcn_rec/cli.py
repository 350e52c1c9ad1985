"""The command line: fastgcn-rec train | evaluate | recommend | similar | export | compare | datasets | estimate | demo | doctor."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import doctor
from .compare import DEFAULT_MODELS, NAMES, compare, table
from .data import Dataset, DatasetUnavailableError, available_datasets, load_dataset
from .evaluate import evaluate
from .export import write_recommendations, write_vectors
from .memory import estimate_memory
from .models import Popularity, Recommender
from .recipes import RECIPES
from .storage import write_json
from .train import History, Interrupted, TrainConfig, fit, refit_checkpoint
from .two_stage import TwoStage

_KS = (10, 20, 50)
_LIKED = ("Star Wars", "Empire Strikes Back, The", "Raiders of the Lost Ark", "Alien", "Terminator, The")
_METRICS = ("recall", "ndcg", "precision", "hit", "mrr", "map", "coverage")


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except Interrupted as stop:
        print(f"\n{stop}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
        print(f"fastgcn-rec: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastgcn-rec", description="Graph recommender systems, fast and reproducible."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a model, evaluate it once on test, write everything to a folder")
    train.set_defaults(run=_train)
    train.add_argument("dataset", metavar="DATASET", help="a name that `fastgcn-rec datasets` lists")
    train.add_argument("--recipe", choices=sorted(RECIPES), default="default")
    train.add_argument("--out", type=Path, help="default: runs/DATASET-RECIPE")
    train.add_argument("--device", default="cpu")
    train.add_argument("--tensorboard", action="store_true", help="log to OUT/tensorboard (needs the extra)")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.add_argument("--model", choices=["LightGCN", "MF"], help="instead of the recipe's")
    train.add_argument("--dim", type=int, help="embedding dimension")
    train.add_argument("--layers", type=int, help="layers of LightGCN")
    for field in dataclasses.fields(TrainConfig):
        kind: Any = {"int": int, "float": float}.get(str(field.type), str)
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if field.type == "bool" else {"type": kind}
        about = "samplers, such as 'uniform(1)+dynamic(1)', in place of n-neg uniform ones"
        about = about if field.name == "negatives" else "instead of the recipe's"
        train.add_argument(f"--{field.name.replace('_', '-')}", help=about, **how)

    test = commands.add_parser("evaluate", help="evaluate a saved model on a data set's test part")
    test.set_defaults(run=_evaluate)
    test.add_argument("model", type=Path, metavar="MODEL", help="model.npz, or the folder that train wrote")
    test.add_argument("dataset", metavar="DATASET")

    recommend = commands.add_parser("recommend", help="the best unseen items of some users")
    recommend.set_defaults(run=_recommend)
    recommend.add_argument("model", type=Path, metavar="MODEL")
    recommend.add_argument("some", nargs="*", metavar="USER", help="raw user ids")
    recommend.add_argument("--users", metavar="FILE", help="'all', or a file of raw user ids, one a line")
    recommend.add_argument("-k", "--k", type=int, default=10)
    recommend.add_argument(
        "--out", type=Path, help="a .csv or .parquet file instead of the screen: user, rank, item, score"
    )
    recommend.add_argument("--quiet", action="store_true", help="no progress bar")

    similar = commands.add_parser("similar", help="the items nearest to some items, by cosine")
    similar.set_defaults(run=_similar)
    similar.add_argument("model", type=Path, metavar="MODEL")
    similar.add_argument("items", nargs="+", metavar="ITEM", help="raw item ids")
    similar.add_argument("-k", "--k", type=int, default=10)

    export = commands.add_parser("export", help="the vectors with their ids, for an index of another program")
    export.set_defaults(run=_export)
    export.add_argument("model", type=Path, metavar="MODEL")
    export.add_argument("--side", choices=["items", "users"], default="items")
    export.add_argument("--out", type=Path, required=True, help="a .npz or .parquet file")

    datasets = commands.add_parser("datasets", help="the known data sets; with a name, a report on it")
    datasets.set_defaults(run=_datasets)
    datasets.add_argument("name", nargs="?")

    estimate = commands.add_parser("estimate", help="the memory that training will take; allocates nothing")
    estimate.set_defaults(run=_estimate)
    estimate.add_argument("dataset", metavar="DATASET", help="a known name, or USERS,ITEMS,PAIRS")
    estimate.add_argument("--recipe", choices=sorted(RECIPES), default="default")
    estimate.add_argument("--dim", type=int)
    estimate.add_argument("--layers", type=int)
    estimate.add_argument("--batch-size", type=int)

    versus = commands.add_parser(
        "compare", help="several models on one split: metrics, seconds, memory; a table and a picture"
    )
    versus.set_defaults(run=_compare)
    versus.add_argument("dataset", metavar="DATASET")
    versus.add_argument(
        "--models", nargs="+", metavar="NAME", default=list(DEFAULT_MODELS), help=f"out of {', '.join(NAMES)}"
    )
    versus.add_argument("--out", type=Path, help="default: runs/DATASET-compare")
    versus.add_argument("--split", help="for data that come without one: random-user, temporal, temporal-user, ...")
    versus.add_argument("--epochs", type=int, help="of the models that train, instead of their recipes'")
    versus.add_argument("--quiet", action="store_true", help="no progress bar")

    demo = commands.add_parser("demo", help="ml-100k: popularity, MF and LightGCN side by side")
    demo.set_defaults(run=_demo)
    demo.add_argument("--out", type=Path, default=Path("runs/demo"))

    check = commands.add_parser("doctor", help="what is built, what is in use, and why something is off")
    check.set_defaults(run=lambda args: print("\n".join(doctor.lines())) or 0)
    return parser


def _train(args: argparse.Namespace) -> int:
    recipe = RECIPES[args.recipe]
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    if recipe.train is None and args.model is None:
        return _make(args, [n for n in (*names, "dim", "layers") if getattr(args, n) is not None])
    config = recipe.training()
    config = dataclasses.replace(config, **{n: getattr(args, n) for n in names if getattr(args, n) is not None})
    options = dict(recipe.model_options, seed=config.seed)
    if args.model is not None:
        if recipe.model == "NGCF":
            raise ValueError(f"--model {args.model} cannot take the options of recipe 'ngcf'; choose another recipe")
        recipe = dataclasses.replace(recipe, model=args.model)
    if recipe.model == "MF":
        options.pop("num_layers", None)
    elif args.layers is not None:
        options["num_layers"] = args.layers
    if args.dim is not None:
        options["embedding_dim"] = args.dim
    data = load_dataset(args.dataset)
    print(data.report())
    model = dataclasses.replace(recipe, model_options=options).make_model(data).to(args.device)
    out = args.out or Path("runs") / f"{args.dataset}-{args.recipe}"
    _train_and_write(model, data, config, out, progress=not args.quiet, tensorboard=args.tensorboard)
    return 0


def _make(args: argparse.Namespace, given: list[str]) -> int:
    """`train` for a recipe without training: makes the model, writes OUT/model.npz and metrics.json."""
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"recipe {args.recipe!r} is made without training, {options} does not apply")
    data = load_dataset(args.dataset)
    print(data.report())
    start = time.perf_counter()
    model = RECIPES[args.recipe].make_model(data).to(args.device)
    seconds = time.perf_counter() - start
    out = args.out or Path("runs") / f"{args.dataset}-{args.recipe}"
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.npz")
    metrics: dict[str, Any] = evaluate(model, data.test, ks=_KS, metrics=_METRICS) if len(data.test) else {}
    own = {"seconds_train": seconds, "fingerprint": data.fingerprint()}
    write_json(out / "metrics.json", metrics | own | {"model": {"class": type(model).__name__, **model.config()}})
    if len(data.test):
        print(f"test: Recall@20 {metrics['recall@20']:.4f}, NDCG@20 {metrics['ndcg@20']:.4f}, ", end="")
        print(f"{metrics['n_users_evaluated']} users")
    print(f"{seconds:.0f} s to make it; files: {', '.join(str(p) for p in sorted(out.iterdir()))}")
    return 0


def _train_and_write(
    model: Recommender, data: Dataset, config: TrainConfig, out: Path, progress: bool = True, tensorboard: bool = False
) -> dict[str, Any]:
    """Trains, evaluates once on test, writes OUT/model.npz, metrics.json and curves.png; returns the metrics."""
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.npz"
    history = fit(model, data, config, checkpoint=checkpoint, progress=progress, on_epoch=_logger(out, tensorboard))
    model.save(out / "model.npz")
    metrics: dict[str, Any] = {}
    if len(data.test):
        metrics |= evaluate(model, data.test, ks=_KS, metrics=_METRICS)
    metrics |= {
        "seconds_train": history.seconds_train,
        "best_epoch": history.best_epoch,
        "chosen_on": history.chosen_on,
        f"best_{config.metric}": history.best_metric if history.best_epoch and history.chosen_on != "none" else None,
        "stopped": history.stopped or "all epochs done",
        "fingerprint": data.fingerprint(),
        "config": dataclasses.asdict(config),
        "model": {"class": type(model).__name__, **model.config()},
        "epochs": history.epochs,
        "refit": history.refit,
    }
    write_json(out / "metrics.json", metrics)
    for file in (checkpoint, refit_checkpoint(checkpoint)):
        file.unlink(missing_ok=True)
    _plot(history, out / "curves.png", f"{type(model).__name__} on {data.name}", config.metric)
    if len(data.test):
        print(f"test: Recall@20 {metrics['recall@20']:.4f}, NDCG@20 {metrics['ndcg@20']:.4f}, ", end="")
        print(f"{metrics['n_users_evaluated']} users; epoch {history.best_epoch} chosen on {history.chosen_on}")
    print(f"{history.seconds_train:.0f} s of training; files: {', '.join(str(p) for p in sorted(out.iterdir()))}")
    return metrics


def _logger(out: Path, tensorboard: bool) -> Any:
    if not tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError("--tensorboard needs its package: pip install 'fastgcn_rec[tensorboard]'") from None
    writer = SummaryWriter(str(out / "tensorboard"))  # type: ignore[no-untyped-call]

    def log(record: dict[str, float]) -> None:
        for name, value in record.items():
            if name != "epoch":
                writer.add_scalar(name, value, int(record["epoch"]))  # type: ignore[no-untyped-call]
        writer.flush()  # type: ignore[no-untyped-call]

    return log


def _plot(history: History, path: Path, title: str, metric: str) -> None:
    from .plots import plot_curves

    try:
        plot_curves(history, path, title, metric)
    except ImportError as error:
        print(f"no {path.name}: {error}")


def _load_model(path: Path) -> Recommender:
    return Recommender.load(path / "model.npz" if path.is_dir() else path)


def _evaluate(args: argparse.Namespace) -> int:
    model, data = _load_model(args.model), load_dataset(args.dataset)
    if (model.user_ids.tolist(), model.item_ids.tolist()) != (data.user_ids.tolist(), data.item_ids.tolist()):
        raise ValueError(
            f"the model was trained on another data set or split than {args.dataset} (other users or items)"
        )
    for name, value in evaluate(model, data.test, ks=_KS, metrics=_METRICS).items():
        print(f"{name:18s} {value:.4f}" if "@" in name else f"{name:18s} {value:.0f}")
    return 0


def _recommend(args: argparse.Namespace) -> int:
    if bool(args.some) == (args.users is not None):
        raise ValueError("name the users either as arguments or by --users FILE (or --users all)")
    model = _load_model(args.model)
    users = None if args.users == "all" else _raw_ids(model.user_ids, args.some or _lines(args.users), "user")
    if args.out is not None:
        n = write_recommendations(model, args.out, users, args.k, progress=not args.quiet)
        print(f"{n:,} recommendations to {'all' if users is None else len(users)} users: {args.out}")
        return 0
    users = model.user_ids.tolist() if users is None else users
    _print_lists("user", users, *model.recommend(users, args.k))
    return 0


def _similar(args: argparse.Namespace) -> int:
    model = _load_model(args.model)
    items = _raw_ids(model.item_ids, args.items, "item")
    _print_lists("item", items, *model.similar_items(items, args.k))
    return 0


def _export(args: argparse.Namespace) -> int:
    n = write_vectors(_load_model(args.model), args.out, args.side)
    print(f"{n:,} vectors of {args.side}: {args.out}")
    return 0


def _print_lists(what: str, of: list[Any], ids: NDArray[Any], scores: NDArray[Any]) -> None:
    for raw, row, values in zip(of, ids.tolist(), scores.tolist(), strict=True):
        shown = (f"{i} ({s:.3f})" for i, s in zip(row, values, strict=True) if s > -float("inf"))
        print(f"{what} {raw}: " + ", ".join(shown))


def _lines(path: str) -> list[str]:
    return [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line]


def _raw_ids(space: NDArray[Any], texts: list[str], what: str) -> list[Any]:
    """Ids as typed, in the kind that the model's have."""
    return list(texts) if space.dtype.kind == "U" else [_integer(text, what) for text in texts]


def _integer(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"this model's {what} ids are integers, got {text!r}") from None


def _datasets(args: argparse.Namespace) -> int:
    if args.name:
        print(load_dataset(args.name).report())
        return 0
    for info in available_datasets():
        where = info.found or ("downloaded on first use" if info.downloadable else "not here; set FASTGCN_REC_DATA")
        print(f"{info.name:14s} {info.description}\n{'':14s} {where}")
    return 0


def _estimate(args: argparse.Namespace) -> int:
    shapes = {info.name: info.shape for info in available_datasets()}
    try:
        n_users, n_items, n_pairs = shapes.get(args.dataset) or (int(float(n)) for n in args.dataset.split(","))
    except ValueError:
        raise ValueError(
            f"DATASET must be one of {', '.join(shapes)} or USERS,ITEMS,PAIRS, got {args.dataset!r}"
        ) from None
    recipe = RECIPES[args.recipe]
    own = {"embedding_dim": args.dim, "num_layers": args.layers}
    config = recipe.training()
    options = recipe.model_options | {name: value for name, value in own.items() if value is not None}
    dim, layers = options["embedding_dim"], options.get("num_layers", 0)
    config = dataclasses.replace(config, batch_size=args.batch_size or config.batch_size)
    print(f"{n_users:,} users, {n_items:,} items, {n_pairs:,} pairs; {layers} layers, dim {dim}, recipe {args.recipe}")
    print(estimate_memory(n_users, n_items, n_pairs, dim, layers, config))
    return 0


def _compare(args: argparse.Namespace) -> int:
    out = args.out or Path("runs") / f"{args.dataset}-compare"
    rows = compare(args.dataset, args.models, out, split=args.split, epochs=args.epochs, progress=not args.quiet)
    print(table(rows))
    print(f"files: {', '.join(str(p) for p in sorted(out.iterdir()))}")
    return 0 if any(row.error is None for row in rows) else 1


def _demo(args: argparse.Namespace) -> int:
    try:
        data = load_dataset("ml-100k", split="temporal-user")  # each user's latest 20 %: nobody is cold
    except DatasetUnavailableError as error:
        raise RuntimeError(f"the demo needs ml-100k: {error}") from None
    print(data.report())
    baseline = Popularity(data)
    table = {"popularity": evaluate(baseline, data.test)}
    # Both tuned on a held-out part of train.
    small: dict[str, Any] = {"epochs": 120, "batch_size": 1024, "eval_every": 10, "patience": 3, "refit": True}
    own: dict[str, dict[str, Any]] = {"MF": {"lr": 2e-3, "reg": 1e-2}, "LightGCN": {"lr": 5e-3, "reg": 1e-3}}
    best: Recommender = baseline
    for name, recipe in (("MF", "mf"), ("LightGCN", "default")):
        best = RECIPES[recipe].make_model(data)
        config = dataclasses.replace(RECIPES[recipe].training(), **small, **own[name])
        table[name] = _train_and_write(best, data, config, args.out / name.lower())
    print(f"\n{'temporal test split':20s} Recall@20  NDCG@20")
    for name, metrics in table.items():
        print(f"{name:20s} {metrics['recall@20']:9.4f} {metrics['ndcg@20']:8.4f}")
    _show_user(best, data)
    _show_new_user(best, data)
    _show_two_stage(best, data, config, table["LightGCN"])
    print(f"\nmodel, metrics and curves: {args.out / 'lightgcn'}/{{model.npz,metrics.json,curves.png}}")
    return 0


def _show_user(model: Recommender, data: Dataset) -> None:
    """What the user with the median number of training items liked, beside what the model recommends."""
    degree = model.graph.user_degree
    row = int(degree.argsort(stable=True)[int((degree == 0).sum()) + int((degree > 0).sum()) // 2])
    titles = data.item_info.get("title", data.item_ids.astype(str))
    graph = model.graph
    seen = graph.indices[graph.indptr[row] : graph.indptr[row + 1]].tolist()
    ids, _ = model.recommend([data.user_ids[row]], 10)
    print(f"\nuser {data.user_ids[row]}: {'watched':42s} recommended")
    best = data.items_of(ids[0]).tolist()
    for watched, item in zip(seen[:10] + [None] * (10 - len(seen[:10])), best, strict=True):
        left = "" if watched is None else str(titles[watched])
        print(f"  {left[:46]:48s} {titles[item]}")


def _show_new_user(model: Recommender, data: Dataset) -> None:
    """What somebody who is not in the data gets for five liked titles: folded in, nothing is trained."""
    titles = data.item_info["title"]
    liked = np.flatnonzero(np.isin(titles, _LIKED))
    ids, _ = model.recommend_new([data.item_ids[liked].tolist()], 10)
    print(f"\na new user who likes {'; '.join(titles[liked])} gets")
    print("\n".join(f"  {title}" for title in titles[data.items_of(ids[0])]))


def _show_two_stage(serving: Recommender, data: Dataset, config: TrainConfig, one_stage: dict[str, Any]) -> None:
    """LightGCN's 100 candidates in the order of gradient-boosted trees, where scikit-learn is there."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        print("\ntwo stages: left out, they need scikit-learn: pip install 'fastgcn_rec[rank]'")
        return
    part, _ = data.split_valid(0.1, by="temporal")  # the ranker learns on what the candidates' model has not seen
    candidates = RECIPES["default"].make_model(part)
    fit(candidates, part, config, protocol="none", refit=False, epochs=one_stage["best_epoch"], progress=False)
    genres = data.item_info["genres"]
    names = sorted({name for row in genres.tolist() for name in row.split("|")})
    features = np.stack([data.item_info["year"], *(np.char.find(genres, name) >= 0 for name in names)], 1)
    ranker = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=0)
    two = TwoStage(candidates, ranker, serving=serving, item_features=features).fit(data)
    found = evaluate(two, data.test)
    print(f"\ntwo stages, {two.n_candidates} candidates by LightGCN, ordered by gradient-boosted trees:")
    print(f"  Recall@20 {found['recall@20']:.4f}, NDCG@20 {found['ndcg@20']:.4f}", end="; ")
    print(f"the candidates hold {two.ceiling(data.test)[f'recall@{two.n_candidates}']:.4f} of what is wanted")


if __name__ == "__main__":
    sys.exit(main())
