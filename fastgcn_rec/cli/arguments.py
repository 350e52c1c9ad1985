"""Arguments that several commands take: whole numbers, places to write to, devices."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from ..system.files import check_target


def add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not re.fullmatch(r"\+?[0-9]{1,10}", text) or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {least} and < 2^31, got {text!r}")
        return int(text)

    return number


def file(text: str) -> Path:
    """A file that can be written."""
    try:
        check_target(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{error.filename} {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def folder(text: str) -> Path:
    """A folder that files can be written to."""
    return file(str(Path(text) / "file")).parent


def device(text: str) -> str:
    if re.fullmatch(r"cpu|cuda(:[0-9]+)?", text) is None:
        raise argparse.ArgumentTypeError(f"must be cpu, cuda or cuda:NUMBER, got {text!r}")
    return text
