"""How near each feature comes to the model all by itself: what nearly reaches it may be the answer in disguise.

Kaufman, Rosset and Perlich (2011), Leakage in data mining: formulation, detection, and avoidance, section 5:
look for features whose power alone is too good to be true.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kilter.core.metrics import loss_of, measure
from kilter.core.sanity.prior import Prior, guesses, prior
from kilter.encoding import Matrix, Signature

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
Bins = npt.NDArray[np.int64]

BINS = 64
"""Of a numeric feature, with about as many rows of the train part each."""

BINS_FOR_NUMBERS = 256
"""The same where labels are numbers, of whose tails fewer bins would make one mean."""

PRIOR_ROWS = 20.0
"""Rows of the prior that are mixed into each bin's share of a class, so that a bin of few rows says little."""

_NOTHING_TOLD = 1e9
"""Rows of the prior where a feature's bins tell nothing of a number."""


def gain(metric: str, labels: Vector, scores: Scores, prior: Prior) -> float:
    """How much better the scores are than the prior for every row, positive when better.

    Args:
        labels: encoded; the metric can be measured on them.

    >>> gain("roc_auc", np.array([0.0, 1.0]), np.array([0.2, 0.7]), prior=0.5)
    0.5
    """
    return _gain_over(_naive(metric, labels, prior), metric, labels, scores)


def gains_alone(
    metric: str, train: Matrix, train_labels: Vector, rows: Matrix, labels: Vector, signature: Signature
) -> dict[str, float]:
    """The gain over the prior that each feature reaches alone, by the mean label of its bins in the train part.

    A number is binned by quantiles, and a value that many rows share has a bin of its own; each category is
    a bin, and so is what is missing. Mean labels by bin, of many classes the share of each, mixed with the prior:
    Micci-Barreca (2001), A preprocessing scheme for high-cardinality categorical attributes, section 3. Numbers are mixed
    by empirical Bayes, as there: with as much of the prior as labels vary within bins for what they do between them.

    Args:
        train, rows: encoded, rows × features.
        train_labels, labels: encoded; the metric can be measured on the latter.
    """
    classes = len(signature.classes)
    guess = prior(train_labels, classes, metric)
    targets = np.eye(classes)[train_labels.astype(np.int64)] if classes else train_labels
    naive = _naive(metric, labels, guess)
    numbers = signature.task == "regression"
    means = {
        feature.name: _mean_by_bin(train[:, column], targets, rows[:, column], bool(feature.categories), guess, numbers)
        for column, feature in enumerate(signature.features)
    }
    return {name: _gain_over(naive, metric, labels, scores) for name, scores in means.items()}


def _naive(metric: str, labels: Vector, prior: Prior) -> float:
    return measure([metric], labels, guesses(prior, len(labels)))[metric]


def _gain_over(naive: float, metric: str, labels: Vector, scores: Scores) -> float:
    return loss_of(metric, naive, measure([metric], labels, scores)[metric])


def _mean_by_bin(
    train: Matrix, targets: Scores, values: Matrix, categorical: bool, prior: Prior, numbers: bool
) -> Scores:
    """The mean target of each value's bin; the prior for a bin that the train part does not have."""
    edges = _edges(train, categorical, BINS_FOR_NUMBERS if numbers else BINS)
    bins, count = _place(train, edges), 2 * len(edges) + 2
    rows = np.bincount(bins, minlength=count)
    sums = [np.bincount(bins, weights=target, minlength=count) for target in np.atleast_2d(targets.T)]
    weight = _within_for_between(targets, bins) if numbers else PRIOR_ROWS
    means = (np.column_stack(sums) + weight * np.asarray(prior)) / (rows[:, np.newaxis] + weight)
    found: Scores = means[_place(values, edges)].reshape(len(values), *targets.shape[1:])
    return found


def _within_for_between(targets: Vector, bins: Bins) -> float:
    """The variance within bins for that between them: at least nothing, at most a billion, as where bins tell nothing."""
    _, bins, rows = np.unique(bins, return_inverse=True, return_counts=True)
    within = targets - (np.bincount(bins, weights=targets) / rows)[bins]
    free = len(targets) - len(rows)
    if not free:
        return _NOTHING_TOLD
    variance = float(within @ within) / free
    between = float(targets.var()) - variance
    # The least share is for bins of equal labels, so that the prior still stands where there are no rows.
    return max(variance / between, 1e-9) if between * _NOTHING_TOLD > variance else _NOTHING_TOLD


def _edges(train: Matrix, categorical: bool, bins: int) -> Matrix:
    known = train[~np.isnan(train)]
    if categorical or not len(known):
        return np.unique(known)
    return np.unique(np.quantile(known, np.arange(1, bins) / bins, method="nearest"))


def _place(values: Matrix, edges: Matrix) -> Bins:
    """Bins from 0: odd ones hold exactly an edge, even ones lie between two; the last one is for what is missing."""
    found = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), 2 * len(edges) + 1, found)
