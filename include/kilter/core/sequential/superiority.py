"""Whether one arm's values are greater than the other's more often than is allowed: bets on pairs.

A value of the canary is compared with some of the champion's at the same time: the share of them that it exceeds, ties
counting half, has the mean P(canary > champion) + P(equal) / 2, Mann and Whitney's effect, whatever the values'
distribution, so that one huge value counts no more than any other. Bets on a bounded mean: Waudby-Smith and Ramdas
(2024), Estimating means of bounded random variables by betting, Journal of the Royal Statistical Society B 86.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

STAKES = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.55, 0.8])
"""Shares of the money staked on each pair. An eighth of the money is bet with each: what is best is not known before,
and the mean of them is within log(8) of the best."""


def effects(canary: Vector, champion: Vector, factor: float = 1.0, floor: float = -np.inf) -> Vector:
    """For each value of the canary the share that it exceeds among values of the champion that no other is compared with.

    Args:
        canary, champion: values of one block, in the order of their times. Of the canary's, as many are used as there
            are values of the champion to compare with.
        factor: the canary may be this many times as great: the champion's are multiplied by it.
        floor: no value of the champion counts as less.

    Returns:
        Shape (pairs,), between 0 and 1.

    >>> effects(np.array([3.0, 1.0]), np.array([1.0, 2.0, 1.0, 2.0]))
    array([1., 0.])
    """
    pairs = min(len(canary), len(champion))
    if not pairs:
        return np.empty(0)
    each = len(champion) // pairs
    # The champion's are dealt out like cards, so that each value meets some from the whole block.
    others = np.maximum(champion[: each * pairs] * factor, floor).reshape(each, pairs)
    values = canary[:pairs]
    return ((values > others) + 0.5 * (values == others)).mean(axis=0)


def bets(effect: Vector, allowed: float) -> tuple[Vector, Vector]:
    """Logarithms of what pairs multiply the money of each stake by, of two bets.

    Args:
        effect: shape (pairs,), as `effects` gives them.
        allowed: the greatest mean that is allowed, 0.5 being none of a difference; between 0 and 1.

    Returns:
        Shapes (stakes,): against *the mean is at most `allowed`*, and against *it is `allowed` or more*.
    """
    distance = effect[:, None] - allowed
    worse = np.log1p(STAKES * distance / allowed).sum(axis=0)
    fine = np.log1p(-STAKES * distance / (1 - allowed)).sum(axis=0)
    return worse, fine


def money(logarithms: Vector) -> Vector:
    """Logarithm of the whole money, the mean over the stakes, which are the last axis."""
    top = logarithms.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(logarithms - top).mean(axis=-1)) + top[..., 0])
