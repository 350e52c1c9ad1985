"""The command line: fastgcn-rec train | evaluate | recommend | similar | export | compare | datasets | estimate | demo | doctor."""

from __future__ import annotations

import argparse
import dataclasses
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ..data import available_datasets, load_dataset
from ..data.splits import SPLITS
from ..experiments import doctor
from ..experiments.compare import DEFAULT_MODELS, NAMES, compare, load
from ..experiments.demo import demo
from ..experiments.memory import estimate_memory
from ..experiments.recipes import RECIPES
from ..experiments.rows import table
from ..experiments.runs import CHECKPOINT, KS, METRICS, make_and_write, train_and_write
from ..models import Recommender
from ..ranking.evaluate import evaluate
from ..ranking.export import write_recommendations, write_vectors
from ..system.process import TRACEBACK, exit_code
from ..system.storage import check_target
from ..training.config import TrainConfig

_DASH = "; after -- if one begins with -"
EMBEDDINGS = ("LightGCN", "MF")  # models whose only parameters are a vector of each node


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Codes: 0, 1 (a failure), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""

    def run() -> int:
        args = _parser().parse_args(argv)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # an id that the terminal's encoding does not have
        code: int = args.run(args)
        return code

    return exit_code(run, "fastgcn-rec")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastgcn-rec",
        description="Graph recommender systems, fast and reproducible.",
        epilog=f"Exit codes: 0; 1 a failure; 2 bad input; 130 Ctrl-C; 143 SIGTERM. With {TRACEBACK}=1 an error shows its traceback.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a model, evaluate it once on test, write everything to a folder")
    train.set_defaults(run=_train)
    train.add_argument("dataset", metavar="DATASET", help="a name that `fastgcn-rec datasets` lists")
    train.add_argument("--recipe", choices=sorted(RECIPES), default="default")
    _add_split(train)
    train.add_argument("--out", type=_folder, help="default: runs/DATASET-RECIPE")
    train.add_argument("--device", type=_device, default="cpu", help="cpu or cuda")
    train.add_argument("--tensorboard", action="store_true", help="log to OUT/tensorboard (needs the extra)")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.add_argument("--model", choices=EMBEDDINGS, help="instead of the recipe's")
    train.add_argument("--dim", type=_at_least(1), help="embedding dimension")
    train.add_argument("--layers", type=_at_least(0), help="layers of LightGCN, NGCF or PinSAGE")
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
    _add_split(test)

    recommend = commands.add_parser("recommend", help="the best unseen items of some users")
    recommend.set_defaults(run=_recommend)
    recommend.add_argument("model", type=Path, metavar="MODEL")
    some = recommend.add_argument("some", nargs="+", metavar="USER", help=f"raw user ids{_DASH}")
    some.required = False  # "*" would be matched with nothing as soon as an option comes between MODEL and USER
    recommend.add_argument("--users", metavar="FILE", help="'all', or a file of raw user ids, one a line")
    recommend.add_argument("-k", "--k", type=_at_least(1), default=10)
    recommend.add_argument(
        "--out", type=_file, help="a .csv or .parquet file instead of the screen: user, rank, item, score"
    )
    recommend.add_argument("--quiet", action="store_true", help="no progress bar")

    similar = commands.add_parser("similar", help="the items nearest to some items, by cosine")
    similar.set_defaults(run=_similar)
    similar.add_argument("model", type=Path, metavar="MODEL")
    similar.add_argument("items", nargs="+", metavar="ITEM", help=f"raw item ids{_DASH}")
    similar.add_argument("-k", "--k", type=_at_least(1), default=10)

    export = commands.add_parser("export", help="the vectors with their ids, for an index of another program")
    export.set_defaults(run=_export)
    export.add_argument("model", type=Path, metavar="MODEL")
    export.add_argument("--side", choices=["items", "users"], default="items")
    export.add_argument("--out", type=_file, required=True, help="a .npz or .parquet file")

    datasets = commands.add_parser("datasets", help="the known data sets; with a name, a report on it")
    datasets.set_defaults(run=_datasets)
    datasets.add_argument("name", nargs="?")

    estimate = commands.add_parser("estimate", help="the memory that training will take; allocates nothing")
    estimate.set_defaults(run=_estimate)
    estimate.add_argument("dataset", metavar="DATASET", help="a known name, or USERS,ITEMS,PAIRS")
    estimate.add_argument("--recipe", choices=sorted(RECIPES), default="default")
    estimate.add_argument("--dim", type=_at_least(1))
    estimate.add_argument("--layers", type=_at_least(0))
    estimate.add_argument("--batch-size", type=_at_least(1))

    versus = commands.add_parser(
        "compare", help="several models on one split: metrics, seconds, memory; a table and a picture"
    )
    versus.set_defaults(run=_compare)
    versus.add_argument("dataset", metavar="DATASET")
    versus.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        choices=NAMES,
        default=list(DEFAULT_MODELS),
        help=f"out of {', '.join(NAMES)}",
    )
    versus.add_argument("--out", type=_folder, help="default: runs/DATASET-compare")
    _add_split(versus)
    versus.add_argument("--epochs", type=_at_least(0), help="of the models that train, instead of their recipes'")
    versus.add_argument("--quiet", action="store_true", help="no progress bar")

    show = commands.add_parser("demo", help="ml-100k: popularity, MF and LightGCN side by side")
    show.set_defaults(run=_demo)
    show.add_argument("--out", type=_folder, default=Path("runs/demo"))

    check = commands.add_parser("doctor", help="what is built, what is in use, and why something is off")
    check.set_defaults(run=_doctor)
    return parser


