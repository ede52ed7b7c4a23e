"""How far scores are from probabilities, and how sure that is."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from kilter.core.metrics import calibration_bins
from kilter.core.uncertainty import bootstrap
from kilter.core.uncertainty.blocks import LEAST_BLOCKS, number, observations
from kilter.core.uncertainty.estimate import Estimate, interval

Vector = npt.NDArray[np.float64]
Table = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]

_LEAST_SCORE = 1e-7
"""Nearer to 0 or 1 a score in single precision is 0 or 1, whose log odds are infinite."""

_MOST_ITERATIONS = 50
_HALVINGS = 20


def calibration_error(
    labels: Vector, scores: Vector, blocks: Blocks, confidence: float, seed: int = 0
) -> Estimate | None:
    """The expected calibration error: the mean distance of score and share of positives over bins of equal size.

    A distance cannot be negative, so noise alone makes one, and the fewer rows the more. Value and lower end
    are what is left without it: the true distances, taken as the seen ones times a share, for which noise
    would give more than the error seen in half of all samples, or only in the least likely ones. Inverting a
    test by the bootstrap: Carpenter (1999), Test inversion bootstrap confidence intervals. The upper end
    takes nothing off, so that noise never makes a pass.

    Returns:
        As `kilter.core.uncertainty.estimate.estimate` does.
    """
    held = observations(labels, blocks)
    if held < LEAST_BLOCKS:
        return None
    if not np.isfinite(scores).all():
        return interval(math.nan, math.nan, held, confidence)
    seen, replicates = _distances(labels, scores, bootstrap.join(number(blocks), seed), seed)
    plain = float(np.abs(seen).sum())
    error = bootstrap.standard_error(np.abs(replicates).sum(axis=1), held)
    around = interval(plain, error, held, confidence)
    noise = (replicates - seen) * math.sqrt(held / (held - 1))
    return around.model_copy(
        update={
            "value": plain * _share(seen, noise, 0.5),
            "low": plain * _share(seen, noise * _widening(held, confidence), (1 + confidence) / 2),
        }
    )


def _distances(labels: Vector, scores: Vector, groups: Blocks, seed: int) -> tuple[Vector, Table]:
    """Of each bin: label less score, summed and divided by all rows; as seen (bins,), and resampled."""
    bins = calibration_bins(scores)
    count, width = int(groups.max()) + 1, int(bins.max()) + 1
    surplus = np.bincount(groups * width + bins, weights=labels - scores, minlength=count * width)
    sums = np.column_stack([surplus.reshape(count, width), np.bincount(groups)])
    replicates = bootstrap.resample(sums, seed)
    return sums[:, :-1].sum(axis=0) / len(labels), replicates[:, :-1] / replicates[:, -1:]


def _share(seen: Vector, noise: Table, level: float) -> float:
    """The share of the seen distances at which noise gives the error seen, or less, with probability `level`.

    0 when noise alone gives as much.
    """
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = np.quantile(np.abs(middle * seen + noise).sum(axis=1), level) <= np.abs(seen).sum()
        low, high = (middle, high) if fits else (low, middle)
    return low


def _widening(blocks: int, confidence: float) -> float:
    """How much wider an interval by Student's t is than by the normal distribution."""
    from scipy.special import ndtri, stdtrit

    reach = (1 + confidence) / 2
    return float(stdtrit(blocks - 1, reach) / ndtri(reach))


def calibration_slope(labels: Vector, scores: Vector, blocks: Blocks, confidence: float) -> Estimate | None:
    """The slope of the outcome's log odds over the score's: 1 is right, less is too sure of itself, more too timid.

    A logistic regression of the label on the log odds of the score: Cox (1958), Two further applications of a
    model for binary regression. Its error is the sandwich over blocks: Liang and Zeger (1986), Longitudinal
    data analysis using generalized linear models, section 2.

    Returns:
        None when fewer than `LEAST_BLOCKS` blocks hold a 1, or a 0; NaNs when a score is not finite, or no
        slope fits: all scores are equal, or separate the labels.
    """
    held = observations(labels, blocks)
    if held < LEAST_BLOCKS:
        return None
    if not np.isfinite(scores).all() or not (fitted := _fit(labels, _log_odds(scores))):
        return interval(math.nan, math.nan, held, confidence)
    (slope, residuals, inverse), log_odds, numbers = fitted, _log_odds(scores), number(blocks)
    by_block = np.column_stack(
        [np.bincount(numbers, weights=residuals), np.bincount(numbers, weights=residuals * log_odds)]
    )
    count = len(by_block)
    variance = inverse @ (by_block.T @ by_block) @ inverse * count / (count - 1)
    return interval(slope, math.sqrt(variance[1, 1]), held, confidence)


def _log_odds(scores: Vector) -> Vector:
    from scipy.special import logit

    found: Vector = logit(np.clip(scores, _LEAST_SCORE, 1 - _LEAST_SCORE))
    return found


def _fit(labels: Vector, log_odds: Vector) -> tuple[float, Vector, Table] | None:
    """The slope, the label less its fitted probability (rows,), and the inverse of the information (2, 2).

    By Newton's method from a flat line; None when it does not settle.
    """
    from scipy.special import expit

    prior = labels.mean()
    line = np.array([math.log(prior / (1 - prior)), 0.0])
    for _ in range(_MOST_ITERATIONS):
        fitted = expit(line[0] + line[1] * log_odds)
        weights, residuals = fitted * (1 - fitted), labels - fitted
        first, second = weights @ log_odds, weights @ log_odds**2
        information = np.array([[weights.sum(), first], [first, second]])
        if not np.linalg.cond(information) < 1 / np.finfo(np.float64).eps:
            return None
        inverse = np.linalg.inv(information)
        move = inverse @ np.array([residuals.sum(), residuals @ log_odds])
        if np.abs(move).max() < 1e-9 * max(1.0, np.abs(line).max()):
            return float(line[1]), residuals, inverse
        line = line + move
    return None
