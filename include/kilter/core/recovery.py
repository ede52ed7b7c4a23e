"""Did a training after a decay win back what was lost?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kilter.core.decay import LEAST_DECAY
from kilter.core.record import Record, gain, mean

_WATCHED = 8
"""Windows after the training by which it is told."""
_SURE = 2.0


class Recovery(NamedTuple):
    """What the decay cost the model before, in units of a guess's loss, and how much of it the training won back."""

    lost: float
    regained: float

    @property
    def missing(self) -> float:
        return self.lost - self.regained


def unrecovered(record: Record) -> Recovery | None:
    """The last training's recovery, where it learned from old rows, too, and surely won back less than half; else None.

    Old rows may then be what holds it back. A training on rows since the change alone has nothing better to be followed by.
    """
    last = record.trainings[-1] if record.trainings else None
    if last is None or not last.decayed or (pair := record.pair(last)) is None:
        return None
    new, old = pair
    windows = old.fresh(new.learned + 1, min(record.now, last.window + _WATCHED))
    if new.kind == "recent" or not windows:
        return None
    before = [old.test, *(old.losses[place] for place in sorted(old.kept) if place in old.losses)]
    now, then = mean(np.concatenate([old.losses[place] for place in windows])), mean(np.concatenate(before))
    gained = gain(new, old, windows[0], windows[-1])
    found = Recovery(now.value - then.value, gained.value)
    error = (now.error**2 + then.error**2 + gained.error**2) ** 0.5
    return found if found.missing - _SURE * error > LEAST_DECAY / 2 and found.regained < found.lost / 2 else None
