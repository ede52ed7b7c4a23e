"""The examples in docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import kilter

MODULES = [
    module.name
    for module in pkgutil.walk_packages(kilter.__path__, "kilter.")
    if not module.name.startswith(("kilter.stores.migrations", "kilter.__main__"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
