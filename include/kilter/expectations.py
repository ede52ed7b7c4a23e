"""A model's `expectations.json`: what its raw tables must look like, parsed once into a frozen object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kilter.errors import SpecError
from kilter.spec import ModelSpec

EXPECTATIONS_FILE = "expectations.json"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Section):
    """What one column must hold.

    `minimum` and `maximum` are inclusive and for numbers, `categories` for texts.
    """

    type: Literal["text", "number", "time"]
    nulls: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the rows that may be null."""
    minimum: float | None = None
    maximum: float | None = None
    outliers: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the values that may lie outside the range."""
    categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> Column:
        ranged = self.minimum is not None or self.maximum is not None
        if ranged and self.type != "number":
            raise ValueError(f"minimum and maximum are for type number, not {self.type}: remove them")
        if self.categories and self.type != "text":
            raise ValueError(f"categories are for type text, not {self.type}: remove them")
        if self.outliers and not ranged:
            raise ValueError("outliers has no meaning without minimum or maximum: add one or remove it")
        return self


class RowCountRule(_Section):
    """How far the rows a day may be from the median of recent passed intervals."""

    minimum_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    maximum_ratio: Annotated[float, Field(ge=1)] = 2.0
    intervals: Annotated[int, Field(ge=1)] = 6
    """How many recent passed intervals count."""
    minimum_intervals: Annotated[int, Field(ge=1)] = 2
    """With fewer there is nothing to compare with."""


class Expectations(_Section):
    """All of `expectations.json`: the row count rule, and each table's columns by name."""

    row_count: RowCountRule = RowCountRule()
    tables: dict[str, dict[str, Column]]


def load_expectations(folder: Path, spec: ModelSpec) -> Expectations:
    """Parse `folder/expectations.json`.

    Raises:
        SpecError: one line for each mistake, with file, key, value and what is allowed.
    """
    file = folder / EXPECTATIONS_FILE
    try:
        content: Any = json.loads(file.read_text())
    except OSError as error:
        raise SpecError(f"{file}: cannot be read ({error.strerror}): every model folder needs it") from error
    except ValueError as error:
        raise SpecError(f"{file}: is not JSON: {error}") from error
    try:
        expectations = Expectations.model_validate(content)
    except ValidationError as error:
        raise SpecError("\n".join(_sentence(file, item) for item in error.errors())) from None
    if mistakes := list(_disagreements(expectations, spec)):
        raise SpecError("\n".join(f"{file}: {mistake}" for mistake in mistakes))
    return expectations


def _sentence(file: Path, item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{file}: {key}: unknown key (value {item['input']!r}): remove it or correct its name"
    return f"{file}: {key}: got {item['input']!r}; {item['msg']}; correct the value"


def _disagreements(expectations: Expectations, spec: ModelSpec) -> list[str]:
    """Where the file and model.yaml speak of different tables or columns."""
    listed, known = set(expectations.tables), set(spec.source.tables)
    if listed != known:
        return [f"tables: got {sorted(listed)}, model.yaml has {sorted(known)}: make them agree"]
    mistakes = []
    for name, table in spec.source.tables.items():
        columns = expectations.tables[name]
        mistakes += [
            f"tables.{name}: column '{column}' of model.yaml's source.tables.{name} is not listed: add it"
            for column in dict.fromkeys((table.timestamp, *table.key))
            if column not in columns
        ]
        if (time := columns.get(table.timestamp)) and time.type != "time":
            mistakes.append(f"tables.{name}.{table.timestamp}.type: got '{time.type}', the event time needs 'time'")
    return mistakes
