"""The command line's parser, out of a file a command, and ``main``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import os
import sys
from collections.abc import Iterator, Sequence

from ..system.launched import Launched
from ..system.process import TRACEBACK, exit_code

PROGRAM = "fastgcn-rec"
_EXAMPLES = "examples:"
# A file of this folder each, which has ``arguments(parser)``, ``run(args) -> int`` and ``EXAMPLES``, and what --help says of it. Its file is imported when
# the command is asked for, so that --help waits neither for torch nor for any model.
COMMANDS = {
    "inspect": "what a file or data set holds: columns, first rows, counts, degrees, times, what a split would hold",
    "train": "train a model, evaluate it once on test, write everything to a folder",
    "tune": "search a model's options and settings on held-out edges of train, for some minutes; the best as a recipe file",
    "evaluate": "evaluate a saved model, or lists of any library, on a part of its data, or of others: test, unless another is named",
    "recommend": "the best unseen items of some users",
    "similar": "the items nearest to some items, by cosine",
    "export": "the vectors with their ids, for an index of another program",
    "datasets": "the known data sets; with a name, a report on it",
    "estimate": "the memory that training will take; allocates nothing",
    "compare": "several models on one split: metrics, seconds, memory; a table and a picture",
    "demo": "ml-100k: popularity, MF and LightGCN side by side",
    "doctor": "what is built, what is in use, and why something is off",
    "completion": "a script by which a shell completes commands, options, choices and files",
}


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Codes: 0, 1 (a failure), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM)."""
    words = sys.argv[1:] if argv is None else argv

    def run() -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(
                    errors="backslashreplace"
                )  # an id, or a file's name, that the terminal's encoding does not have
        launched = Launched.of()
        with _silent(launched is not None and launched.rank > 0):
            args = parser(words).parse_args(words)
            if "ranks" in args:
                ranks = importlib.import_module(".ranks", __package__)
                code: int = ranks.run_on_ranks(args, words, launched)
                return code
            return args.run(args) if launched is None or launched.rank == 0 else 0  # one process's work

    return exit_code(run, PROGRAM)


@contextlib.contextmanager
def _silent(wanted: bool) -> Iterator[None]:
    """Where several processes run one command the first one speaks for all; what ends another one is said by :func:`exit_code`."""
    if not wanted:
        yield
        return
    nothing = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    with nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        yield


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Knows all commands by name and help, and the arguments of those that are among ``words``."""
    whole = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Graph recommender systems, fast and reproducible.",
        epilog=f"`fastgcn-rec COMMAND --help` explains a command. Exit codes: 0; 1 a failure; 2 bad input; 130 Ctrl-C; 143 SIGTERM. With {TRACEBACK}=1 an error shows its traceback.",
    )
    whole.add_argument("--version", action=_Version, help="show the version and exit")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        one = commands.add_parser(name, help=about, description=about, formatter_class=_Help)
        if name in words:
            command = importlib.import_module(f".{name}", __package__)
            command.arguments(one)
            one.epilog = "\n  ".join((_EXAMPLES, *command.EXAMPLES))
            one.set_defaults(run=command.run, parser_of_all=_parser_of_all)
    return whole


def _parser_of_all() -> argparse.ArgumentParser:
    return parser(tuple(COMMANDS))


class _Help(argparse.HelpFormatter):
    """Fills paragraphs, but leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLES) else super()._fill_text(text, width, indent)


class _Version(argparse.Action):
    """Says the version of what is installed, without torch, and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *of_the_option: object) -> None:
        print(f"{parser.prog} {importlib.metadata.version('fastgcn_rec')}")
        parser.exit()
