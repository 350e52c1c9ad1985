"""Fast, reproducible graph recommender systems: C++/CUDA kernels under a thin PyTorch layer.

From data to recommendations: ``load_dataset``, or ``read_csv`` and ``make_dataset``, of :mod:`fastgcn_rec.data`; a model such as ``LightGCN(data)``;
``fit(model, data)``; ``evaluate(model, data.test)``; ``model.recommend(users)``, ``model.save(file)`` and ``Recommender.load(file)``. Single ops, such as
``propagate``, stand here too; samplers are in :mod:`fastgcn_rec.negatives`, columns of items and users in :mod:`fastgcn_rec.features`.

The public names stand in ``__init__.pyi``, where type checkers read them too. Each is imported from its room when it is first asked for, so that
``import fastgcn_rec.ops`` brings no model and no reader.
"""

import ast as _ast
import importlib as _importlib
import sys as _sys
from importlib.machinery import PathFinder as _PathFinder
from pathlib import Path as _Path
from typing import Any as _Any

if _PathFinder.find_spec("fastgcn_rec._C", __path__) is None:
    raise ImportError(
        f"fastgcn_rec._C, the compiled module, is not in {__path__[0]} (for this Python). Is that the source folder? It hides an installed fastgcn_rec "
        "from a Python that starts beside it: start it in another folder, or build here with pip install -e ."
    )


def _homes() -> dict[str, str | None]:
    """The module that each public name is imported from; None where the name is a room of this package."""
    stub = _ast.parse(_Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {alias.name: line.module for line in stub.body if isinstance(line, _ast.ImportFrom) for alias in line.names}


_HOMES = _homes()
__all__ = sorted(name for name, home in _HOMES.items() if home is not None and name != "__version__")

_ROOMS = ("data", "features", "negatives", "ranking", "training")  # rooms whose own names are public too


def _listed(room: str) -> set[str]:
    """The names that a room gives away, read and not imported."""
    body = _ast.parse((_Path(__file__).parent / room / "__init__.py").read_text(encoding="utf-8")).body
    return {alias.name for line in body if isinstance(line, _ast.ImportFrom) for alias in line.names}


def __getattr__(name: str) -> _Any:
    if name not in _HOMES:
        where = (
            ""
            if name.startswith("_")
            else "".join(f"; fastgcn_rec.{room} has it" for room in _ROOMS if name in _listed(room))
        )
        raise AttributeError(
            f"module 'fastgcn_rec' has no attribute {name!r}{where}", name=name, obj=_sys.modules[__name__]
        )
    home = _HOMES[name]
    if home is None:
        return _importlib.import_module(f".{name}", __name__)
    value = globals()[name] = getattr(_importlib.import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*_HOMES, *(name for name in globals() if name.startswith("__") or not name.startswith("_"))})
