"""A change in a stream of errors, and whether it is more than what blocks of event time vary by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilter.core.uncertainty.blocks import LEAST_BLOCKS, number
from kilter.core.uncertainty.estimate import Estimate, interval
from kilter.spec import Task

Array = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """Rows of a stream, counted from 0: where errors became others, and where a detector saw it."""

    begins: int
    seen: int


def row_errors(task: Task, labels: Array, scores: Array, scale: float = 1.0) -> Array:
    """How wrong each row is, between 0 and 1, shape (rows,).

    The Brier score of the row; of many classes half of it, and of a number its absolute error in units of `scale`, cut
    at 1: the most that ADWIN's bound knows of.

    >>> row_errors("binary", np.array([1.0]), np.array([0.8])).round(2).tolist()
    [0.04]
    >>> row_errors("multiclass", np.array([0.0]), np.array([[0.0, 1.0, 0.0]])).tolist()
    [1.0]
    >>> row_errors("regression", np.array([5.0, 5.0]), np.array([3.0, 50.0]), scale=10).tolist()
    [0.2, 1.0]
    """
    if task == "regression":
        errors: Array = np.minimum(np.abs(labels - scores) / scale, 1.0)
        return errors
    if task == "binary":
        return (labels - scores) ** 2
    own = scores[np.arange(len(labels)), labels.astype(np.int64)]
    half: Array = ((scores**2).sum(axis=1) - 2 * own + 1) / 2
    return half


def split(errors: Array) -> int:
    """The row at which a stretch falls best into two parts of different means: 1 or more, and less than its length.

    Where the t statistic of the two is greatest, as the likelihood is: Hinkley (1970), Inference about the change-point in a
    sequence of random variables, Biometrika 57.

    >>> split(np.array([0.1, 0.0, 0.1, 0.9, 1.0]))
    3
    """
    before = np.arange(1, len(errors))
    sums = np.cumsum(errors - errors.mean())[:-1]
    return int(before[np.argmax(np.abs(sums) / np.sqrt(before * (len(errors) - before)))])


def rise(errors: Array, blocks: Blocks, begins: int, confidence: float) -> Estimate | None:
    """How much greater errors are from row `begins` on than before, by how much the blocks before vary.

    Detectors take rows for independent, and rows that share their fate are not: a bad day is a change to them. So a change
    counts when it is surely more than what days differ by. What comes after may be one block; it is taken to vary as those
    before did.

    Returns:
        None with fewer than `LEAST_BLOCKS` blocks before, or no row after.
    """
    before, after = errors[:begins], errors[begins:]
    numbers = number(blocks[:begins]) if begins else blocks[:0]
    count = len(np.unique(numbers))
    if count < LEAST_BLOCKS or not len(after):
        return None
    sizes = np.bincount(numbers).astype(np.float64)
    surplus = np.bincount(numbers, weights=before - before.mean())
    # Variance of a block's mean: of sums over sizes, so that large blocks, which are better known, weigh more.
    variance = float((surplus**2).sum() / (sizes**2).sum()) * count / (count - 1)
    after_sizes = np.unique(blocks[begins:], return_counts=True)[1]
    weights = (sizes**2).sum() / len(before) ** 2 + (after_sizes**2).sum() / len(after) ** 2
    return interval(float(after.mean() - before.mean()), math.sqrt(variance * float(weights)), count, confidence)
