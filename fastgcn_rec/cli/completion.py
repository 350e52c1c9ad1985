"""``fastgcn-rec completion``."""

from __future__ import annotations

import argparse
from typing import Literal, get_args, get_origin, get_type_hints

from ..data.catalogue import ENTRIES
from ..experiments.contenders import NAMES
from ..experiments.recipes import RECIPES
from ..training.config import TrainConfig
from . import arguments as kinds
from .shells import SCRIPTS, Command, Word

EXAMPLES = (
    "fastgcn-rec completion bash > ~/.fastgcn-rec.bash  # source it in ~/.bashrc",
    "fastgcn-rec completion zsh > _fastgcn-rec  # in a folder of $fpath",
    "fastgcn-rec completion fish > ~/.config/fish/completions/fastgcn-rec.fish",
)

# What a parser does not say by a list: the names that stand for a METAVAR or an option, and what else may be a file.
_NAMES = {
    "DATA": tuple(ENTRIES),
    "DATASET": tuple(ENTRIES),
    "NAME|FILE": tuple(sorted(RECIPES)),
    "--models": NAMES,
    "--device": ("cpu", "cuda"),
    **{
        f"--{name.replace('_', '-')}": get_args(kind)
        for name, kind in get_type_hints(TrainConfig).items()
        if get_origin(kind) is Literal
    },
}
_FILES = {"DATA", "FILE", "MODEL", "NAME|FILE", "SHARE", kinds.file, kinds.folder}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell that the script is for")


def run(args: argparse.Namespace) -> int:
    print(script(args.shell, args.parser_of_all()), end="")
    return 0


def script(shell: str, whole: argparse.ArgumentParser) -> str:
    """What that shell is to read; it says all that the parser knows now, so that no Python is started to complete."""
    commands = []
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {one.dest: one.help or "" for one in action._choices_actions}
            commands = [Command(name, about[name], _words(of)) for name, of in action.choices.items()]
    return SCRIPTS[shell](whole.prog, _words(whole), commands)


def _words(parser: argparse.ArgumentParser) -> list[Word]:
    return [_word(action) for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]


def _word(action: argparse.Action) -> Word:
    called = [*action.option_strings, str(action.metavar)]
    names = action.choices or next((_NAMES[name] for name in called if name in _NAMES), ())
    return Word(
        flags=tuple(action.option_strings),
        about=(action.help or "").replace("%%", "%"),
        takes=0 if action.nargs == 0 else 2 if action.nargs == "+" else 1,
        names=tuple(map(str, names)),
        files=not action.choices and not {action.metavar, action.type}.isdisjoint(_FILES),
    )
