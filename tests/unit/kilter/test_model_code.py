"""Loading the Python of a model folder."""

from pathlib import Path

import pytest

from kilter.errors import InputError
from kilter.model_code import load_function

DATACLASS = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_type_hints


@dataclass
class Part:
    kinds: ClassVar[int] = 2
    size: int = 1


def hints():
    return get_type_hints(Part)
"""


def test_a_model_file_may_hold_a_dataclass_with_postponed_annotations(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(DATACLASS)
    assert load_function(tmp_path, "features.py", "hints")()["size"] is int


def test_a_changed_file_is_executed_afresh(tmp_path: Path) -> None:
    for answer in (1, 22):
        (tmp_path / "features.py").write_text(f"def build():\n    return {answer}\n")
        assert load_function(tmp_path, "features.py", "build")() == answer


def test_a_name_that_is_no_function_is_refused(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("build = 1\n")
    with pytest.raises(InputError, match=r"features\.py has no function 'build': add it"):
        load_function(tmp_path, "features.py", "build")
