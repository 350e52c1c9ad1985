"""The command ``fastgcn-rec``: beside the package, so that what goes wrong while the package and torch are imported is one line, too."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """As :func:`fastgcn_rec.cli.main`; an import that fails is 1, Ctrl-C at any time 130."""
    try:
        try:
            from fastgcn_rec.cli import main as command
        except ImportError as error:
            if os.environ.get("FASTGCN_REC_TRACEBACK", "0") != "0":
                raise
            return _say(str(error), 1)
        return command()
    except KeyboardInterrupt:
        return _say("interrupted by SIGINT", 130)


def _say(message: str, code: int) -> int:
    if sys.stderr is not None:
        print(f"fastgcn-rec: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
