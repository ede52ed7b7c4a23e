"""Average precision on resampled blocks, without sorting a million scores for each of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kilter.core.uncertainty.bootstrap import join, resample

Vector = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]

MOST_BINS = 512
"""Bins hold equally many positives. More positives than that share bins, which moves only the spread, and little."""


def average_precision(labels: Vector, scores: Vector) -> float:
    """The mean over the positives of the precision at their score.

    >>> average_precision(np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.7])) == (1 + 2 / 3) / 2
    True
    """
    from kilter.core.metrics import measure

    return measure(["average_precision"], labels, scores)["average_precision"]


def average_precision_replicates(labels: Vector, scores: Vector, blocks: Blocks, seed: int) -> Vector:
    """The metric on resampled blocks, shape (`REPLICATES`,); NaN where no positive was drawn.

    The precision at a positive needs only how many rows of each class score as high. So each block is
    reduced to its counts by class and bin of score, and a replicate is a weighted sum of blocks.
    """
    bins = _bins(labels, scores)
    count = int(bins.max()) + 1
    groups = join(blocks, seed)
    cells = (groups * 2 + (labels == 1)) * count + bins
    counts = np.bincount(cells, minlength=(int(groups.max()) + 1) * 2 * count)
    drawn = resample(counts.reshape(-1, 2 * count).astype(np.float64), seed)
    return _of_counts(negatives=drawn[:, :count], positives=drawn[:, count:])


def _bins(labels: Vector, scores: Vector) -> Blocks:
    """The bin of each row, in the order of scores; a bin begins at the score of a positive.

    Bin 0 holds what scores below all positives. With few positives each distinct score of one has its bin,
    and the counts lose nothing.
    """
    found = np.sort(scores[labels == 1])
    begins = np.unique(found[np.linspace(0, len(found) - 1, min(len(found), MOST_BINS)).astype(np.int64)])
    return np.searchsorted(begins, scores, side="right").astype(np.int64)


def _of_counts(negatives: npt.NDArray[np.float64], positives: npt.NDArray[np.float64]) -> Vector:
    """Average precision of counts by bin, shapes (replicates, bins)."""
    hits = np.cumsum(positives[:, ::-1], axis=1)
    flagged = hits + np.cumsum(negatives[:, ::-1], axis=1)
    with np.errstate(invalid="ignore"):
        precision = np.where(flagged > 0, hits / flagged, 0)
        found: Vector = (positives[:, ::-1] * precision).sum(axis=1) / hits[:, -1]
    return found
