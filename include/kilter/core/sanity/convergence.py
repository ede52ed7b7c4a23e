"""Whether a training converged: its validation loss fell, and had all but stopped falling when it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST_FALL = 0.001
"""Share of the loss before the first round: less is what early stopping finds by taking the luckiest of its rounds."""

MOST_LATE_FALL = 0.02
"""Of all the fall, in the last tenth of the rounds.

A steady fall brings 0.1 there. Where what is left to gain shrinks by a constant factor each round, 0.02 means that
94 % of it are gained, so that all further rounds together bring less than a fifteenth of those made.
"""


def fall(losses: Sequence[float], start: float) -> float:
    """How far the best round lies below the start, as a share of the start; negative where no round improved on it.

    Args:
        losses: of the validation part, one a round, at least one.
        start: the loss before the first round, that of the prior.

    >>> fall([0.75, 0.5, 0.625], start=1.0)
    0.5
    """
    return (start - min(losses)) / start


def late_fall(losses: Sequence[float], start: float) -> float:
    """The share of the fall that came in the last tenth of the rounds, at least one; NaN without a fall.

    Early stopping leaves rounds without a gain at the end, so a training that it ended has a share near 0,
    whatever its length. No need to know how many rounds were allowed.

    >>> late_fall([1 - round / 16 for round in range(1, 11)], start=1.0)
    0.1
    >>> late_fall([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], start=0.7)
    0.0
    """
    last = math.ceil(len(losses) / 10)
    before = min([start, *losses[:-last]])
    whole = start - min(losses)
    return (before - min(before, *losses[-last:])) / whole if whole > 0 else math.nan
