"""Benchmarks: ``python -m benchmarks --help``. See docs/performance.md for the protocol and the figures."""
