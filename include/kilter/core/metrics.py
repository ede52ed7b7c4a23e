"""How good a model is: metrics, calibration and the ROC curve, overall and by slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Array = npt.NDArray[np.float64]

_CALIBRATION_BINS = 10
_ROC_POINTS = 101


class CalibrationBin(BaseModel):
    """Rows of similar score: their mean score, and the share that was positive."""

    model_config = ConfigDict(frozen=True)

    score: float
    positives: float
    rows: int


class Evaluation(BaseModel):
    """What is known of a model on one part of the data."""

    model_config = ConfigDict(frozen=True)

    rows: int
    metrics: dict[str, float]
    slices: dict[str, dict[str, dict[str, float]]]
    """Column → value → metrics and `rows`. Metrics of a slice with one class only are left out."""
    calibration: list[CalibrationBin]
    roc: list[tuple[float, float]]
    """(False, true) positive rate."""
    importance: dict[str, float]


def measure(names: Iterable[str], labels: Array, scores: Array) -> dict[str, float]:
    """Compute metrics of binary scores.

    Args:
        names: of `kilter.spec.METRICS["binary"]`.
        labels: 0 or 1, shape (rows,).
        scores: probability of 1, shape (rows,).

    Returns:
        One value a name; empty when there is only one class, which no ranking metric can judge.

    >>> measure(["roc_auc"], np.array([0.0, 1.0]), np.array([0.2, 0.7]))
    {'roc_auc': 1.0}
    >>> measure(["roc_auc"], np.array([1.0]), np.array([0.7]))
    {}
    """
    if len(np.unique(labels)) < 2:
        return {}
    return {name: float(_metric(name)(labels, scores)) for name in names}


def calibration_bins(scores: Array) -> npt.NDArray[np.int64]:
    """The bin of each row: bins of equal size, lowest scores first; equal scores share one.

    Equal-size bins: Nguyen and O'Connor (2015), Posterior calibration and exploratory analysis for
    natural language processing models, section 3.

    >>> calibration_bins(np.array([0.9, 0.1, 0.1])).tolist()
    [1, 0, 0]
    """
    _, place, rows = np.unique(scores, return_inverse=True, return_counts=True)
    begins = np.cumsum(rows) - rows
    _, bins = np.unique(begins * _CALIBRATION_BINS // len(scores), return_inverse=True)
    return bins[place].astype(np.int64)


def calibrate(labels: Array, scores: Array) -> list[CalibrationBin]:
    """Compare scores with outcomes in the bins of `calibration_bins`."""
    bins = calibration_bins(scores)
    parts = [np.flatnonzero(bins == number) for number in range(int(bins.max(initial=-1)) + 1)]
    return [
        CalibrationBin(score=float(scores[part].mean()), positives=float(labels[part].mean()), rows=len(part))
        for part in parts
    ]


def roc(labels: Array, scores: Array) -> list[tuple[float, float]]:
    """The ROC curve at evenly spaced false positive rates; empty with one class only."""
    from sklearn.metrics import roc_curve

    if len(np.unique(labels)) < 2:
        return []
    false, true, _ = roc_curve(labels, scores)
    grid = np.linspace(0, 1, _ROC_POINTS)
    return [(float(x), float(y)) for x, y in zip(grid, np.interp(grid, false, true), strict=True)]


def evaluate(
    names: Sequence[str],
    labels: Array,
    scores: Array,
    slices: Mapping[str, npt.NDArray[Any]],
    importance: dict[str, float],
) -> Evaluation:
    """Evaluate scores overall and for each value of each slice column (arrays of shape (rows,))."""
    return Evaluation(
        rows=len(labels),
        metrics=measure(names, labels, scores),
        slices={column: _by_value(names, labels, scores, values) for column, values in slices.items()},
        calibration=calibrate(labels, scores),
        roc=roc(labels, scores),
        importance=importance,
    )


def _by_value(
    names: Sequence[str], labels: Array, scores: Array, values: npt.NDArray[Any]
) -> dict[str, dict[str, float]]:
    found = sorted({str(value) for value in values})
    masks = {value: values.astype(str) == value for value in found}
    return {
        value: {"rows": float(mask.sum()), **measure(names, labels[mask], scores[mask])}
        for value, mask in masks.items()
    }


def _metric(name: str) -> Callable[[Array, Array], float]:
    from sklearn import metrics

    known: dict[str, Callable[[Array, Array], float]] = {
        "roc_auc": metrics.roc_auc_score,
        "average_precision": metrics.average_precision_score,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier_score_loss,
        "accuracy": lambda labels, scores: metrics.accuracy_score(labels, scores >= 0.5),
    }
    return known[name]


def best(name: str, values: Sequence[float]) -> float | None:
    """The best of several values of a metric; None of none.

    >>> best("roc_auc", [0.7, 0.8]), best("brier", [0.2, 0.1]), best("brier", [])
    (0.8, 0.1, None)
    """
    from kilter.spec import LOWER_IS_BETTER

    return min(values, default=None) if name in LOWER_IS_BETTER else max(values, default=None)


def loss_of(name: str, value: float, reference: float) -> float:
    """How much worse `value` is than `reference`, positive when worse, whichever way the metric points.

    >>> round(loss_of("roc_auc", 0.70, 0.75), 3), round(loss_of("brier", 0.20, 0.15), 3)
    (0.05, 0.05)
    """
    from kilter.spec import LOWER_IS_BETTER

    difference = reference - value
    if math.isnan(difference):
        return math.nan
    return -difference if name in LOWER_IS_BETTER else difference
