"""Holm's correction: known answers."""

from __future__ import annotations

import math

import pytest

from kilter.core.uncertainty.holm import holm


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], []),
        ([0.05], [True]),
        ([0.051], [False]),
        ([0.025, 0.05], [True, True]),
        ([0.026, 0.026], [False, False]),
        ([0.04, 0.01, 0.03, 0.005], [False, True, False, True]),
        ([0.001, 0.03, 0.001], [True, True, True]),
        ([0.03, math.nan, 0.001], [False, False, True]),
    ],
)
def test_the_smaller_a_p_value_the_stricter_its_bound(p_values: list[float], rejected: list[bool]) -> None:
    assert holm(p_values, 0.05).tolist() == rejected
