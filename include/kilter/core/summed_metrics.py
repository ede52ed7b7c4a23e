"""Metrics that need no more than sums over rows, of all of them or of resampled blocks of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Table = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]


class Summed(NamedTuple):
    """A metric in two parts.

    Args:
        sums: of labels, scores and the group of each row (0, 1, … without gaps): what each group adds, shape
            (groups, sums).
        metric: of such sums, shape (…, sums): the metric, shape (…,); NaN where they give none.
    """

    sums: Callable[[Vector, Table, Groups], Table]
    metric: Callable[[Table], Vector]


def _by_group(groups: Groups, *terms: Vector) -> Table:
    """What each group adds to each term, and its rows."""
    rows = np.bincount(groups).astype(np.float64)
    return np.column_stack([*(np.bincount(groups, weights=term) for term in terms), rows])


def _mean(term: Callable[[Vector, Table], Vector]) -> Summed:
    return Summed(
        sums=lambda labels, scores, groups: _by_group(groups, term(labels, scores)),
        metric=lambda sums: sums[..., 0] / sums[..., 1],
    )


def _of_label(labels: Vector, scores: Table) -> Vector:
    """The probability that each row's score gives to its label."""
    if scores.ndim == 2:
        return scores[np.arange(len(labels)), labels.astype(np.int64)]
    return np.where(labels == 1, scores, 1 - scores)


def _log_loss(labels: Vector, scores: Table) -> Vector:
    # Clipped as scikit-learn does, so that a sure and wrong score costs much and not everything.
    least = np.finfo(np.float64).eps
    return -np.log(np.clip(_of_label(labels, scores), least, 1 - least))


def _brier(labels: Vector, scores: Table) -> Vector:
    # Of K classes the sum over all of them, as Brier (1950) wrote it; of two, half of that, as everybody else does.
    if scores.ndim == 2:
        own: Vector = (scores**2).sum(axis=1) - 2 * _of_label(labels, scores) + 1
        return own
    return (labels - scores) ** 2


def _accuracy(labels: Vector, scores: Table) -> Vector:
    right = scores.argmax(axis=1) == labels if scores.ndim == 2 else (scores >= 0.5) == (labels == 1)
    return right.astype(np.float64)


def _absolute_error(labels: Vector, scores: Table) -> Vector:
    return np.abs(labels - scores)


def _squared_error(labels: Vector, scores: Table) -> Vector:
    return (labels - scores) ** 2


def _spreads(labels: Vector, scores: Table, groups: Groups) -> Table:
    # From the median, not from 0, so that labels far from 0 lose no digits, and equal ones have no spread at all.
    centred = labels - np.median(labels)
    return _by_group(groups, _squared_error(labels, scores), centred, centred**2)


def _r2(sums: Table) -> Vector:
    errors, centred, squares, rows = np.moveaxis(sums, -1, 0)
    spread = squares - centred**2 / rows
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 1 - errors / spread, np.nan)


def _class_counts(labels: Vector, scores: Table, groups: Groups) -> Table:
    """For each class, the rows that hold it, those that are predicted to, and those of which both is true."""
    classes = scores.shape[1]
    actual, predicted = labels.astype(np.int64), scores.argmax(axis=1)
    size = (int(groups.max()) + 1) * classes
    cells = [groups * classes + found for found in (actual, predicted)]
    cells.append(cells[0][actual == predicted])
    return np.hstack([np.bincount(cell, minlength=size).reshape(-1, classes) for cell in cells]).astype(np.float64)


def _macro_f1(sums: Table) -> Vector:
    actual, predicted, hits = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore"):
        f1 = np.where(actual > 0, 2 * hits / (actual + predicted), 0)
        found: Vector = f1.sum(axis=-1) / (actual > 0).sum(axis=-1)
    return found


_RMSE = _mean(_squared_error)

SUMMED: Mapping[str, Summed] = {
    "log_loss": _mean(_log_loss),
    "brier": _mean(_brier),
    "accuracy": _mean(_accuracy),
    "macro_f1": Summed(_class_counts, _macro_f1),
    "mae": _mean(_absolute_error),
    "rmse": Summed(_RMSE.sums, lambda sums: np.sqrt(_RMSE.metric(sums))),
    "r2": Summed(_spreads, _r2),
}
"""By name, for scores of shape (rows,), or (rows, classes) with labels that are places of classes.

Accuracy takes the most probable class; the macro F1 is the mean over the classes that some label holds.
"""


def summed(metric: str, labels: Vector, scores: Table) -> float:
    """The metric on all rows.

    >>> summed("accuracy", np.array([0.0, 2.0]), np.array([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2]]))
    0.5
    >>> summed("rmse", np.array([3.0, 5.0]), np.array([0.0, 1.0])) == 12.5**0.5
    True
    """
    whole = SUMMED[metric].sums(labels, scores, np.zeros(len(labels), dtype=np.int64))
    return float(SUMMED[metric].metric(whole)[0])
