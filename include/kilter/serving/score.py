"""What a model says of a row, as a server keeps it."""

from __future__ import annotations

Score = float | list[float]
"""The probability of 1, or the predicted number; of several classes the probability of each, in the signature's order."""


def one_number(score: Score) -> float:
    """A score as one number, by which versions are compared; of several classes that of the most probable one.

    >>> one_number(0.25), one_number([0.2, 0.5, 0.3])
    (0.25, 0.5)
    """
    return max(score) if isinstance(score, list) else score
