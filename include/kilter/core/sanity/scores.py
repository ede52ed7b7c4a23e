"""What a score must be: of its task's kind, and not the same for all rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kilter.spec import Task

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]

WANTED: dict[Task, str] = {
    "binary": "probability",
    "multiclass": "distribution over the classes",
    "regression": "number",
}
"""What a score of each task is, in words."""

_ROUNDING = 1e-4
"""How far the probabilities of all classes, each computed in float32, may be from 1 together."""


def is_score(scores: Scores, task: Task) -> npt.NDArray[np.bool_]:
    """Whether each row has a probability, a distribution over the classes, or a finite number; shape (rows,).

    >>> is_score(np.array([0.0, 0.3, 1.2, np.nan]), "binary").tolist()
    [True, True, False, False]
    >>> is_score(np.array([[0.4, 0.6], [0.4, 0.4]]), "multiclass").tolist()
    [True, False]
    >>> is_score(np.array([-7.0, np.inf]), "regression").tolist()
    [True, False]
    """
    if task == "regression":
        return np.isfinite(scores)
    inside = (scores >= 0) & (scores <= 1)
    if task == "binary":
        return inside
    return np.asarray(inside.all(axis=1) & (np.abs(scores.sum(axis=1) - 1) <= _ROUNDING))


def in_words(score: npt.NDArray[np.float64] | float) -> str:
    """A score as a sentence shows it.

    >>> in_words(0.25), in_words(np.array([0.5, np.nan]))
    ('0.25', '(0.5, nan)')
    """
    return f"({', '.join(f'{part:g}' for part in score)})" if isinstance(score, np.ndarray) else f"{score:g}"


def spread(scores: Scores, task: Task) -> float:
    """Greatest less least score, of many classes the greatest such difference; NaN where one is no number.

    Of a regression as a share of the greatest number, plus or minus: models compute in float32, which keeps seven digits.

    >>> spread(np.array([0.25, 0.75]), "binary"), spread(np.array([-100.0, 300.0]), "regression")
    (0.5, 1.3333333333333333)
    """
    widest = float(np.ptp(scores, axis=0).max())
    if task != "regression" or not widest:
        return widest
    return widest / float(np.abs(scores).max())
