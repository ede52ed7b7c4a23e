"""Bets on which arm's values are greater."""

from __future__ import annotations

import numpy as np
import pytest

from kilter.core.sequential.superiority import bets, effects, money


def test_effects_are_shares_of_the_champions_values_that_are_exceeded() -> None:
    assert effects(np.array([2.0]), np.array([1.0, 2.0, 3.0, 1.0])).tolist() == [0.625]
    assert effects(np.array([2.0, 5.0]), np.array([3.0, 4.0])).tolist() == [0.0, 1.0]


def test_values_of_the_champion_are_used_once_and_those_left_over_not_at_all() -> None:
    assert effects(np.array([2.0, 2.0]), np.array([1.0, 1.0, 9.0, 9.0, 1.0])).tolist() == [0.5, 0.5]
    assert effects(np.array([2.0, 2.0, 2.0]), np.array([1.0])).tolist() == [1.0]
    assert len(effects(np.array([]), np.array([1.0]))) == len(effects(np.array([1.0]), np.array([]))) == 0


def test_a_factor_and_a_floor_are_in_the_canarys_favour() -> None:
    assert effects(np.array([1.9]), np.array([1.0]), factor=2).tolist() == [0.0]
    assert effects(np.array([0.04]), np.array([0.001]), factor=2, floor=0.05).tolist() == [0.0]


@pytest.mark.parametrize("allowed", [0.5, 0.65, 0.35])
def test_bets_are_fair_at_the_bound_and_lose_where_their_hypothesis_holds(allowed: float) -> None:
    for mean in np.linspace(0, 1, 21):
        outcomes = np.array([0.0, 1.0])
        factors = np.array([np.exp(bets(outcomes[[place]], allowed)) for place in (0, 1)])
        worse, fine = (1 - mean) * factors[0] + mean * factors[1]
        if mean <= allowed:
            assert worse.max() <= 1 + 1e-9
        if mean >= allowed:
            assert fine.max() <= 1 + 1e-9


def test_money_is_the_mean_over_the_stakes_also_of_huge_winnings() -> None:
    assert np.exp(money(np.log([1.0, 3.0]))) == pytest.approx(2)
    assert money(np.array([2000.0, 0.0])) == pytest.approx(2000 - np.log(2))


def test_latencies_of_one_distribution_are_wrongly_told_apart_no_more_often_than_said() -> None:
    random, wrong = np.random.default_rng(4), 0
    for _ in range(400):
        won = np.cumsum(
            [bets(effects(random.lognormal(size=2), random.lognormal(size=18)), 0.5)[0] for _ in range(100)], 0
        )
        wrong += money(won).max() >= np.log(20)
    assert wrong <= 20


def test_slower_answers_are_found_and_within_twice_as_slow_they_are_fine() -> None:
    random = np.random.default_rng(5)
    slow, usual = random.lognormal(0.3, 0.4, 400), random.lognormal(0.0, 0.4, 4000)
    assert money(bets(effects(slow, usual), 0.5)[0]) > np.log(500)
    assert money(bets(effects(slow, usual, factor=2), 0.5)[1]) > np.log(500)
