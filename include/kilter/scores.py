"""Scores of many classes in a column of a table: a list of probabilities a row, in the order of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


def to_column(scores: Scores) -> Vector | list[Vector]:
    """What a data frame takes for a column: scores of shape (rows,) as they are, those of many classes as rows."""
    return scores if scores.ndim == 1 else list(scores)


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
