"""The command line: a file a command, which parses and prints; what computes is in the rooms below."""

from .program import main

__all__ = ["main"]
