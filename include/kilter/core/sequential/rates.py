"""Whether one share of requests exceeds another by more than is allowed: bets on two streams of yes and no.

Each block of requests multiplies the money by the likelihood ratio of a guess made before it against the member of the
hypothesis that is nearest to that guess. That is fair under every member, for blocks of any size: Turner, Ly and
Grünwald (2024), Generic e-variables for exact sequential k-sample tests that allow for optional stopping, Journal of
Statistical Planning and Inference 230; with a margin, Turner and Grünwald (2023), Exact anytime-valid confidence
intervals for contingency tables and beyond, Statistics and Probability Letters 198.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_HALVINGS = 45
_TINY = 1e-12


class Counts(NamedTuple):
    """Requests of both arms, and how many of them were hits, such as errors; numbers, or vectors of many rollouts."""

    canary_hits: Any
    canary: Any
    champion_hits: Any
    champion: Any


def bets(before: Counts, block: Counts, allowed: float) -> tuple[Vector, Vector]:
    """Logarithms of what a block multiplies the money by, of two bets.

    Args:
        before: all that was seen before the block: the guess is made from it alone, half a hit in one request added
            (Krichevsky and Trofimov 1981).
        block: what came since. Without requests of one arm nothing is won or lost, as the other arm's share is free.
        allowed: how much greater the canary's share may be, 0 or more.

    Returns:
        Against *the canary's share is greater by at most `allowed`*: what grows when the canary is worse; and against
        *it is greater by `allowed` or more*: what grows when it is surely not.

    >>> worse, fine = bets(Counts(30, 100, 10, 1000), Counts(3, 10, 1, 100), allowed=0.01)
    >>> bool(worse > 0), bool(fine > 0)
    (True, False)
    """
    canary = np.asarray((before.canary_hits + 0.5) / (before.canary + 1.0))
    champion = np.asarray((before.champion_hits + 0.5) / (before.champion + 1.0))
    both = (np.asarray(block.canary) > 0) & (np.asarray(block.champion) > 0)
    nearest = _nearest(canary, champion, block, allowed)
    money = _gain(block.canary_hits, block.canary, canary, nearest + allowed)
    money = money + _gain(block.champion_hits, block.champion, champion, nearest)
    money = np.where(both, money, 0.0)
    guessed_worse = canary - champion > allowed
    return np.where(guessed_worse, money, 0.0), np.where(guessed_worse, 0.0, money)


def _nearest(canary: Vector, champion: Vector, block: Counts, allowed: float) -> Vector:
    """The champion's share in the pair with exactly the allowed difference that is nearest to the guess.

    Nearest by Kullback and Leibler's measure of a whole block, which is convex in it: found by halving on its slope.
    """
    low = np.full(np.broadcast(canary, champion).shape, _TINY)
    high = np.full(low.shape, 1.0 - allowed - _TINY)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        other = middle + allowed
        slope = block.canary * (other - canary) / (other * (1 - other)) + block.champion * (middle - champion) / (
            middle * (1 - middle)
        )
        rising = slope > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return (low + high) / 2


def _gain(hits: Any, requests: Any, guess: Vector, null: Vector) -> Vector:
    """Logarithm of the likelihood ratio of two shares."""
    return np.asarray(hits * np.log(guess / null) + (requests - hits) * np.log((1 - guess) / (1 - null)))
