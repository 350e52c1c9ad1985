"""The command line: a file a command, which parses and prints."""

from .program import main

__all__ = ["main"]
