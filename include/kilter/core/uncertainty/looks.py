"""Judging one candidate again and again: the price of every further look."""

from __future__ import annotations


def confidence_at(look: int, confidence: float) -> float:
    """The confidence of the intervals when a candidate is judged by its `look`-th set of rows, from 1.

    Whoever looks often enough sees what chance alone shows. So each further look may be wrong half as often
    as the one before; all looks together are wrong at most twice as often as the first alone. The idea is
    that of alpha spending: Lan and DeMets (1983), Discrete sequential boundaries for clinical trials.

    >>> [round(confidence_at(look, 0.95), 5) for look in (1, 2, 3)]
    [0.95, 0.975, 0.9875]
    """
    return 1 - (1 - confidence) / 2 ** (look - 1)
