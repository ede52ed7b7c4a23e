"""Page-Hinkley: the sum of what each error is above the mean so far, which climbs once errors grow.

Page (1954), Continuous inspection schemes, Biometrika 41; Hinkley (1971), Inference about the change-point from cumulative
sum tests, Biometrika 58. By river, with its parameters in standard deviations of the stream, for it knows no unit.
"""

from __future__ import annotations

from kilter.core.drift.change import Array, Change, split

SLACK = 0.05
"""Standard deviations by which errors may be above their mean for nothing: it listens for twice as much, and more."""

THRESHOLD = 100.0
"""Standard deviations that the sum may climb: an error that rises by half of one is seen after some 220 rows."""


def changes(errors: Array) -> list[Change]:
    """Where the mean of a stream rose, oldest first; falls are not looked for.

    Without river's forgetting factor: it lets the sum wander around a level, and any threshold is passed in the end.

    Args:
        errors: in the order of time, shape (rows,).

    >>> import numpy as np
    >>> calm, wild = np.tile([0.0, 0.2], 500), np.tile([0.6, 0.8], 100)
    >>> changes(np.concatenate([calm, wild]))[0].begins, changes(np.concatenate([wild, calm]))
    (1000, [])
    """
    from river.drift import PageHinkley

    deviation = float(errors.std()) if len(errors) else 0.0
    if not deviation:
        return []
    detector, found, start = PageHinkley(delta=SLACK, threshold=THRESHOLD, alpha=1.0, mode="up"), [], 0
    for row, error in enumerate((errors / deviation).tolist()):
        detector.update(error)
        if detector.drift_detected:
            found.append(Change(begins=start + split(errors[start : row + 1]), seen=row))
            start = row + 1
    return found
