"""Check `prediction_parity`: training code, online store and server give the same predictions for the same rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from kilter.core.verdict import Judgement, Measured, judge_measured
from kilter.encoding import Matrix
from kilter.scores import Scores, Vector
from kilter.spec import PredictionParity, Task

NAME = "prediction_parity"


class Row(BaseModel):
    """A row by its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.entity} at {self.at.isoformat()}"


class OnlineCell(BaseModel):
    """A value of the online store that differs from the offline one of the same row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: Row
    column: str
    offline: Any
    online: Any


class Online(BaseModel):
    """The online store beside the offline one.

    Args:
        rows: rows asked for.
        newer: of them, those whose entity has moved on online; they are left out.
        behind: those that are not online, or only with an older event.
        differing: those that are online and differ in some feature.
        largest: greatest of the `differences` of scores, NaN without a row to compare.
        first: the first value that differs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    rows: int
    newer: int = 0
    behind: int = 0
    differing: int = 0
    largest: float = float("nan")
    first: OnlineCell | None = None


class Served(BaseModel):
    """The server beside the training code.

    Args:
        rows: rows sent.
        differing: those with a score beyond the tolerance.
        largest: greatest of the `differences` of scores, NaN where the server gave none.
        first: the first row that differs, with both scores; of several classes that which differs most.
        features: those that the server handles otherwise, found on the first row.
        refused: what the server said instead of a score.
        silent: why it could not be asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    rows: int
    differing: int = 0
    largest: float = float("nan")
    first: Row | None = None
    own: float = float("nan")
    answered: float = float("nan")
    features: tuple[str, ...] = ()
    refused: str = ""
    silent: str = ""


def judge(online: Online, served: Served, wanted: PredictionParity, task: Task = "binary") -> Judgement:
    """Judge both comparisons. A row that is behind or differs is a failure, also where the model does not mind it.

    Nothing of the newest interval online, or each entity newer than its row, is inconclusive; what the server answers
    is judged all the same.
    """
    difference = "largest difference of scores"
    if task == "regression":
        difference += " as a share of the largest"
    figures = {"online": online.model_dump(mode="json"), "served": served.model_dump(mode="json")}
    unknown = _incomparable(online)
    measured = [] if unknown else [_at_most("rows that differ online", online.behind + online.differing, 0)]
    if not unknown and online.behind + online.newer < online.rows:
        measured.append(_at_most(f"online, {difference}", online.largest, wanted.tolerance))
    if served.refused:
        measured.append(_at_most("rows that the server refused", 1, 0))
    else:
        measured.append(_at_most(f"served, {difference}", served.largest, wanted.tolerance))
    judged = judge_measured(NAME, measured, figures, [unknown] if unknown else [])
    return judged.model_copy(update={"reason": "; ".join([*_causes(online, served), judged.reason])})


def _incomparable(online: Online) -> str | None:
    """Why no row can be compared with the online store, and the cure; None where one can."""
    if not online.rows:
        return "no features are online yet: run feature_ingestion of the newest interval"
    if online.newer == online.rows:
        return f"all {online.rows} entities are newer online than offline: judge again when their interval is built"
    if online.behind == online.rows:
        return f"none of {online.rows} rows of the newest interval is online: run materialize of feature_ingestion"
    return None


def differing_cells(offline: Matrix, online: Matrix) -> npt.NDArray[np.bool_]:
    """Where two encoded matrices of one shape differ; missing equals missing."""
    unequal = ~((offline == online) | (np.isnan(offline) & np.isnan(online)))
    return np.asarray(unequal, dtype=np.bool_)


def unit_of(own: Scores, task: Task) -> float:
    """What differences of scores are counted in: 1 of probabilities; of a regression the largest score of all rows.

    A float32, in which models compute, keeps seven digits, so that what is much of a difference depends on the scores.

    >>> unit_of(np.array([0.2, 0.4]), "binary"), unit_of(np.array([-200.0, 40.0]), "regression")
    (1.0, 200.0)
    """
    return (float(np.abs(own).max()) or 1.0) if task == "regression" else 1.0


def differences(own: Scores, other: Scores, unit: float) -> Vector:
    """How far the scores of each row differ, of several classes the greatest difference; shape (rows,).

    Args:
        own, other: shape (rows, numbers of a score).

    >>> differences(np.array([[0.25, 0.5, 0.25]]), np.array([[0.25, 0.25, 0.5]]), 1.0).tolist()
    [0.25]
    """
    apart: Vector = np.abs(own - other).max(axis=1) / unit
    return apart


class Probes(NamedTuple):
    """Scores of one row (`whole`) and of its variants: with `none` of its features, with each feature `alone`, and
    `without` each. The latter two are of shape (features, numbers of a score), the others (numbers,)."""

    whole: Scores
    none: Scores
    alone: Scores
    without: Scores


def handled_otherwise(own: Probes, answered: Probes, tolerance: float) -> list[int]:
    """Places of the features that the server handles otherwise than the training code.

    A feature alone shows it best, as no other one has a part in the score. Where none does, it is the loss of a
    feature that changes the two scores in different ways. No feature is to blame for a difference
    that is there without any.

    >>> scores = Probes(np.array([0.5]), np.array([0.4]), alone=np.array([[0.4], [0.6]]), without=np.full((2, 1), 0.5))
    >>> handled_otherwise(scores, scores._replace(alone=np.array([[0.4], [0.7]])), 1e-6)
    [1]
    >>> handled_otherwise(scores, scores._replace(whole=np.array([0.7]), without=np.array([[0.5], [0.7]])), 1e-6)
    [0]
    >>> handled_otherwise(scores, scores._replace(none=np.array([0.9]), alone=np.array([[0.5], [0.7]])), 1e-6)
    []
    """
    if (np.abs(own.none - answered.none) > tolerance).any():
        return []
    alone = (np.abs(own.alone - answered.alone) > tolerance).any(axis=1)
    losses = (own.without - own.whole) - (answered.without - answered.whole)
    lost = (np.abs(losses) > tolerance).any(axis=1)
    return [int(place) for place in np.flatnonzero(alone if alone.any() else lost)]


def _causes(online: Online, served: Served) -> list[str]:
    """The first difference of each comparison in words."""
    causes = []
    if online.first is not None and not _incomparable(online):
        cell = online.first
        causes.append(
            f"first difference online: {cell.row}: {cell.column} is {cell.online!r}, offline {cell.offline!r}"
        )
    if served.first is not None:
        blamed = (
            f"the server handles {' and '.join(served.features)} otherwise"
            if served.features
            else "no single feature explains it: the server's model itself differs, or what it makes of missing values"
        )
        causes.append(
            f"first difference served: {served.first}: {served.answered:.6g}, training code {served.own:.6g}: {blamed}"
        )
    if served.refused:
        causes.append(f"the server refused rows of the training code: {served.refused}")
    if served.silent:
        causes.append(f"the server could not be asked ({served.silent}): see check 'serving_fitness'")
    return causes


def _at_most(label: str, value: float, bound: float) -> Measured:
    return Measured(label=label, value=value, wanted="at_most", bound=bound)
