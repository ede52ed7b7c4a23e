"""Regimes: what the rows looked like that a model is right for, kept so small that a later window can be held against it.

A *regime* is a distribution that a champion served. Its fingerprint holds a sketch of each feature and of the model's scores; a
window's distance from it is held against the noise that stretches of the regime's own rows show, so that *looks the same* has a
meaning at the window's own size.

What this cannot see: a world in which the same rows have other outcomes. Only labels tell that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Vector = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
Columns = Mapping[str, Vector | Texts]
"""Columns of equal length, in the order of event time: numbers as float64 with NaN where one is missing, texts as objects with None."""

SCORE = "score"
LEVELS = (np.arange(64) + 0.5) / 64
"""Levels of the quantiles that sketch a numeric column; the outermost 1/128 is left out, where a single value decides."""
STRETCHES = 60
"""Stretches of the regime's own rows that its noise is measured with, at each size, and draws at random beside them."""
_SIZES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
_TOLD = 3


class Sketch(BaseModel):
    """A column, small: quantiles of its numbers, or shares of its categories, and the share of rows without a value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    missing: float
    quantiles: tuple[float, ...] = ()
    shares: dict[str, float] = {}


class Fingerprint(BaseModel):
    """The sketches of some rows, by column; that of the model's scores is named `score`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    columns: dict[str, Sketch]


class Regime(BaseModel):
    """A fingerprint and its own noise: for stretches of so many rows, the greatest distance that one had from all others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: Fingerprint
    noise: dict[int, float]

    def threshold(self, rows: int) -> float | None:
        """The distance within which a window of so many rows looks like this regime; None of fewer rows than were tried.

        Between two sizes that were tried, the noise is taken to fall as the root of the size does, from the smaller one; beyond
        the greatest it stays, as what is left there is the regime's own change over time, which more rows do not cure.

        >>> known = Regime(fingerprint=Fingerprint(rows=400, columns={}), noise={50: 0.2, 100: 0.15})
        >>> [known.threshold(rows) for rows in (10, 50, 400)], round(known.threshold(72), 4)
        ([None, 0.2, 0.15], 0.1667)
        """
        sizes = sorted(self.noise)
        if not sizes or rows < sizes[0]:
            return None
        for size, following in pairwise(sizes):
            if size <= rows < following:
                return max(self.noise[size] * (size / rows) ** 0.5, self.noise[following])
        return self.noise[sizes[-1]]


class Likeness(BaseModel):
    """How far a window is from a version's regime, and within which distance it would look the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    rows: int
    distance: float
    threshold: float
    farthest: dict[str, float]
    """The columns that are farthest, with their distances."""

    @property
    def alike(self) -> bool:
        """Whether the window looks like the regime."""
        return self.distance <= self.threshold

    @property
    def sentence(self) -> str:
        """The comparison in words and figures."""
        told = ", ".join(f"{name} {distance:.2g}" for name, distance in self.farthest.items())
        relation = "<=" if self.alike else ">"
        return (
            f"version {self.version}'s regime is {self.distance:.3g} {relation} {self.threshold:.3g} from the {self.rows} rows "
            f"(farthest: {told})"
        )


class Match(BaseModel):
    """What the fingerprints say of a window: the version whose regime is back, or none with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["match", "none", "unsure"]
    version: int | None
    reason: str


def fingerprint(columns: Columns) -> Fingerprint:
    """Sketch every column.

    >>> found = fingerprint({"x": np.array([1.0, np.nan]), "y": np.array(["a", "b"], dtype=object)})
    >>> found.columns["x"].missing, found.columns["y"].shares
    (0.5, {'a': 0.5, 'b': 0.5})
    """
    rows = len(next(iter(columns.values()), ()))
    return Fingerprint(rows=rows, columns={name: _sketch(values) for name, values in columns.items()})


def distance(one: Fingerprint, other: Fingerprint) -> tuple[float, dict[str, float]]:
    """How far two fingerprints are from each other, between 0 and 1, and that of each column.

    A numeric column: Wasserstein's distance of the values that are there, which in one dimension is the mean difference of the
    quantiles (Vallender 1974, Calculation of the Wasserstein distance between probability distributions on the line), as a
    share of itself and the columns' spread. A categorical one: half of the sum of the shares' differences (total variation). Rows
    without a value count by the difference of their shares. All features count alike, by their mean, and the scores as
    much as all features together: a change of many features at once that leaves each one as it was shows in nothing else.

    Only columns of both are compared; without any, the distance is 1.
    """
    apart = {name: _apart(one.columns[name], other.columns[name]) for name in one.columns if name in other.columns}
    features = [value for name, value in apart.items() if name != SCORE]
    parts = [float(np.mean(features))] if features else []
    parts += [apart[SCORE]] if SCORE in apart else []
    return (float(np.mean(parts)) if parts else 1.0), apart


def regime(columns: Columns) -> Regime:
    """The fingerprint of some rows with its noise, from stretches of these rows, each held against all others.

    Stretches follow event time, as windows do, so the noise holds what the regime changes by itself from one day to the
    next, too; where there are few, as many rows drawn at random say what chance does. A stretch has a third of the rows at
    most: then the others still tell what the regime is.

    Args:
        columns: in the order of event time.
    """
    whole = fingerprint(columns)
    sizes = [size for size in _SIZES if 3 * size <= whole.rows]
    return Regime(fingerprint=whole, noise={size: _noise(columns, whole, size) for size in sizes})


def likeness(version: int, known: Regime, window: Fingerprint) -> Likeness | None:
    """Hold a window against a version's regime; None where the window has fewer rows than the noise is known for."""
    threshold = known.threshold(window.rows)
    if threshold is None:
        return None
    total, columns = distance(known.fingerprint, window)
    farthest = sorted(columns, key=lambda name: columns[name], reverse=True)[:_TOLD]
    return Likeness(
        version=version,
        rows=window.rows,
        distance=total,
        threshold=threshold,
        farthest={name: columns[name] for name in farthest},
    )


