"""Is an earlier model better than the champion now, and how far back must one look to tell?

What lasts tells how to look. Where regimes last, the model that did best in the last window does best in the next; where they
alternate faster than that, whoever trusts the last window is always a step behind. So each look-back is held against the
record: which would have chosen best so far?
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from kilter.core.arbiter import Rival
from kilter.core.decay import LEAST_DECAY, SURE
from kilter.core.record import Learner, Record, gain, mean
from kilter.core.verdict import Measured, Verdict

LOOKS = (1, 2, 4, 8, 1_000_000)
"""Windows to look back, the last one meaning all."""
LEAST_GAIN = 0.01
"""A smaller gain, in units of a guess's loss, is no reason to change the champion."""
_SURE = 2.0
_CONFIDENCE = 0.954


def rivals(record: Record, look: int | None = None) -> tuple[Rival, ...]:
    """Compare each model of the record with the champion on the newest windows that are fresh to both, paired.

    A clear match gains surely, and loses no more than on its own test part and the windows it kept: it is as good as it was.

    Args:
        look: windows to look back; default the best of `LOOKS` by the record.
    """
    import numpy as np

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
            low=gained.value - _SURE * gained.error,
            high=gained.value + _SURE * gained.error,
            confidence=_CONFIDENCE,
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
    return max(LOOKS, key=lambda look: (round(_would_have_gained(record, look), 6), -look))


def _would_have_gained(record: Record, look: int) -> float:
    """Mean loss less than the average model's, had each window been answered by the best of the `look` windows before it."""
    gained = []
    for place in range(1, record.now + 1):
        able = [learner for learner in record.learners if place in learner.losses and place - 1 in learner.losses]
        if len(able) < 2:
            continue
        chosen = min(able, key=lambda learner: _standing(learner, able, place, look))
        gained.append(fmean(_lost(item, place) for item in able) - _lost(chosen, place))
    return sum(gained) / (len(gained) + 1)


def _standing(learner: Learner, able: Sequence[Learner], place: int, look: int) -> float:
    """Mean loss against the others' on the windows before `place`, shrunk to theirs where there are few."""
    first = max(0, place - look)
    seen = learner.fresh(first, place - 1)
    against = sum(
        _lost(learner, before) - fmean(_lost(item, before) for item in able if before in item.losses) for before in seen
    )
    return against / (len(seen) + 0.5)


def _lost(learner: Learner, place: int) -> float:
    return float(learner.losses[place].mean())
