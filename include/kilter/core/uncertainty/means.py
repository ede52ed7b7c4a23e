"""Metrics that are means over rows: log loss, Brier score, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from kilter.core.uncertainty.bootstrap import join, resample

Vector = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]


def _log_loss(labels: Vector, scores: Vector) -> Vector:
    # Clipped as scikit-learn does, so that a sure and wrong score costs much and not everything.
    least = np.finfo(np.float64).eps
    return -np.log(np.clip(np.where(labels == 1, scores, 1 - scores), least, 1 - least))


def _brier(labels: Vector, scores: Vector) -> Vector:
    return (labels - scores) ** 2


def _accuracy(labels: Vector, scores: Vector) -> Vector:
    return ((scores >= 0.5) == (labels == 1)).astype(np.float64)


MEANS: Mapping[str, Callable[[Vector, Vector], Vector]] = {
    "log_loss": _log_loss,
    "brier": _brier,
    "accuracy": _accuracy,
}
"""Metric → what each row adds to the mean, of labels and scores."""


def mean(metric: str, labels: Vector, scores: Vector) -> float:
    """The metric itself."""
    return float(MEANS[metric](labels, scores).mean())


def mean_replicates(metric: str, labels: Vector, scores: Vector, blocks: Blocks, seed: int) -> Vector:
    """The metric on resampled blocks, shape (`REPLICATES`,)."""
    groups = join(blocks, seed)
    sums = np.bincount(groups, weights=MEANS[metric](labels, scores))
    rows = np.bincount(groups).astype(np.float64)
    replicates = resample(np.column_stack([sums, rows]), seed)
    return replicates[:, 0] / replicates[:, 1]