def match(champion: Likeness | None, others: Sequence[Likeness]) -> Match:
    """Whether a former champion's regime is back, and the champion's own is gone.

    Unsure, which abstains: the champion's regime is unknown, or the window still looks like it, as then its features tell
    nothing about whom to prefer; or several former regimes look alike, and the nearest is not nearer than the next by half of
    what it may be away by noise.

    Args:
        champion: None where nothing is known of its regime.
        others: former champions, in any order.
    """
    told = "; ".join(item.sentence for item in sorted(others, key=lambda item: item.distance))
    if not others:
        return Match(verdict="none", version=None, reason="no former champion has a regime that could be compared")
    near = sorted((item for item in others if item.alike), key=lambda item: item.distance)
    if not near:
        return Match(verdict="none", version=None, reason=f"no former regime is back: {told}")
    first = near[0]
    if champion is None:
        reason = f"{told}; the champion's own regime is not known, so nothing says that it is gone"
        return Match(verdict="unsure", version=first.version, reason=reason)
    if champion.alike:
        reason = f"{told}; but the rows look like the champion's own regime, too: {champion.sentence}"
        return Match(verdict="unsure", version=first.version, reason=reason)
    if len(near) > 1 and near[1].distance - first.distance < first.threshold / 2:
        reason = f"several former regimes look alike: {told}"
        return Match(verdict="unsure", version=first.version, reason=reason)
    return Match(verdict="match", version=first.version, reason=f"{told}; the champion's is gone: {champion.sentence}")


def _sketch(values: Vector | Texts) -> Sketch:
    if values.dtype == object:
        counts = Counter(str(value) for value in values if value is not None)
        present = counts.total()
        shares = {name: counts[name] / present for name in sorted(counts)}
        return Sketch(missing=_share_missing(present, len(values)), shares=shares)
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    quantiles = tuple(np.quantile(numbers, LEVELS).tolist()) if len(numbers) else ()
    return Sketch(missing=_share_missing(len(numbers), len(values)), quantiles=quantiles)


def _share_missing(present: int, rows: int) -> float:
    return 1 - present / rows if rows else 1.0


def _apart(one: Sketch, other: Sketch) -> float:
    missing = abs(one.missing - other.missing)
    return missing + (1 - max(one.missing, other.missing)) * _values_apart(one, other)


def _values_apart(one: Sketch, other: Sketch) -> float:
    """Between 0 and 1; 0 where one of them has no values, which `missing` tells already."""
    if one.shares and other.shares:
        names = one.shares.keys() | other.shares.keys()
        return sum(abs(one.shares.get(name, 0.0) - other.shares.get(name, 0.0)) for name in names) / 2
    if not (one.quantiles and other.quantiles):
        return 0.0
    first, second = np.array(one.quantiles), np.array(other.quantiles)
    moved = float(np.abs(first - second).mean())
    spread = max(float(np.abs(part - np.median(part)).mean()) for part in (first, second))
    return moved / (moved + spread) if moved else 0.0


def _noise(columns: Columns, whole: Fingerprint, size: int) -> float:
    """The greatest distance that a stretch, or as many rows drawn at random, has from all other rows."""
    starts = np.unique(np.linspace(0, whole.rows - size, STRETCHES).astype(int))
    random = np.random.default_rng(size)
    chosen = [np.arange(start, start + size) for start in starts]
    chosen += [random.choice(whole.rows, size, replace=False) for _ in range(STRETCHES)]
    found = (
        distance(fingerprint({name: values[rows] for name, values in columns.items()}), whole)[0] for rows in chosen
    )
    # The whole holds the stretch, too: its distance from the others is greater by just this, as both distances are linear.
    return max(found) / (1 - size / whole.rows)
