"""The distribution-free interval of a quantile: known answers, and how often it holds."""

from __future__ import annotations

import numpy as np
import pytest

from kilter.core.uncertainty.quantile import quantile


def test_ten_values_enclose_their_median_by_the_second_and_the_ninth() -> None:
    # The sign test's table: of 10 values, at most one lies below the median with probability 11 / 1024.
    assert quantile([9, 0, 8, 1, 7, 2, 6, 3, 5, 4], 0.5, 0.95) == (4, 1, 8)


@pytest.mark.parametrize(("count", "enclosed"), [(367, False), (368, True)])
def test_the_p99_needs_368_values_for_an_interval(count: int, enclosed: bool) -> None:
    # All of n values lie below it with probability 0.99 ** n, which falls below 0.025 between 367 and 368.
    _, low, high = quantile(range(count), 0.99, 0.95)
    assert (low is not None, high is not None) == (enclosed, enclosed)
    assert high in (None, count - 1)


def test_one_value_is_its_own_quantile() -> None:
    assert quantile([3.0], 0.99, 0.95) == (3.0, None, None)


def test_it_holds_at_least_as_often_as_it_says_also_for_a_heavy_tail() -> None:
    samples = np.random.default_rng(0).pareto(1.1, size=(2000, 500))
    truth = (1 - 0.99) ** (-1 / 1.1) - 1
    intervals = [quantile(sample.tolist(), 0.99, 0.95)[1:] for sample in samples]
    held = np.mean([low <= truth <= high for low, high in intervals if low is not None and high is not None])
    assert len(intervals) == 2000
    assert 0.95 <= held <= 0.99
