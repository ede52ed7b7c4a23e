"""The area under the ROC curve and its standard error, with rows that share their fate in blocks.

DeLong, DeLong and Clarke-Pearson (1988), Comparing the areas under two or more correlated ROC curves, give
each row a structural component; Obuchowski (1997), Nonparametric analysis of clustered ROC curve data, sums
them within blocks. With each row a block of its own the second is the first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]


def components(labels: Vector, scores: Vector) -> Vector:
    """The share of rows of the other class that each row stands on the right side of, a tie counting half.

    One sort, O(n log n): Sun and Xu (2014), Fast implementation of DeLong's algorithm, section III.

    Args:
        labels: 0 or 1, both present, shape (rows,).
        scores: the higher, the likelier a 1; finite, shape (rows,).

    Returns:
        Shape (rows,). The mean over either class is the area.

    >>> components(np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.6, 0.4])).tolist()
    [1.0, 0.0, 0.5]
    """
    positive = labels == 1
    _, place = np.unique(scores, return_inverse=True)
    distinct = int(place.max()) + 1
    positives = np.bincount(place[positive], minlength=distinct)
    negatives = np.bincount(place[~positive], minlength=distinct)
    beaten = (np.cumsum(negatives) - negatives / 2) / negatives.sum()
    not_beaten_by = 1 - (np.cumsum(positives) - positives / 2) / positives.sum()
    return np.where(positive, beaten[place], not_beaten_by[place])


def area(labels: Vector, components: Vector) -> float:
    """The area under the curve out of its components; the difference of two areas out of their difference."""
    return float(components[labels == 1].mean())


def standard_error(labels: Vector, components: Vector, blocks: Blocks) -> float:
    """The standard error of `area`, for one model or for the paired difference of two.

    Obuchowski (1997), section 2, with its correction for each class by the blocks that hold the class; it
    cannot be negative, as the correction of the covariance is the smallest of the three.

    Args:
        components: of one model, or the difference of the components of two, shape (rows,).
        blocks: 0, 1, … without gaps, shape (rows,). Each class lies in two of them or more.
    """
    positive = labels == 1
    deviations = components - area(labels, components)
    of_ones, ones = _by_block(deviations, blocks, positive)
    of_zeros, zeros = _by_block(deviations, blocks, ~positive)
    variance = (
        _correction(ones) * (of_ones**2).sum()
        + _correction(zeros) * (of_zeros**2).sum()
        + 2 * _correction(np.ones(len(ones))) * (of_ones * of_zeros).sum()
    )
    return float(np.sqrt(variance))


def _by_block(deviations: Vector, blocks: Blocks, rows: npt.NDArray[np.bool_]) -> tuple[Vector, npt.NDArray[np.int64]]:
    """Of one class: what each block adds to the mean's deviation, and its rows in each block."""
    count = int(blocks.max()) + 1
    sums = np.bincount(blocks[rows], weights=deviations[rows], minlength=count)
    return sums / rows.sum(), np.bincount(blocks[rows], minlength=count)


def _correction(rows: npt.NDArray[np.generic]) -> float:
    """For the degree of freedom that the mean costs: n / (n - 1) for n blocks that hold rows."""
    held = np.count_nonzero(rows)
    return held / (held - 1)
