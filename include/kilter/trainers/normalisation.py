"""What a network is told of its inputs and labels before it learns: places and spreads, from the train part alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilter.encoding import Signature
from kilter.trainers import Loss, Rows, Vector, evenly

SAMPLE_ROWS = 100_000
"""Of more rows, so many evenly spread ones are looked at."""
_IQR_OF_NORMAL = 1.349
"""Quartiles of a normal distribution are so many standard deviations apart."""
_LEAST = 1e-30
"""A spread is no smaller, so that nothing is divided by zero in float32."""


@dataclass(frozen=True)
class Normalisation:
    """Places and spreads of numeric features and of the label.

    Args:
        centre: median of each numeric feature; 0 where every value is missing.
        scale: its spread, that of a normal distribution's standard deviation; 1 where it does not vary.
        edges: its quantiles, numeric features × (bins + 1), lowest first.
        known: whether it has any value; one that has none contributes nothing.
        seen: of each categorical feature, which categories any row of the train part has, in the order of their codes.
        label_centre: of a number: its mean, or median where the absolute error is made small; else 0.
        label_scale: of a number: its mean deviation from there, squared or absolute as the loss; else 1.
        prior: what the network's outputs begin with: log odds, logarithms of class shares, or 0 for a number.
        guess: the loss of answering so, in the label's unit.
    """

    centre: Vector
    scale: Vector
    edges: Vector
    known: npt.NDArray[np.bool_]
    seen: tuple[npt.NDArray[np.bool_], ...]
    label_centre: float
    label_scale: float
    prior: Vector
    guess: float

    @classmethod
    def of(cls, rows: Rows, signature: Signature, loss: Loss, bins: int) -> Normalisation:
        """Look at all rows for what is there, and at an evenly spread sample of them for numbers and labels."""
        known, seen = _there(rows, signature)
        sample = evenly(rows, SAMPLE_ROWS)
        found = sample.rows[:, _numeric(signature)].astype(np.float64)
        # A column without a value would make NaN of all that follows.
        columns = np.where(np.isnan(found).all(axis=0), 0, found)
        edges = _quantiles(columns, np.linspace(0, 1, bins + 1))
        centre, label_scale, prior, guess = _of_labels(sample.labels, signature, loss)
        return cls(
            np.nanmedian(columns, axis=0), _spread(columns), edges, known, seen, centre, label_scale, prior, guess
        )


def _numeric(signature: Signature) -> list[int]:
    return [place for place, feature in enumerate(signature.features) if not feature.categories]


def _there(rows: Rows, signature: Signature) -> tuple[npt.NDArray[np.bool_], tuple[npt.NDArray[np.bool_], ...]]:
    """Whether any row has a value of each numeric feature, and which categories any row has of each other one."""
    numeric = _numeric(signature)
    known = np.zeros(len(numeric), dtype=bool)
    seen = {place: np.zeros(len(codes), dtype=bool) for place, codes in signature.coded}
    for piece in rows.pieces():
        known |= ~np.isnan(piece.rows[:, numeric]).all(axis=0)
        for place, categories in seen.items():
            codes = piece.rows[:, place]
            categories[codes[~np.isnan(codes)].astype(np.int64)] = True
    return known, tuple(seen.values())


def _quantiles(columns: npt.NDArray[np.float64], shares: Vector) -> npt.NDArray[np.float64]:
    """Columns × shares; numpy gives another shape where there is no column."""
    return np.nanquantile(columns, shares, axis=0).T.reshape(columns.shape[1], len(shares))


def _spread(columns: npt.NDArray[np.float64]) -> Vector:
    """By quartiles, which outliers do not move; by the standard deviation where half of the values are equal."""
    low, high = _quantiles(columns, np.array([0.25, 0.75])).T
    deviation = np.nanstd(columns, axis=0)
    spread = np.where(high > low, (high - low) / _IQR_OF_NORMAL, np.where(deviation > 0, deviation, 1.0))
    return np.maximum(spread, _LEAST)


def _of_labels(labels: Vector, signature: Signature, loss: Loss) -> tuple[float, float, Vector, float]:
    """Centre, scale, prior and the loss of the prior."""
    if loss == "log_loss":
        classes = max(2, len(signature.classes))
        shares = (np.bincount(labels.astype(np.int64), minlength=classes) + 1) / (len(labels) + classes)
        guess = -float(np.log(shares[labels.astype(np.int64)]).mean())
        prior = np.log(shares) if signature.classes else np.log(shares[1:] / shares[0])
        return 0.0, 1.0, prior, guess
    centre = float(np.median(labels) if loss == "mae" else labels.mean())
    errors = labels - centre
    scale = float(np.abs(errors).mean() if loss == "mae" else np.sqrt((errors**2).mean()))
    return centre, max(scale, _LEAST), np.zeros(1), max(scale, _LEAST)
