"""How rows become the numbers that a model sees: one function, for training and for serving.

A `Signature` is stored beside each model file. It fixes the order of the features and the code of
each category, so that a model is fed in production exactly what it was trained on.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kilter.errors import DataError
from kilter.spec import Feature, ModelSpec, Task

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

_NUMBERS = "biuf"
"""Kinds of numpy arrays that hold numbers only."""
_TEXTS = frozenset({str, type(None)})
_LISTS = frozenset({list, tuple})


class Signature(BaseModel):
    """What a model takes and gives: its features in order, the columns that identify a row, and its task.

    Entity and timestamp may come with a request; they are logged and never fed to the model. Signatures
    of before there were tasks say none: theirs is binary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity: str
    timestamp: str
    features: tuple[Feature, ...] = Field(min_length=1)
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    """Of a multiclass model, in the order of its scores; of others none."""

    @model_validator(mode="after")
    def _classes_match_task(self) -> Signature:
        distinct = len(set(self.classes))
        if distinct < len(self.classes) or (distinct < 2 if self.task == "multiclass" else distinct > 0):
            raise ValueError(
                f"task {self.task} with classes {list(self.classes)}: a multiclass model has two or more, each once; "
                "others have none"
            )
        return self

    @classmethod
    def of(cls, spec: ModelSpec) -> Signature:
        """The signature of models trained under this spec."""
        return cls(
            entity=spec.entity,
            timestamp=spec.timestamp,
            features=spec.features.columns,
            task=spec.task,
            classes=spec.label.classes,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Feature names, in the order of the matrix's columns."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns that a request may have: the features, the entity and the timestamp."""
        return frozenset({self.entity, self.timestamp, *self.names})

    @cached_property
    def feature_types(self) -> list[str]:
        """XGBoost's feature types: `c` for a categorical, `q` for a number."""
        return ["c" if feature.categories else "q" for feature in self.features]

    @cached_property
    def codes(self) -> dict[str, dict[Any, float]]:
        """For each categorical feature, the code of each category: its place in the list."""
        return {
            feature.name: {category: float(code) for code, category in enumerate(feature.categories)}
            for feature in self.features
            if feature.categories
        }

    @cached_property
    def coded(self) -> list[tuple[int, dict[Any, float]]]:
        """The places of the categorical features among all, with their codes."""
        return [(place, self.codes[name]) for place, name in enumerate(self.names) if name in self.codes]


def encode(columns: Mapping[str, Sequence[Any]], signature: Signature) -> Matrix:
    """Encode columns of equal length as a float32 matrix, rows × features in the signature's order.

    A number stays itself; a category becomes its place in the feature's list; a missing value
    (None, NaN) and a category that is not listed become NaN. Columns that are no feature are ignored.

    >>> numeric, letters = Feature(name="x"), Feature(name="y", kind="categorical", categories=("a", "b"))
    >>> signature = Signature(entity="id", timestamp="at", features=(numeric, letters))
    >>> encode({"y": ["b", "?"], "x": [1.5, None]}, signature).tolist()
    [[1.5, 1.0], [nan, nan]]

    Raises:
        DataError: a feature is missing, holds values of the wrong type or numbers beyond float32,
            or is not as long as the others; the message names it.
    """
    plain = _plain(columns, signature)
    if plain is not None:
        return plain
    encoded = [_column(feature, columns, signature) for feature in signature.features]
    rows = len(encoded[0])
    for feature, column in zip(signature.features, encoded, strict=True):
        if len(column) != rows:
            raise DataError(
                f"feature '{feature.name}' has {len(column)} values and '{signature.names[0]}' has {rows}: "
                "give every feature one value a row"
            )
    return np.column_stack(encoded)


def encode_labels(values: Sequence[Any], classes: Sequence[str]) -> Vector:
    """Encode labels as the numbers that metrics and trainers take, shape (rows,).

    Args:
        values: as tables hold them: 0 and 1, numbers, or with `classes` their names; none missing.
        classes: of a multiclass model, in the order of its scores; a label becomes its class's place. Else none.

    >>> encode_labels(["scrap", "good"], classes=("good", "scrap")).tolist(), encode_labels([3, 1.5], ()).tolist()
    ([1.0, 0.0], [3.0, 1.5])

    Raises:
        DataError: a label is none of the classes; the message names it.
    """
    if not classes:
        return np.asarray(values, dtype=np.float64)
    codes = {name: float(code) for code, name in enumerate(classes)}
    try:
        return np.array([codes[value] for value in values], dtype=np.float64)
    except (KeyError, TypeError):
        strange = next(value for value in values if not isinstance(value, str) or value not in codes)
        raise DataError(
            f"label {strange!r} is none of label.classes: {', '.join(classes)}: add it there, or correct the labels"
        ) from None


def _plain(columns: Mapping[str, Sequence[Any]], signature: Signature) -> Matrix | None:
    """What a request mostly holds, in a tenth of the time: lists of numbers and texts. None for all else, also faults.

    numpy takes longer to look at fifteen columns of one value than `struct` to write them all.
    """
    values: list[Any] = [columns.get(name) for name in signature.names]
    if not _LISTS.issuperset(map(type, values)) or len(set(map(len, values))) > 1:
        return None
    for place, codes in signature.coded:
        if not _TEXTS.issuperset(map(type, values[place])):
            return None
        values[place] = [codes.get(value, math.nan) for value in values[place]]
    numbers = [math.nan if value is None else value for value in chain.from_iterable(values)]
    try:
        packed = struct.pack(f"{len(numbers)}f", *numbers)
    except (struct.error, OverflowError):
        return None
    matrix = np.frombuffer(packed, np.float32).reshape(len(values), -1).T
    return None if np.isinf(matrix).any() else np.ascontiguousarray(matrix)


def _column(feature: Feature, columns: Mapping[str, Sequence[Any]], signature: Signature) -> Matrix:
    try:
        values = columns[feature.name]
    except KeyError:
        raise missing_feature(feature, signature) from None
    if feature.categories:
        return _categories(feature, values, signature.codes[feature.name])
    return numbers(feature, values)


def _categories(feature: Feature, values: Sequence[Any], codes: dict[Any, float]) -> Matrix:
    values = list(values)
    for value in values:
        if isinstance(value, int | list | dict) or (isinstance(value, float) and not math.isnan(value)):
            raise DataError(f"feature '{feature.name}' got {value!r}: a category is a text or null")
    return np.array([codes.get(value, math.nan) for value in values], dtype=np.float32)


def missing_feature(feature: Feature, signature: Signature) -> DataError:
    """The error of rows without a column that the model takes."""
    return DataError(
        f"feature '{feature.name}' is missing; the model takes: {', '.join(signature.names)}: add the column"
    )


def numbers(feature: Feature, values: Sequence[Any]) -> Matrix:
    """Encode one numeric feature.

    Raises:
        DataError: a value is no number, is infinite or beyond float32.
    """
    try:
        array = np.asarray(values)
        if array.ndim != 1 or (array.dtype.kind not in _NUMBERS and not _only_numbers(array)):
            raise TypeError
        with np.errstate(over="ignore"):
            encoded = array.astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        shown = next((value for value in values if not _is_number(value)), "a value beyond float64")
        raise DataError(f"feature '{feature.name}' got {shown!r}: a numeric feature takes a number or null") from None
    if np.isinf(encoded).any():
        raise DataError(f"feature '{feature.name}' holds a number that is infinite or beyond float32: correct it")
    return encoded


def _only_numbers(array: npt.NDArray[Any]) -> bool:
    """Whether an array of mixed Python objects holds nothing but numbers and None."""
    return array.dtype.kind == "O" and all(_is_number(value) for value in array)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float | np.number)
