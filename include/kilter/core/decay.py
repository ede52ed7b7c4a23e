"""Did a model surely become worse than it was, and since when?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kilter.core.arbiter import DECAY
from kilter.core.record import Learner, Record, Vector, mean
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured

LEAST_DECAY = 0.04
"""A smaller rise of the loss, in units of a guess's, is no decay, however sure it is."""
SURE = 3.0
"""Standard errors that a rise must have: it is looked for at every window, and at each since when."""
_USUAL_SPREAD = 0.03
_USUAL_WINDOWS = 3
"""What windows differ by without a change, before there are any to learn it from, and how many windows that knowledge is worth."""


class Decay(NamedTuple):
    """A judgement, since which window (None without decay), and whether other shares of the classes explain it alone."""

    judgement: Judgement
    changed: int | None
    explained: bool


def decay(learner: Learner, record: Record, first: int | None = None) -> Decay:
    """Look for a window since which the model's loss has been higher than before, and stayed so.

    Before are its test part, the windows that it `kept`, and those between `first` and the change. Each possible change is
    tried, as in ADWIN (Bifet and Gavaldà 2007, Learning from time-changing data with adaptive windowing), over windows;
    the error counts how much windows differ from each other anyway, so that a hard week is not taken for a new world.

    Args:
        first: the first window that may belong to the changed world; default the first after its learning.
    """
    begin = max(learner.learned + 1, learner.learned + 1 if first is None else first)
    windows = learner.fresh(begin, record.now)
    if not windows:
        reason = f"version {learner.version} has answered no labelled row yet that it did not learn from"
        return Decay(Judgement(name=DECAY, verdict=Verdict.INCONCLUSIVE, reason=reason), None, False)
    found = [_rise(learner, windows, split) for split in range(len(windows))]
    surest = max(range(len(found)), key=lambda split: found[split][0] / found[split][1])
    rise, error = found[surest]
    label = (
        f"loss of version {learner.version} (a guess's is 1) since {record.names[windows[surest]]}, more than before"
    )
    measured = Measured(
        label=label,
        value=rise,
        low=rise - SURE * error,
        high=rise + SURE * error,
        confidence=0.997,
        wanted="at_most",
        bound=0.0,
    )
    if measured.verdict is Verdict.FAILED and rise < LEAST_DECAY:
        reason = f"{measured.sentence}, which is less than {LEAST_DECAY:g}, from which on it counts"
        return Decay(Judgement(name=DECAY, verdict=Verdict.PASSED, reason=reason), None, False)
    judgement = judge_measured(DECAY, [measured])
    if judgement.verdict is not Verdict.FAILED:
        # A decay that is not sure is none yet: what is needed for a pass is that the model was looked at.
        return Decay(judgement.model_copy(update={"verdict": Verdict.PASSED}), None, False)
    changed = windows[surest]
    explained = record.classes and _explained(learner, record, windows[surest:])
    reason = f"{judgement.reason}; other shares of the classes explain it" if explained else judgement.reason
    return Decay(judgement.model_copy(update={"reason": reason}), changed, explained)


def moves(record: Record) -> bool:
    """Whether the loss of any model that knows the world since its last change rose: whether what is true changes with time."""
    known = [learner for learner in record.learners if learner.learned >= record.changed]
    return any(decay(learner, record).changed is not None for learner in known)


def _rise(learner: Learner, windows: Sequence[int], split: int) -> tuple[float, float]:
    """How much higher the loss is from `windows[split]` on, and the standard error of that."""
    earlier = sorted(learner.kept - set(windows)) + list(windows[:split])
    before = [learner.test, *(learner.losses[place] for place in earlier)]
    after = [learner.losses[place] for place in windows[split:]]
    then, now = mean(np.concatenate(before)), mean(np.concatenate(after))
    spread = _spread([learner.losses[place] for place in earlier])
    between = spread * (1 / len(before) + 1 / len(after))
    return now.value - then.value, math.sqrt(then.error**2 + now.error**2 + between)


def _spread(windows: Sequence[Vector]) -> float:
    """Variance between windows of one world: what was seen, and the usual one beside it."""
    seen = float(np.var([part.mean() for part in windows])) * len(windows) if windows else 0.0
    return (_USUAL_WINDOWS * _USUAL_SPREAD**2 + seen) / (_USUAL_WINDOWS + len(windows))


def _explained(learner: Learner, record: Record, windows: Sequence[int]) -> bool:
    """Whether the test part's loss of each class, at the new shares of the classes, comes to at least half of the rise."""
    labels = np.concatenate([record.labels[place] for place in windows])
    losses = np.concatenate([learner.losses[place] for place in windows])
    of_class = {label: learner.test[learner.test_labels == label] for label in np.unique(labels)}
    overall = float(learner.test.mean())
    expected = sum(
        float((labels == label).mean()) * (float(part.mean()) if len(part) else overall)
        for label, part in of_class.items()
    )
    return expected - overall >= (float(losses.mean()) - overall) / 2
