"""The record: what each model lost on each window of labelled rows, from which all choices between models follow.

Losses are in units of an uninformed guess's, so that 0 is perfect, 1 a guess, and 0.02 the same worth whatever the task.
A model's losses count only on windows that it learned nothing from (*fresh* ones).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kilter.core.scope import Kind
from kilter.spec import Task

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]

_BATCHES = 20
LEAST_VARIANCE = 0.01
"""Of one row's loss: a handful of rows that all agree prove little."""


class Mean(NamedTuple):
    """A mean with its standard error, over so many rows."""

    value: float
    error: float
    rows: int


@dataclass(frozen=True)
class Learner:
    """A model of the record.

    Args:
        version: its number.
        kind: what it was trained on.
        windows: the windows it learned from, by their place in the record; rising.
        test: its losses on its own test part, shape (rows,).
        test_labels: the labels of that part, shape (rows,).
        losses: its losses on fresh windows, by place, each of shape (rows,).
        kept: windows that it served as champion, and in which it was as good as ever.
    """

    version: int
    kind: Kind
    windows: tuple[int, ...]
    test: Vector
    test_labels: Vector
    losses: Mapping[int, Vector]
    kept: frozenset[int] = frozenset()

    @property
    def learned(self) -> int:
        """The newest window that it knows something of."""
        return self.windows[-1]

    def fresh(self, first: int, last: int) -> list[int]:
        """Its fresh windows from `first` to `last`, both counted."""
        return [place for place in range(first, last + 1) if place in self.losses]


class Past(NamedTuple):
    """A training of the past: after which window, the version it made, the champion of that time, and whether decay was its cause."""

    window: int
    version: int
    champion: int
    decayed: bool


@dataclass(frozen=True)
class Record:
    """Models, windows and past trainings, as they are known after the newest window.

    Args:
        spans: the windows' stretches of event time, oldest first.
        names: what people call each window, such as the day it begins.
        labels: of each window's rows, shape (rows,); a class's place where there are classes.
        learners: the champion and every model that may be champion again.
        champion: its version.
        since: the window from which on the champion was chosen by its losses.
        changed: the window in which the world last changed, as decisions before found; 0 where it never did.
        trainings: oldest first.
        classes: whether labels are classes.
    """

    spans: Sequence[tuple[datetime, datetime]]
    names: Sequence[str]
    labels: Sequence[Vector]
    learners: Sequence[Learner]
    champion: int
    since: int = 0
    changed: int = 0
    trainings: Sequence[Past] = field(default_factory=tuple)
    classes: bool = True

    @property
    def now(self) -> int:
        """The newest window."""
        return len(self.spans) - 1

    def learner(self, version: int) -> Learner:
        """The model of that version; `KeyError` when there is none."""
        return {item.version: item for item in self.learners}[version]

    def pair(self, past: Past) -> tuple[Learner, Learner] | None:
        """The model that a training made, and the champion of its time; None where the record does not hold both."""
        known = {item.version: item for item in self.learners}
        if past.version not in known or past.champion not in known:
            return None
        return known[past.version], known[past.champion]

    def rows(self, windows: Sequence[int]) -> int:
        """Labelled rows of some windows; those before the record's first are not known and count as none."""
        return sum(len(self.labels[place]) for place in windows if place >= 0)


def mean(values: Vector) -> Mean:
    """A mean over rows in the order of time, with a standard error that allows for neighbours that are alike.

    The error is the greater of that of independent rows and that of twenty batches in a row: Flegal and Jones (2010), Batch
    means and spectral variance estimators in Markov chain Monte Carlo, section 2. Infinite without a row.

    >>> found = mean(np.array([0.0, 1.0] * 50))
    >>> found.value, round(found.error, 3), found.rows
    (0.5, 0.05, 100)
    """
    if not len(values):
        return Mean(math.nan, math.inf, 0)
    alone = math.sqrt(max(float(values.var()), LEAST_VARIANCE) / len(values))
    if len(values) < 5 * _BATCHES:
        return Mean(float(values.mean()), alone, len(values))
    batches = np.array([part.mean() for part in np.array_split(values, _BATCHES)])
    return Mean(float(values.mean()), max(alone, float(batches.std(ddof=1)) / math.sqrt(_BATCHES)), len(values))


def gain(better: Learner, other: Learner, first: int, last: int) -> Mean:
    """How much less one model loses than another on the same rows of windows that are fresh to both; paired."""
    shared = [place for place in better.fresh(first, last) if place in other.losses]
    if not shared:
        return Mean(math.nan, math.inf, 0)
    differences = np.concatenate([other.losses[place] - better.losses[place] for place in shared])
    alike = float(differences.var()) < LEAST_VARIANCE
    # Models that agree on nearly every row differ by little, and that little is well known.
    error = math.sqrt((float(differences.var()) + 1 / len(differences)) / len(differences)) if alike else 0.0
    found = mean(differences)
    return Mean(found.value, error if alike else found.error, found.rows)


def row_losses(task: Task, primary: str, labels: Vector, scores: Scores) -> Vector:
    """What each row adds to a model's loss, by the primary metric.

    Accuracy and macro F1 count errors; metrics of probabilities and rankings, and R², take the squared error (Brier's for
    classes; Gneiting and Raftery 2007, Strictly proper scoring rules), MAE the absolute one.

    >>> row_losses("binary", "accuracy", np.array([1.0, 0.0]), np.array([0.7, 0.6])).tolist()
    [0.0, 1.0]
    """
    if task == "regression":
        error = np.abs(labels - scores)
        return error if primary == "mae" else error**2
    if primary in ("accuracy", "macro_f1"):
        chosen = scores.argmax(axis=1) if scores.ndim == 2 else scores >= 0.5
        return (chosen != labels).astype(np.float64)
    if scores.ndim == 1:
        return (labels - scores) ** 2
    truth = np.zeros_like(scores)
    truth[np.arange(len(labels)), labels.astype(np.int64)] = 1.0
    return ((truth - scores) ** 2).sum(axis=1)


def guess_loss(task: Task, primary: str, labels: Vector, classes: int = 2) -> float:
    """What an uninformed guess loses in a row at the mean: each of the classes as probable as the others, or the labels' middle.

    >>> guess_loss("binary", "accuracy", np.array([])), guess_loss("binary", "roc_auc", np.array([]))
    (0.5, 0.25)
    """
    if task == "regression":
        middle = np.median(labels) if primary == "mae" else labels.mean()
        return float(np.abs(labels - middle).mean() if primary == "mae" else labels.var()) or 1.0
    share = 1 - 1 / classes
    return share / 2 if task == "binary" and primary not in ("accuracy", "macro_f1") else share
