"""Did a model surely become worse than it was, and since when?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kilter.core.arbiter import DECAY
from kilter.core.record import LEAST_VARIANCE, Learner, Record, Vector
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured

LEAST_DECAY = 0.04
"""A smaller rise of the loss, in units of a guess's, is no decay, however sure it is."""
SURE = 3.0
"""Standard errors that a rise must have: it is looked for at every window, and at each since when."""
_USUAL_SPREAD = 0.03
_USUAL_WINDOWS = 3
"""What windows differ by without a change, before there are any to learn it from, and how many windows that knowledge is worth."""


class Decay(NamedTuple):
    """A judgement, since which window, and what it means for older rows.

    Args:
        changed: the first window of the changed world; None without decay.
        explained: whether other shares of the classes explain it alone, so that no row became wrong.
        kept: the share of its skill that the model kept: what it still loses less than a guess, of what it once did.
    """

    judgement: Judgement
    changed: int | None
    explained: bool
    kept: float = 1.0


def decay(learner: Learner, record: Record, first: int | None = None) -> Decay:
    """Look for a window since which the model's loss has been higher than before, and stayed so.

    Before are its test part, the windows that it `kept`, and those between `first` and the change. Each possible change is
    tried, as in ADWIN (Bifet and Gavaldà 2007, Learning from time-changing data with adaptive windowing), over windows;
    the error counts how much windows differ from each other anyway, so that a hard week is not taken for a new world.

    Args:
        first: the first window that may belong to the changed world; default the first after its learning.
    """
    windows = learner.fresh(max(learner.learned + 1, first or 0), record.now)
    if not windows:
        reason = f"version {learner.version} has answered no labelled row yet that it did not learn from"
        return Decay(Judgement(name=DECAY, verdict=Verdict.INCONCLUSIVE, reason=reason), None, False)
    rises, errors = _rises(learner, windows)
    surest = int(np.argmax(rises / errors))
    rise, error = float(rises[surest]), float(errors[surest])
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
    once = 1 - float(learner.test.mean())
    kept = max(0.0, (once - rise) / once) if once > 0 else 0.0
    figures = {"since": record.spans[changed][0].isoformat(), "explained": explained, "kept": kept}
    return Decay(judgement.model_copy(update={"reason": reason, "figures": figures}), changed, explained, kept)


def moves(record: Record) -> bool:
    """Whether the loss of any model that knows the world since its last change rose: whether what is true changes with time."""
    known = [learner for learner in record.learners if learner.learned >= record.changed]
    return any(decay(learner, record).changed is not None for learner in known)


def _rises(learner: Learner, windows: Sequence[int]) -> tuple[Vector, Vector]:
    """For each window: how much higher the loss is from it on than before, and the standard error of that."""
    kept = sorted(place for place in learner.kept - set(windows) if place in learner.losses)
    parts = [learner.test, *(learner.losses[place] for place in [*kept, *windows])]
    rows = np.array([len(part) for part in parts], dtype=np.float64)
    sums, squares = (np.array([float((part**power).sum()) for part in parts]) for power in (1, 2))
    first = 1 + len(kept)  # parts before the first window that may belong to the changed world
    before = np.cumsum(np.column_stack([rows, sums, squares]), axis=0)
    then, now = _moments(before[first - 1 : -1]), _moments(before[-1] - before[first - 1 : -1])
    seen = np.array([_spread((sums / rows)[1 : first + split]) for split in range(len(windows))])
    count = np.arange(len(windows))
    between = seen * (1 / (first + count) + 1 / (len(windows) - count))
    return now[0] - then[0], np.sqrt(then[1] + now[1] + between)


def _moments(totals: Vector) -> tuple[Vector, Vector]:
    """Means, and the variances of these means, of parts with so many rows, such sums and sums of squares."""
    rows, sums, squares = totals.T
    means = sums / rows
    return means, np.maximum(squares / rows - means**2, LEAST_VARIANCE) / rows


def _spread(windows: Vector) -> float:
    """Variance between windows' means in one world: what was seen, and the usual one beside it."""
    seen = float(np.var(windows)) * len(windows) if len(windows) else 0.0
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
