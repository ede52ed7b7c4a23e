"""A metric, or how much worse one model is than another, with its standard error and interval."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from kilter.core.metrics import loss_of
from kilter.core.uncertainty import bootstrap, delong
from kilter.core.uncertainty.average_precision import average_precision, average_precision_replicates
from kilter.core.uncertainty.blocks import LEAST_BLOCKS, number
from kilter.core.uncertainty.means import MEANS, mean, mean_replicates
from kilter.core.verdict import Measured

Vector = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]

_UNBOUNDED = "log_loss"


class Estimate(BaseModel):
    """A value with its standard error and two-sided interval at `confidence`."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    value: float
    low: float
    high: float
    error: float
    confidence: float
    blocks: int
    """Independent observations behind it: the blocks that hold the scarcer label."""

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
    metric: str, labels: Vector, scores: Vector, blocks: Blocks, confidence: float, seed: int = 0
) -> Estimate | None:
    """A metric with its interval, cut to the values that the metric can have.

    The standard error of ROC AUC is by DeLong, that of all others by the bootstrap; both over blocks. Where
    every row agrees, as with a perfect ranking, the error is 0, which is too sure of itself on few rows.

    Args:
        metric: of `kilter.spec.METRICS["binary"]`.
        labels: 0 or 1, shape (rows,).
        scores: probability of 1, shape (rows,).
        blocks: a number for each row; rows of one number share their fate, shape (rows,).
        confidence: of the interval, two-sided.

    Returns:
        None when fewer than `LEAST_BLOCKS` blocks hold a 1, or a 0; NaNs when a score is not finite.

    >>> labels, scores = np.tile([0.0, 1.0], 10), np.tile([0.2, 0.4, 0.3, 0.1], 5)
    >>> found = estimate("roc_auc", labels, scores, np.arange(20), confidence=0.95)
    >>> found.value, round(found.error, 3), found.blocks
    (0.5, 0.167, 10)
    """
    numbers, held = number(labels, blocks)
    if held < LEAST_BLOCKS:
        return None
    if not np.isfinite(scores).all():
        return interval(math.nan, math.nan, held, confidence)
    value, error = _measure(metric, labels, scores, None, numbers, seed)
    found = interval(value, error, held, confidence)
    greatest = math.inf if metric == _UNBOUNDED else 1.0
    return found.model_copy(update={"low": max(found.low, 0.0), "high": min(found.high, greatest)})


def loss(
    metric: str,
    labels: Vector,
    candidate: Vector,
    reference: Vector,
    blocks: Blocks,
    confidence: float,
    seed: int = 0,
) -> Estimate | None:
    """How much worse the candidate is than the reference on the same rows, positive when worse.

    Paired: what is hard for both cancels out, so that the interval is far narrower than that of either.
    Arguments and result otherwise as in `estimate`.
    """
    numbers, held = number(labels, blocks)
    if held < LEAST_BLOCKS:
        return None
    if not (np.isfinite(candidate).all() and np.isfinite(reference).all()):
        return interval(math.nan, math.nan, held, confidence)
    difference, error = _measure(metric, labels, candidate, reference, numbers, seed)
    return interval(loss_of(metric, difference, 0.0), error, held, confidence)


def _measure(
    metric: str, labels: Vector, scores: Vector, reference: Vector | None, blocks: Blocks, seed: int
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


def _bootstrap(metric: str, labels: Vector, scores: Vector, blocks: Blocks, seed: int) -> tuple[float, Vector]:
    if metric in MEANS:
        return mean(metric, labels, scores), mean_replicates(metric, labels, scores, blocks, seed)
    return average_precision(labels, scores), average_precision_replicates(labels, scores, blocks, seed)
