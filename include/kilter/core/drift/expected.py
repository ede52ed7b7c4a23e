"""What a metric will be, by the probabilities that a model gives: confidence-based performance estimation.

If of the rows that score 0.7 seventy in a hundred hold a 1, then the counts behind every metric are known on average before
any label is: a row of 0.7 is 0.7 of a positive and 0.3 of a negative. NannyML's CBPE: Białek, Kuberski, Perrakis and Bifet
(2024), Estimating model performance under covariate shift without labels, arXiv 2401.08348, section 3. The alternative with
one learnt threshold, ATC (Garg et al. 2022, Leveraging unlabeled data to predict out-of-distribution performance, ICLR), knows
accuracy only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from kilter.core.metrics import measure
from kilter.core.summed_metrics import SUMMED

Array = npt.NDArray[np.float64]

DRAWS = 100
"""Sets of labels drawn to know the spread of a metric, then to 7 %."""


def expected(metric: str, scores: Array) -> float:
    """The mean of a metric over the labels that the scores say are likely.

    Args:
        metric: of two or of many classes.
        scores: probability of 1, shape (rows,), or of each class, shape (rows, classes).

    >>> round(expected("accuracy", np.array([0.9, 0.2])), 3), expected("brier", np.array([[0.5, 0.5, 0.0]]))
    (0.85, 0.5)
    """
    if metric in _WEIGHTED:
        return _WEIGHTED[metric](scores)
    if metric == "macro_f1":
        return _macro_f1(scores)
    return float(_of_rows(metric, scores).mean())


def spread(metric: str, scores: Array, seed: int) -> float:
    """The standard deviation of a metric over labels drawn as the scores say, each row by itself."""
    random = np.random.default_rng(seed)
    if metric == "roc_auc":
        return float(np.nanstd(_areas(scores, random), ddof=1))
    found = [measure([metric], _draw(scores, random), scores).get(metric, np.nan) for _ in range(DRAWS)]
    return float(np.nanstd(found, ddof=1))


def _draw(scores: Array, random: np.random.Generator) -> Array:
    drawn = random.random(len(scores))
    if scores.ndim == 1:
        return (drawn < scores).astype(np.float64)
    below = np.cumsum(scores, axis=1)
    return (drawn[:, None] * below[:, -1:] > below).sum(axis=1).astype(np.float64)


def _areas(scores: Array, random: np.random.Generator) -> Array:
    """ROC AUC of each draw, shape (`DRAWS`,), by the ranks of the positives: the scores are sorted once for all."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    found = np.empty(DRAWS)
    for place in range(DRAWS):
        positive = random.random(len(scores)) < scores
        count = int(positive.sum())
        pairs = count * (len(scores) - count)
        found[place] = (ranks[positive].sum() - count * (count + 1) / 2) / pairs if pairs else np.nan
    return found


def _of_rows(metric: str, scores: Array) -> Array:
    """What each row adds to a mean over rows, shape (rows,): by class, weighted by the class's probability."""
    shares = scores if scores.ndim == 2 else np.column_stack([1 - scores, scores])
    rows = np.arange(len(scores))
    total = np.zeros(len(scores))
    for place in range(shares.shape[1]):
        # Each row in a group of its own: its sum is its own term.
        term = SUMMED[metric].sums(np.full(len(scores), float(place)), scores, rows)[:, 0]
        total += shares[:, place] * term
    return total


def _macro_f1(scores: Array) -> float:
    predicted = scores.argmax(axis=1)
    classes = np.arange(scores.shape[1])
    chosen = predicted[:, None] == classes
    sums = np.concatenate([scores.sum(axis=0), chosen.sum(axis=0), (scores * chosen).sum(axis=0)])
    return float(SUMMED["macro_f1"].metric(sums))


def _weighted(name: str, scores: Array) -> float:
    """A ranking metric where each row is both a positive and a negative, weighted by its score."""
    from sklearn import metrics

    labels = np.repeat([1.0, 0.0], len(scores))
    weights = np.concatenate([scores, 1 - scores])
    return float(getattr(metrics, name)(labels, np.tile(scores, 2), sample_weight=weights))


_WEIGHTED: Mapping[str, Callable[[Array], float]] = {
    "roc_auc": lambda scores: _weighted("roc_auc_score", scores),
    "average_precision": lambda scores: _weighted("average_precision_score", scores),
}
