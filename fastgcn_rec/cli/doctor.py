"""``fastgcn-rec doctor``."""

from __future__ import annotations

import argparse

from ..experiments.doctor import examine

EXAMPLES = ("fastgcn-rec doctor",)


def arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes none


def run(args: argparse.Namespace) -> int:
    findings, healthy = examine()
    print("\n".join(findings))
    return 0 if healthy else 1
