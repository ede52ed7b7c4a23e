"""Scores of many classes in a column of a table: a list of probabilities a row, in the order of the classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kilter.keys import CLASSES

if TYPE_CHECKING:
    import pyarrow as pa

Scores = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


def to_column(scores: Scores) -> Vector | list[Vector]:
    """What a data frame takes for a column: scores of shape (rows,) as they are, those of many classes as rows."""
    return scores if scores.ndim == 1 else list(scores)


def to_arrow(scores: Scores, missing: npt.NDArray[np.bool_], classes: Sequence[str]) -> tuple[pa.Field, pa.Array]:
    """The column `score` of a table: numbers, or a list a row whose classes the field's metadata names as JSON.

    Args:
        missing: rows whose score is null.
        classes: of a multiclass model; else none.

    >>> field, column = to_arrow(np.array([0.25, 0.5]), missing=np.array([False, True]), classes=())
    >>> column.to_pylist()
    [0.25, None]
    """
    import pyarrow as pa

    if not classes:
        return pa.field("score", pa.float64()), pa.array(scores, pa.float64(), mask=missing)
    starts = np.arange(len(scores) + 1, dtype=np.int32) * len(classes)
    column = pa.ListArray.from_arrays(starts, scores.ravel(), mask=pa.array(missing))
    return pa.field("score", column.type, metadata={CLASSES: json.dumps(classes)}), column


def from_column(column: Sequence[Any], classes: Sequence[str]) -> Scores:
    """The scores that a column holds.

    Args:
        classes: of a multiclass model; else none.

    Returns:
        Shape (rows, classes) with classes, else (rows,).

    >>> from_column([[0.2, 0.8]], classes=("a", "b")).shape, from_column([0.5, 0.2], ()).shape
    ((1, 2), (2,))
    """
    if not classes:
        return np.asarray(column, dtype=np.float64)
    return np.array([*column], dtype=np.float64).reshape(len(column), len(classes))


def in_order(scores: Scores, known: Sequence[str], wanted: Sequence[str]) -> Scores:
    """Scores of the classes `known` as those of the classes `wanted`; a class that was not known had no probability.

    So a model stays comparable with one that was trained after `label.classes` had changed. Scores without classes stay.

    >>> in_order(np.array([[0.2, 0.8]]), known=("a", "b"), wanted=("b", "a", "c")).tolist()
    [[0.8, 0.2, 0.0]]
    """
    if tuple(known) == tuple(wanted):
        return scores
    nothing = np.zeros(len(scores))
    return np.column_stack([scores[:, list(known).index(name)] if name in known else nothing for name in wanted])


def one_a_row(scores: Scores) -> Vector:
    """One number a row: scores of shape (rows,) as they are; of many classes the probability of the most probable.

    >>> one_a_row(np.array([[0.2, 0.8], [0.5, 0.5]])).tolist()
    [0.8, 0.5]
    """
    return scores if scores.ndim == 1 else scores.max(axis=1)
