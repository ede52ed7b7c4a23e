"""ADWIN: a window over a stream that is cut wherever two parts of it have surely different means.

It knows no size of change in advance, and so finds a small one that lasts as well as a large one, later. Bifet and Gavaldà
(2007), Learning from time-changing data with adaptive windowing, SIAM International Conference on Data Mining. By river.
"""

from __future__ import annotations

from kilter.core.drift.change import Array, Change, split

DELTA = 0.002
"""Chance of a false cut at each look, by the paper's bound; far less in fact."""


def changes(errors: Array) -> list[Change]:
    """Where the mean of a stream changed, oldest first.

    What ADWIN keeps when it cuts is too coarse to tell when the change began, for its buckets double in size: the stretch
    since the last cut is split anew.

    Args:
        errors: between 0 and 1, in the order of time, shape (rows,).

    >>> import numpy as np
    >>> calm, wild = np.tile([0.0, 0.2], 500), np.tile([0.6, 0.8], 100)
    >>> changes(np.concatenate([calm, wild]))[0].begins, changes(calm)
    (1000, [])
    """
    from river.drift import ADWIN

    detector, found, start = ADWIN(delta=DELTA), [], 0
    for row, error in enumerate(errors.tolist()):
        detector.update(error)
        if detector.drift_detected:
            found.append(Change(begins=start + split(errors[start : row + 1]), seen=row))
            start = row + 1
    return found
