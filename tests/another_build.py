"""FASTGCN_REC_MODULE=<a _C module of another build, such as one under a sanitizer> takes the place of the installed one. To be imported first."""

import importlib.util
import os
import sys
from types import ModuleType

import torch  # noqa: F401  # before any _C, so that both use torch's OpenMP runtime


def native_module(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if path := os.environ.get("FASTGCN_REC_MODULE"):
    sys.modules["fastgcn_rec._C"] = native_module("fastgcn_rec._C", path)
