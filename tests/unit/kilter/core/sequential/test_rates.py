"""Bets on two shares: fair under every member of the hypothesis, and won when it is wrong."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from kilter.core.sequential.rates import Counts, bets

SEEN = [Counts(0, 0, 0, 0), Counts(5, 20, 1, 300), Counts(1, 20, 90, 300), Counts(0, 1000, 0, 10)]
BLOCKS = [(1, 1), (1, 4), (3, 2)]


def expected(before: Counts, requests: tuple[int, int], allowed: float, canary: float, champion: float) -> list[float]:
    """What the two bets multiply the money by on average, over all outcomes of a block."""
    means = np.zeros(2)
    for hits in product(*(range(size + 1) for size in requests)):
        chance = 1.0
        for hit, size, share in zip(hits, requests, (canary, champion), strict=True):
            chance *= comb(size, hit) * share**hit * (1 - share) ** (size - hit)
        block = Counts(hits[0], requests[0], hits[1], requests[1])
        means += chance * np.exp(np.array(bets(before, block, allowed), dtype=float))
    return means.tolist()


@pytest.mark.parametrize("allowed", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("requests", BLOCKS)
@pytest.mark.parametrize("before", SEEN)
def test_no_bet_wins_on_average_where_its_hypothesis_holds(
    before: Counts, requests: tuple[int, int], allowed: float
) -> None:
    for champion, difference in product(np.linspace(0, 1, 11), np.linspace(-1, 1, 21)):
        canary = champion + difference
        if not 0 <= canary <= 1:
            continue
        worse, fine = expected(before, requests, allowed, canary, champion)
        if difference <= allowed:
            assert worse <= 1 + 1e-9
        if difference >= allowed:
            assert fine <= 1 + 1e-9


def test_without_requests_of_one_arm_nothing_is_won_or_lost() -> None:
    for block in (Counts(5, 5, 0, 0), Counts(0, 0, 5, 5), Counts(0, 0, 0, 0)):
        assert [float(bet) for bet in bets(Counts(9, 10, 1, 10), block, 0.01)] == [0.0, 0.0]


def play(random: np.random.Generator, canary: float, champion: float, allowed: float) -> tuple[np.ndarray, np.ndarray]:
    """The most money won at any time by each bet, in 400 rollouts of 100 blocks with a tenth of 50 requests each."""
    seen = Counts(*(np.zeros(400) for _ in range(4)))
    money, most = np.zeros((2, 400)), np.zeros((2, 400))
    for _ in range(100):
        to_canary = random.binomial(50, 0.1, 400)
        block = Counts(
            random.binomial(to_canary, canary).astype(float),
            to_canary.astype(float),
            random.binomial(50 - to_canary, champion).astype(float),
            50.0 - to_canary,
        )
        money += np.array(bets(seen, block, allowed))
        most = np.maximum(most, money)
        seen = Counts(*(old + new for old, new in zip(seen, block, strict=True)))
    return np.exp(most[0]), np.exp(most[1])


def test_looking_after_every_block_is_wrong_no_more_often_than_said() -> None:
    worse, fine = play(np.random.default_rng(1), canary=0.03, champion=0.02, allowed=0.01)
    assert np.mean(worse >= 20) <= 0.05
    assert np.mean(fine >= 20) <= 0.05


def test_what_is_worse_is_found_and_what_is_not_is_found_fine() -> None:
    worse, fine = play(np.random.default_rng(2), canary=0.1, champion=0.01, allowed=0.01)
    assert np.mean(worse >= 100) > 0.95
    assert np.mean(fine >= 100) == 0
    worse, fine = play(np.random.default_rng(3), canary=0.001, champion=0.001, allowed=0.05)
    assert np.mean(worse >= 100) == 0
    assert np.mean(fine >= 100) > 0.95
