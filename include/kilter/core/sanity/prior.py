"""The naive forecast without any feature: what the train part alone says of every row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
Prior = float | tuple[float, ...]


def prior(labels: Vector, classes: int, metric: str) -> Prior:
    """The best guess that is the same for every row.

    The share of ones; the share of each class, by which the commonest is the most probable; the mean of numbers, or
    their median where `mae` decides, as that is where it is least. Classes are counted once more than they are, which
    is Laplace's rule of succession: one that the train part does not have is rare, not impossible.

    Args:
        labels: of the train part, encoded.
        classes: how many a multiclass model has; else 0.
        metric: the primary one.

    >>> prior(np.array([0.0, 1.0, 1.0, 1.0]), classes=0, metric="roc_auc")
    0.75
    >>> prior(np.array([0.0, 1.0, 1.0, 1.0]), classes=4, metric="accuracy")
    (0.25, 0.5, 0.125, 0.125)
    >>> prior(np.array([1.0, 2.0, 9.0]), 0, "mae"), prior(np.array([1.0, 2.0, 9.0]), 0, "rmse")
    (2.0, 4.0)
    """
    if classes:
        counts = np.bincount(labels.astype(np.int64), minlength=classes) + 1
        return tuple((counts / counts.sum()).tolist())
    return float(np.median(labels) if metric == "mae" else labels.mean())


def guesses(prior: Prior, rows: int) -> Scores:
    """The prior as the score of each row.

    >>> guesses(0.3, rows=2).tolist(), guesses((0.2, 0.8), rows=1).tolist()
    ([0.3, 0.3], [[0.2, 0.8]])
    """
    return np.full((rows, *np.shape(prior)), prior, dtype=np.float64)
