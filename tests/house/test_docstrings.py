"""What is public explains itself: every name of the package and of its rooms has a docstring with an example, its own or one of its methods'."""

import importlib
import inspect

import pytest

import fastgcn_rec

ROOMS = ("data", "experiments", "features", "models", "negatives", "ops", "ranking", "training")
PUBLIC = {
    f"{room}.{name}": getattr(module, name)
    for room in ROOMS
    for module in [importlib.import_module(f"fastgcn_rec.{room}")]
    for name in module.__all__
} | {name: getattr(fastgcn_rec, name) for name in fastgcn_rec.__all__}


def written_for(value):
    """The docstrings of a function, or of a class and what stands in its body; none that is inherited."""
    parts = [value, *vars(value).values()] if inspect.isclass(value) else [value]
    return [part.__doc__ or "" for part in parts if callable(part) or isinstance(part, (classmethod, staticmethod))]


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if callable(value)])
def test_a_public_name_has_a_docstring_with_an_example(name):
    value = PUBLIC[name]
    own, *of_methods = written_for(value)
    assert own.strip()
    assert not own.startswith(f"{value.__name__}("), "dataclasses and NamedTuples write such a docstring themselves"
    if inspect.isclass(value) and issubclass(
        value, (BaseException, tuple)
    ):  # raised, or what a function gives, which shows it
        return
    assert any(">>>" in text for text in [own, *of_methods])


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if inspect.isfunction(value)])
def test_a_public_function_names_its_parameters(name):
    text = PUBLIC[name].__doc__
    if "Parameters, result and errors as in" in text or "the other parameters, result and errors as in" in text:
        return
    parameters = inspect.signature(PUBLIC[name]).parameters
    assert [parameter for parameter in parameters if parameter not in text] == []
