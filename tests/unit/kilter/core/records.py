"""Records made by hand: models whose losses on each window are known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from kilter.core.record import Learner, Past, Record, Vector

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = 400
"""Rows of a window."""


def losses(share: float, seed: int = 0, rows: int = ROWS) -> Vector:
    """Losses of 1 for a share of the rows, drawn at random, and 0 for the others."""
    return (np.random.default_rng(seed).random(rows) < share).astype(np.float64)


def exact(share: float, rows: int = ROWS) -> Vector:
    """Losses of 1 for exactly that share of the rows, spread evenly, and 0 for the others."""
    return np.diff(np.floor(np.arange(rows + 1) * share + 1e-9))


def learner(
    version: int,
    windows: Sequence[int],
    lost: Mapping[int, float] | Sequence[float],
    test: float | Vector = 0.2,
    **facts: Any,
) -> Learner:
    """A model that learned from some windows, and loses exactly these shares on its test part and on windows.

    A sequence of shares begins with the window after the newest one that it learned from.
    """
    shares = lost if isinstance(lost, Mapping) else dict(enumerate(lost, start=windows[-1] + 1))
    part = exact(test) if isinstance(test, float) else test
    usual: dict[str, Any] = {"kind": "all", "test_labels": np.zeros(len(part))}
    made = {place: exact(share) for place, share in shares.items()}
    return Learner(version=version, windows=tuple(windows), test=part, losses=made, **usual | facts)


def record(windows: int, learners: Sequence[Learner], champion: int = 1, **facts: Any) -> Record:
    """So many windows of a day, all labels 0."""
    usual: dict[str, Any] = {"labels": [np.zeros(ROWS)] * windows}
    return Record(
        spans=[(START + place * DAY, START + (place + 1) * DAY) for place in range(windows)],
        names=[f"day {place}" for place in range(windows)],
        learners=learners,
        champion=champion,
        **usual | facts,
    )


def past(window: int, version: int, champion: int, decayed: bool = False) -> Past:
    return Past(window, version, champion, decayed)