def _add_split(command: argparse.ArgumentParser) -> None:
    command.add_argument("--split", choices=tuple(SPLITS), help="of data that come without one")


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not re.fullmatch(r"\+?[0-9]{1,10}", text) or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {least} and < 2^31, got {text!r}")
        return int(text)

    return number


def _file(text: str) -> Path:
    try:
        check_target(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{error.filename} {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def _folder(text: str) -> Path:
    return _file(str(Path(text) / "file")).parent


def _device(text: str) -> str:
    if re.fullmatch(r"cpu|cuda(:[0-9]+)?", text) is None:
        raise argparse.ArgumentTypeError(f"must be cpu, cuda or cuda:NUMBER, got {text!r}")
    return text


def _doctor(args: argparse.Namespace) -> int:
    lines = doctor.lines()
    print("\n".join(lines))
    return 0 if lines[-1] == "self-test: passed" else 1


def _demo(args: argparse.Namespace) -> int:
    demo(args.out)
    return 0


def _train(args: argparse.Namespace) -> int:
    if args.device != "cpu":
        doctor.require_cuda(torch.device(args.device))
    recipe = RECIPES[args.recipe]
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    if recipe.train is None and args.model is None:
        given = [f"--{n.replace('_', '-')}" for n in (*names, "dim", "layers") if getattr(args, n) is not None]
        given += ["--tensorboard"] * args.tensorboard
        if given:
            raise ValueError(f"recipe {args.recipe!r} is made without training, {', '.join(given)} does not apply")
        data = load(args.dataset, args.split)
        print(data.report())
        make_and_write(recipe, data, args.out or Path("runs") / f"{args.dataset}-{args.recipe}", args.device)
        return 0
    config = recipe.training()
    config = dataclasses.replace(config, **{n: getattr(args, n) for n in names if getattr(args, n) is not None})
    options = dict(recipe.model_options, seed=config.seed)
    if args.model is not None:
        if recipe.model not in EMBEDDINGS:
            raise ValueError(
                f"--model {args.model} cannot take the options of recipe {args.recipe!r}, a {recipe.model}; choose another recipe"
            )
        recipe = dataclasses.replace(recipe, model=args.model)
    if recipe.model == "MF":
        options.pop("num_layers", None)
        if args.layers is not None:
            raise ValueError(f"--layers {args.layers} does not apply to MF, which has none")
    elif args.layers is not None:
        options["num_layers"] = args.layers
    if args.dim is not None:
        options["embedding_dim"] = args.dim
    data = load(args.dataset, args.split)
    print(data.report())
    model = dataclasses.replace(recipe, model_options=options).make_model(data).to(args.device)
    out = args.out or Path("runs") / f"{args.dataset}-{args.recipe}"
    train_and_write(model, data, config, out, progress=not args.quiet, tensorboard=args.tensorboard)
    return 0


def _load_model(path: Path) -> Recommender:
    file = path / "model.npz" if path.is_dir() else path
    if not file.exists() and (path / CHECKPOINT).exists():
        raise FileNotFoundError(
            f"{path} holds a training that is not finished; run the same train command again to go on"
        )
    return Recommender.load(file)


def _evaluate(args: argparse.Namespace) -> int:
    model, data = _load_model(args.model), load(args.dataset, args.split)
    for name, value in evaluate(model, data.test, ks=KS, metrics=METRICS).items():
        print(f"{name:18s} {value:.4f}" if "@" in name else f"{name:18s} {value:.0f}")
    return 0


def _recommend(args: argparse.Namespace) -> int:
    if bool(args.some) == (args.users is not None):
        raise ValueError("name the users either as arguments or by --users FILE (or --users all)")
    model = _load_model(args.model)
    users = None if args.users == "all" else _raw_ids(model.user_ids, args.some or _lines(Path(args.users)), "user")
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


def _lines(path: Path) -> list[str]:
    """What stands on the lines that are not blank, whatever editor wrote them."""
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        raise ValueError(
            f"{path}: must be a text file in UTF-8 or Latin-1, but it is UTF-16 or binary; save it as UTF-8"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = (line.removesuffix("\r") for line in text.split("\n"))  # splitlines() would split at an id's U+2028
    return [line for line in lines if line.strip()]


def _raw_ids(space: NDArray[Any], texts: list[str], what: str) -> list[Any]:
    """Ids as typed, in the kind that the model's have; blanks around them count only if an id has them too."""
    if space.dtype.kind in "iu":
        return [_integer(text.strip(), what) for text in texts]
    known = set(space.tolist()) if any(text != text.strip() for text in texts) else set()
    return [text if text in known else text.strip() for text in texts]


def _integer(text: str, what: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"this model's {what} ids are integers of 64 bits, got {text[:40]!r}")
    return int(text)


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
    n_users, n_items, n_pairs = shapes.get(args.dataset) or _shape(args.dataset, ", ".join(shapes))
    recipe = RECIPES[args.recipe]
    own = {"embedding_dim": args.dim, "num_layers": args.layers}
    config = recipe.training()
    if recipe.model not in EMBEDDINGS:
        raise ValueError(
            f"the memory of {' and '.join(EMBEDDINGS)} is known, not that of {recipe.model}, which recipe {args.recipe!r} makes"
        )
    options = recipe.model_options | {name: value for name, value in own.items() if value is not None}
    dim, layers = options["embedding_dim"], options.get("num_layers", 0)
    if recipe.model == "MF" and layers:
        raise ValueError(f"--layers {layers} does not apply to MF, which has none")
    config = dataclasses.replace(config, batch_size=args.batch_size or config.batch_size)
    estimate = estimate_memory(n_users, n_items, n_pairs, dim, layers, config)
    print(f"{n_users:,} users, {n_items:,} items, {n_pairs:,} pairs; {layers} layers, dim {dim}, recipe {args.recipe}")
    print(estimate)
    return 0


def _shape(text: str, names: str) -> tuple[int, int, int]:
    """USERS,ITEMS,PAIRS, each as 1000000 or 1e6."""
    try:
        n_users, n_items, n_pairs = (int(float(n)) for n in text.split(","))
    except (ValueError, OverflowError):
        raise ValueError(f"DATASET must be one of {names} or USERS,ITEMS,PAIRS, got {text!r}") from None
    if min(n_users, n_items) < 1 or max(n_users, n_items) >= 2**31 or not 0 <= n_pairs <= n_users * n_items:
        raise ValueError(
            f"USERS,ITEMS,PAIRS: users and items must lie in [1, 2^31), pairs in [0, users * items], got {text}"
        )
    return n_users, n_items, n_pairs


def _compare(args: argparse.Namespace) -> int:
    out = args.out or Path("runs") / f"{args.dataset}-compare"
    rows = compare(args.dataset, args.models, out, split=args.split, epochs=args.epochs, progress=not args.quiet)
    print(table(rows))
    print(f"files: {', '.join(str(p) for p in sorted(out.iterdir()))}")
    return 0 if any(row.error is None for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
