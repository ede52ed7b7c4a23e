"""The Python of a model folder, loaded from its files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kilter.errors import InputError


def load_function(folder: Path, file: str, name: str) -> Callable[..., Any]:
    """The function `name` of `folder/file`. The file is executed afresh.

    It enters `sys.modules`, where dataclasses and `typing.get_type_hints` look up a class's module.

    Raises:
        InputError: there is no such file, or it has no such function.
    """
    path = folder / file
    spec = importlib.util.spec_from_file_location(f"kilter_models.{folder.name}.{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"model '{folder.name}': {path} is missing: add it, with a function {name}(…)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    function: Any = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"model '{folder.name}': {path} has no function '{name}': add it or correct the name")
    return function
