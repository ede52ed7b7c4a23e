"""Is an earlier model better than the champion now, and how far back must one look to tell?

What lasts tells how to look. Where regimes last, the model that did best in the last window does best in the next; where they
alternate faster than that, whoever trusts the last window is always a step behind. So each look-back is held against the
record: which would have chosen best so far?
"""

from __future__ import annotations

import math

import numpy as np

from kilter.core.arbiter import Rival
from kilter.core.decay import LEAST_DECAY, SURE
from kilter.core.record import Record, Vector, gain, mean
from kilter.core.verdict import Measured, Verdict

LOOKS = (1, 2, 4, 8, 1_000_000)
"""Windows to look back, the last one meaning all."""
LEAST_GAIN = 0.01
"""A smaller gain, in units of a guess's loss, is no reason to change the champion."""
_SURE = 2.0


def rivals(record: Record, look: int | None = None, sure: float = _SURE) -> tuple[Rival, ...]:
    """Compare each model of the record with the champion on the newest windows that are fresh to both, paired.

    A clear match gains surely, and loses no more than on its own test part and the windows it kept: it is as good as it was.

    Args:
        look: windows to look back; default the best of `LOOKS` by the record.
        sure: standard errors that a gain must have.
    """
    champion = record.learner(record.champion)
    back = look_back(record) if look is None else look
    found = []
    for learner in record.learners:
        if learner.version == record.champion:
            continue
        first = max(record.now - back + 1, learner.learned + 1, champion.learned + 1)
        gained = gain(learner, champion, first, record.now)
        if not gained.rows:
            continue
        measured = Measured(
            label=f"version {learner.version} against version {champion.version} on {gained.rows} rows, loss (a guess's is 1) less",
            value=gained.value,
            low=gained.value - sure * gained.error,
            high=gained.value + sure * gained.error,
            confidence=round(math.erf(sure / math.sqrt(2)), 4),
            wanted="at_least",
            bound=0.0,
        )
        better = measured.verdict is Verdict.PASSED and gained.value > LEAST_GAIN
        now = mean(np.concatenate([learner.losses[place] for place in learner.fresh(first, record.now)]))
        then = mean(np.concatenate([learner.test, *(learner.losses[place] for place in sorted(learner.kept))]))
        worse = now.value - then.value
        as_good = worse <= max(LEAST_DECAY, SURE * (now.error**2 + then.error**2) ** 0.5)
        verdict = (Verdict.PASSED if as_good else Verdict.INCONCLUSIVE) if better else Verdict.FAILED
        once = "as good as it was" if as_good else f"{worse:+.3f} from what it was"
        found.append(
            Rival(
                version=learner.version,
                basis="labels",
                verdict=verdict,
                reason=f"{measured.sentence}; {once}",
                gain=measured,
            )
        )
    return tuple(found)


def look_back(record: Record) -> int:
    """The look-back that would have chosen best so far, the shortest of equals; 1 before there is anything to tell by."""
    losses = np.full((len(record.learners), record.now + 1), np.nan)
    for row, learner in enumerate(record.learners):
        for place in learner.fresh(0, record.now):
            losses[row, place] = learner.losses[place].mean()
    return max(LOOKS, key=lambda look: (round(_would_have_gained(losses, look), 6), -look))


def _would_have_gained(losses: Vector, look: int) -> float:
    """Mean loss less than the average model's, had each window been answered by the best of the `look` windows before it.

    Args:
        losses: shape (models, windows); NaN where a window is not fresh.
    """
    fresh = np.isfinite(losses)
    usual = np.where(fresh, losses, 0).sum(axis=0) / np.maximum(fresh.sum(axis=0), 1)
    against = np.cumsum(np.pad(np.where(fresh, losses - usual, 0), ((0, 0), (1, 0))), axis=1)
    seen = np.cumsum(np.pad(fresh, ((0, 0), (1, 0))), axis=1)
    gained = []
    for place in range(1, losses.shape[1]):
        first = max(0, place - look)
        able = np.flatnonzero(fresh[:, place] & fresh[:, place - 1])
        if len(able) < 2:
            continue
        # Shrunk to the others' where there are few windows.
        standing = (against[able, place] - against[able, first]) / (seen[able, place] - seen[able, first] + 0.5)
        gained.append(losses[able, place].mean() - losses[able[np.argmin(standing)], place])
    return float(sum(gained)) / (len(gained) + 1)
