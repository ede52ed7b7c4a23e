"""How good a model is: metrics, calibration and what its plots show, overall and by slice.

Scores are the probability of 1 (binary) or the number predicted (regression), shape (rows,); or the probability of each
class (multiclass), shape (rows, classes). Labels are 0 or 1, a number, or a class's place, shape (rows,).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from kilter.core.summed_metrics import SUMMED, summed
from kilter.spec import LOWER_IS_BETTER, METRICS, Task

Array = npt.NDArray[np.float64]

_CALIBRATION_BINS = 10
_ROC_POINTS = 101
_MOST_POINTS = 2000


class CalibrationBin(BaseModel):
    """Rows of similar score: their mean score, and the share that was positive, or of many classes was right."""

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
    """Column → value → metrics and `rows`. Metrics that a slice does not have are left out."""
    calibration: list[CalibrationBin]
    """Of probabilities; empty for a regression."""
    roc: list[tuple[float, float]]
    """(False, true) positive rate, of two classes."""
    confusion: list[list[int]] = []
    """Of many classes: rows of each class (outer) by the class that was most probable (inner)."""
    points: list[tuple[float, float]] = []
    """Of a regression: number predicted and label of rows, evenly spread."""
    importance: dict[str, float]


def task_of(metric: str, scores: Array) -> Task:
    """The task of scores that the metric is to judge, by the metric's name and the scores' shape.

    >>> task_of("brier", np.zeros(2)), task_of("brier", np.zeros((2, 3))), task_of("mae", np.zeros(2))
    ('binary', 'multiclass', 'regression')
    """
    if metric in METRICS["regression"]:
        return "regression"
    return "multiclass" if scores.ndim == 2 else "binary"


def loss_metric(task: Task, primary: str) -> Literal["log_loss", "rmse", "mae"]:
    """The metric that training makes small, by which it stops early: what comes nearest to the primary one.

    A mean absolute error is least at the median of what may happen, a squared one at its mean. Where labels are
    skewed, such as delays, these are far apart, and a model of the mean loses even to a guess of the median.

    >>> loss_metric("multiclass", "accuracy"), loss_metric("regression", "r2"), loss_metric("regression", "mae")
    ('log_loss', 'rmse', 'mae')
    """
    if task != "regression":
        return "log_loss"
    return "mae" if primary == "mae" else "rmse"


def measure(names: Iterable[str], labels: Array, scores: Array) -> dict[str, float]:
    """Compute metrics of `kilter.spec.METRICS`.

    Returns:
        One value a name. Left out is what the rows do not have: all without a row, all of two classes where there is
        only one, which no ranking metric can judge, and `r2` of labels that do not vary.

    >>> measure(["roc_auc"], np.array([0.0, 1.0]), np.array([0.2, 0.7]))
    {'roc_auc': 1.0}
    >>> measure(["roc_auc"], np.array([1.0]), np.array([0.7]))
    {}
    """
    varied = len(labels) > 0 and bool(labels.min() != labels.max())
    return {
        name: _value(name, labels, scores)
        for name in names
        if varied or (len(labels) and name != "r2" and task_of(name, scores) != "binary")
    }


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


def confidences(labels: Array, scores: Array) -> tuple[Array, Array]:
    """Whether the most probable class was right, 0 or 1, and the probability it was given; shape (rows,) each.

    So scores of many classes are held against outcomes as those of two: Guo et al. (2017), On calibration of modern
    neural networks, section 2. Scores of two classes, shape (rows,), stay as they are.

    >>> confidences(np.array([0.0, 2.0]), np.array([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2]]))
    (array([1., 0.]), array([0.6, 0.5]))
    """
    if scores.ndim == 1:
        return labels, scores
    return (scores.argmax(axis=1) == labels).astype(np.float64), scores.max(axis=1)


def calibrate(labels: Array, scores: Array) -> list[CalibrationBin]:
    """Compare scores, shape (rows,), with outcomes in the bins of `calibration_bins`."""
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


def confusion(labels: Array, scores: Array) -> list[list[int]]:
    """Rows of each class by the class that was most probable.

    >>> confusion(np.array([0.0, 1.0, 1.0]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]))
    [[1, 0], [1, 1]]
    """
    classes = scores.shape[1]
    cells = labels.astype(np.int64) * classes + scores.argmax(axis=1)
    found: list[list[int]] = np.bincount(cells, minlength=classes**2).reshape(classes, classes).tolist()
    return found


def evaluate(
    task: Task,
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
        calibration=[] if task == "regression" else calibrate(*confidences(labels, scores)),
        roc=roc(labels, scores) if task == "binary" else [],
        confusion=confusion(labels, scores) if task == "multiclass" else [],
        points=_points(labels, scores) if task == "regression" else [],
        importance=importance,
    )


def _points(labels: Array, scores: Array) -> list[tuple[float, float]]:
    shown = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), _MOST_POINTS)).astype(np.int64))
    return list(zip(scores[shown].tolist(), labels[shown].tolist(), strict=True))


def _by_value(
    names: Sequence[str], labels: Array, scores: Array, values: npt.NDArray[Any]
) -> dict[str, dict[str, float]]:
    found = sorted({str(value) for value in values})
    masks = {value: values.astype(str) == value for value in found}
    return {
        value: {"rows": float(mask.sum()), **measure(names, labels[mask], scores[mask])}
        for value, mask in masks.items()
    }


def _value(name: str, labels: Array, scores: Array) -> float:
    from sklearn import metrics

    if name in SUMMED:
        return summed(name, labels, scores)
    ranking = {"roc_auc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}
    return float(ranking[name](labels, scores))


def best(name: str, values: Sequence[float]) -> float | None:
    """The best of several values of a metric; None of none.

    >>> best("roc_auc", [0.7, 0.8]), best("brier", [0.2, 0.1]), best("brier", [])
    (0.8, 0.1, None)
    """
    return min(values, default=None) if name in LOWER_IS_BETTER else max(values, default=None)


def loss_of(name: str, value: float, reference: float) -> float:
    """How much worse `value` is than `reference`, positive when worse, whichever way the metric points.

    >>> round(loss_of("roc_auc", 0.70, 0.75), 3), round(loss_of("brier", 0.20, 0.15), 3)
    (0.05, 0.05)
    """
    difference = reference - value
    if math.isnan(difference):
        return math.nan
    return -difference if name in LOWER_IS_BETTER else difference
