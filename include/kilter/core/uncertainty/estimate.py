"""A metric, or how much worse one model is than another, with its standard error and interval."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from kilter.core.metrics import loss_of, task_of
from kilter.core.summed_metrics import SUMMED, summed
from kilter.core.uncertainty import bootstrap, delong
from kilter.core.uncertainty.average_precision import average_precision, average_precision_replicates
from kilter.core.uncertainty.blocks import LEAST_BLOCKS, number, observations
from kilter.core.verdict import Measured
from kilter.spec import METRICS

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]


class Estimate(BaseModel):
    """A value with its standard error and two-sided interval at `confidence`."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    value: float
    low: float
    high: float
    error: float
    confidence: float
    blocks: int
    """Independent observations behind it, as `estimate` counts them."""

    def measured(
        self, label: str, wanted: Literal["at_least", "at_most"], bound: float, strict: bool = False
    ) -> Measured:
        """The estimate beside a bound, which it must not reach where it is strict."""
        return Measured(
            label=label,
            value=self.value,
            low=self.low,
            high=self.high,
            confidence=self.confidence,
            wanted=wanted,
            bound=bound,
            strict=strict,
        )

    def p_above(self, bound: float) -> float:
        """The p-value of "the true value is `bound` or less": small when it is surely above.

        It is below `(1 - confidence) / 2` when `low` is above the bound. NaN of an estimate of NaNs.
        """
        from scipy.special import stdtr

        if self.error == 0:
            return 0.0 if self.value > bound else 1.0
        return float(stdtr(self.blocks - 1, (bound - self.value) / self.error))


def interval(value: float, error: float, blocks: int, confidence: float) -> Estimate:
    """The value ± Student's t × its standard error, with one degree of freedom less than blocks.

    Not the normal distribution: an error that was itself estimated from few blocks is often too small. Bell
    and McCaffrey (2002), Bias reduction in standard errors for linear regression with multi-stage samples;
    Cameron, Gelbach and Miller (2008), Bootstrap-based improvements for inference with clustered errors.
    """
    from scipy.special import stdtrit

    reach = float(stdtrit(blocks - 1, (1 + confidence) / 2)) * error
    return Estimate(
        value=value, low=value - reach, high=value + reach, error=error, confidence=confidence, blocks=blocks
    )


def estimate(
    metric: str, labels: Vector, scores: Scores, blocks: Blocks, confidence: float, seed: int = 0
) -> Estimate | None:
    """A metric with its interval, cut to the values that the metric can have.

    The standard error of ROC AUC is by DeLong, that of all others by the bootstrap; both over blocks. Where
    every row agrees, as with a perfect ranking, the error is 0, which is too sure of itself on few rows.

    An observation is a block. Where a label that is scarce decides how much is known, only the blocks that hold the
    scarcest one count: for all metrics of two classes, and for the macro F1, to which each class adds the same. To the
    other metrics of many classes, and to those of numbers, each row adds its own error, whatever its label, so all count.

    Args:
        metric: of `kilter.spec.METRICS`.
        labels: 0 or 1, a class's place, or a number; shape (rows,).
        scores: probability of 1, or the number predicted, shape (rows,); of many classes one probability each,
            shape (rows, classes).
        blocks: a number for each row; rows of one number share their fate, shape (rows,).
        confidence: of the interval, two-sided.

    Returns:
        None with fewer than `LEAST_BLOCKS` observations, and for `r2` where labels do not vary; NaNs when a score is not
        finite.

    >>> labels, scores = np.tile([0.0, 1.0], 10), np.tile([0.2, 0.4, 0.3, 0.1], 5)
    >>> found = estimate("roc_auc", labels, scores, np.arange(20), confidence=0.95)
    >>> found.value, round(found.error, 3), found.blocks
    (0.5, 0.167, 10)
    """
    held = _observations(metric, labels, scores, blocks)
    if held < LEAST_BLOCKS:
        return None
    if not np.isfinite(scores).all():
        return interval(math.nan, math.nan, held, confidence)
    value, error = _measure(metric, labels, scores, None, number(blocks), seed)
    found = interval(value, error, held, confidence)
    least, greatest = METRICS[task_of(metric, scores)][metric]
    return found.model_copy(update={"low": max(found.low, least), "high": min(found.high, greatest)})


def loss(
    metric: str,
    labels: Vector,
    candidate: Scores,
    reference: Scores,
    blocks: Blocks,
    confidence: float,
    seed: int = 0,
) -> Estimate | None:
    """How much worse the candidate is than the reference on the same rows, positive when worse.

    Paired: what is hard for both cancels out, so that the interval is far narrower than that of either.
    Arguments and result otherwise as in `estimate`.
    """
    held = _observations(metric, labels, candidate, blocks)
    if held < LEAST_BLOCKS:
        return None
    if not (np.isfinite(candidate).all() and np.isfinite(reference).all()):
        return interval(math.nan, math.nan, held, confidence)
    difference, error = _measure(metric, labels, candidate, reference, number(blocks), seed)
    return interval(loss_of(metric, difference, 0.0), error, held, confidence)


def _measure(
    metric: str, labels: Vector, scores: Scores, reference: Scores | None, blocks: Blocks, seed: int
) -> tuple[float, float]:
    """The metric and its standard error; with a reference, those of the difference to it."""
    if metric == "roc_auc":
        parts = delong.components(labels, scores)
        if reference is not None:
            parts = parts - delong.components(labels, reference)
        return delong.area(labels, parts), delong.standard_error(labels, parts, blocks)
    value, replicates = _bootstrap(metric, labels, scores, blocks, seed)
    if reference is not None:
        other, others = _bootstrap(metric, labels, reference, blocks, seed)
        value, replicates = value - other, replicates - others
    return value, bootstrap.standard_error(replicates, int(blocks.max()) + 1)


def _bootstrap(metric: str, labels: Vector, scores: Scores, blocks: Blocks, seed: int) -> tuple[float, Vector]:
    if metric in SUMMED:
        return summed(metric, labels, scores), summed_replicates(metric, labels, scores, blocks, seed)
    return average_precision(labels, scores), average_precision_replicates(labels, scores, blocks, seed)


def summed_replicates(metric: str, labels: Vector, scores: Scores, blocks: Blocks, seed: int) -> Vector:
    """A metric of `SUMMED` on resampled blocks, shape (`REPLICATES`,)."""
    sums = SUMMED[metric].sums(labels, scores, bootstrap.join(blocks, seed))
    return SUMMED[metric].metric(bootstrap.resample(sums, seed))


def _observations(metric: str, labels: Vector, scores: Scores, blocks: Blocks) -> int:
    if metric == "macro_f1" or task_of(metric, scores) == "binary":
        return observations(labels, blocks)
    if metric == "r2" and len(labels) and labels.min() == labels.max():
        return 0
    return len(np.unique(blocks))
