"""How near each feature comes to the model all by itself: what nearly reaches it may be the answer in disguise.

Kaufman, Rosset and Perlich (2011), Leakage in data mining: formulation, detection, and avoidance, section 5:
look for features whose power alone is too good to be true.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kilter.core.metrics import loss_of, measure
from kilter.encoding import Matrix, Signature

Vector = npt.NDArray[np.float64]
Bins = npt.NDArray[np.int64]

BINS = 64
"""Of a numeric feature, with about as many rows of the train part each."""

PRIOR_ROWS = 20.0
"""Rows of the prior that are mixed into each bin's mean, so that a bin of few rows says little."""


def gain(metric: str, labels: Vector, scores: Vector, prior: float) -> float:
    """How much better the scores are than the prior for every row, positive when better.

    Args:
        labels: 0 and 1, both there.

    >>> gain("roc_auc", np.array([0.0, 1.0]), np.array([0.2, 0.7]), prior=0.5)
    0.5
    """
    return _gain_over(_naive(metric, labels, prior), metric, labels, scores)


def gains_alone(
    metric: str, train: Matrix, train_labels: Vector, rows: Matrix, labels: Vector, signature: Signature
) -> dict[str, float]:
    """The gain over the prior that each feature reaches alone, by the mean label of its bins in the train part.

    A number is binned by quantiles, and a value that many rows share has a bin of its own; each category is
    a bin, and so is what is missing. Mean labels by bin, mixed with the prior: Micci-Barreca (2001), A
    preprocessing scheme for high-cardinality categorical attributes, section 3.

    Args:
        train, rows: encoded, rows × features.
        train_labels, labels: 0 and 1, both there.
    """
    prior = float(train_labels.mean())
    naive = _naive(metric, labels, prior)
    means = {
        feature.name: _mean_by_bin(train[:, column], train_labels, rows[:, column], bool(feature.categories), prior)
        for column, feature in enumerate(signature.features)
    }
    return {name: _gain_over(naive, metric, labels, scores) for name, scores in means.items()}


def _naive(metric: str, labels: Vector, prior: float) -> float:
    return measure([metric], labels, np.full(len(labels), prior))[metric]


def _gain_over(naive: float, metric: str, labels: Vector, scores: Vector) -> float:
    return loss_of(metric, naive, measure([metric], labels, scores)[metric])


def _mean_by_bin(train: Matrix, labels: Vector, values: Matrix, categorical: bool, prior: float) -> Vector:
    """The mean label of each value's bin; the prior for a bin that the train part does not have."""
    edges = _edges(train, categorical)
    bins, count = _place(train, edges), 2 * len(edges) + 2
    rows = np.bincount(bins, minlength=count)
    positives = np.bincount(bins, weights=labels, minlength=count)
    means: Vector = (positives + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS)
    return means[_place(values, edges)]


def _edges(train: Matrix, categorical: bool) -> Matrix:
    known = train[~np.isnan(train)]
    if categorical or not len(known):
        return np.unique(known)
    return np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="nearest"))


def _place(values: Matrix, edges: Matrix) -> Bins:
    """Bins from 0: odd ones hold exactly an edge, even ones lie between two; the last one is for what is missing."""
    found = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), 2 * len(edges) + 1, found)
