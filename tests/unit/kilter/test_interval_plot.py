"""Positions on a plot: known answers."""

from typing import Any

import pytest

from kilter.core.verdict import Measured
from kilter.interval_plot import WIDTH, axis_over, interval_plot


def number(wanted: Any = "at_least", **changes: Any) -> Measured:
    # From 0 to 10 with 3 free on each side: 40 units each.
    known = {"value": 6.0, "low": 2.0, "high": 10.0, "confidence": 0.95, "bound": 0.0}
    return Measured(label="m", wanted=wanted, **(known | changes))


def test_everything_lies_inside_with_room_for_labels() -> None:
    plot = interval_plot(number())
    assert plot is not None
    assert (plot.bound, plot.low, plot.value, plot.high) == (120.0, 200.0, 360.0, 520.0)


def test_the_good_side_is_right_of_a_least_and_left_of_a_most() -> None:
    least, most = interval_plot(number()), interval_plot(number("at_most"))
    assert least is not None
    assert most is not None
    assert least.good == (120.0, WIDTH - 120.0)
    assert most.good == (0.0, 120.0)


def test_without_an_interval_only_the_point_is_there() -> None:
    plot = interval_plot(number(low=None, high=None, confidence=None))
    assert plot is not None
    assert plot.low == plot.value == plot.high


@pytest.mark.parametrize("changes", [{"value": float("nan")}, {"high": float("inf")}, {"bound": float("inf")}])
def test_what_is_not_finite_is_not_drawn(changes: dict[str, float]) -> None:
    assert interval_plot(number(**changes)) is None


def test_an_axis_of_one_number_has_a_width() -> None:
    axis = axis_over([0.0])
    assert axis is not None
    assert axis.at(0.0) == WIDTH / 2
    assert axis_over([]) is None
