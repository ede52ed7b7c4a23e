"""Where a number, its interval and its bound lie on a small plot; the drawing itself is the template's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from kilter.core.verdict import Measured

WIDTH = 640.0
"""Units of a plot from left to right."""
_MARGIN = 0.3
"""Of the numbers' span, left free on each side for their labels."""


@dataclass(frozen=True)
class Axis:
    """Numbers from `left` to `right`, laid out on a plot."""

    left: float
    right: float

    def at(self, number: float) -> float:
        """Position of a number, in units of the plot to one decimal; what lies beyond an end is put there.

        >>> Axis(0.0, 2.0).at(0.5), Axis(0.0, 2.0).at(-9)
        (160.0, 0.0)
        """
        share = (number - self.left) / (self.right - self.left)
        return round(WIDTH * min(max(share, 0.0), 1.0), 1)


def axis_over(numbers: Iterable[float]) -> Axis | None:
    """An axis that shows all of these numbers; None when there are none, or one of them is not finite."""
    shown = list(numbers)
    if not shown or not all(map(math.isfinite, shown)):
        return None
    low, high = min(shown), max(shown)
    margin = _MARGIN * ((high - low) or abs(high) or 1.0)
    return Axis(low - margin, high + margin)


@dataclass(frozen=True)
class IntervalPlot:
    """Positions of one measured number; without an interval, `low` and `high` are those of the value."""

    value: float
    low: float
    high: float
    bound: float
    good: tuple[float, float]
    """Start and width of the side of the bound that is fine."""


def interval_plot(measured: Measured) -> IntervalPlot | None:
    """Lay out a measured number; None when one of its numbers is not finite."""
    low = measured.value if measured.low is None else measured.low
    high = measured.value if measured.high is None else measured.high
    axis = axis_over([measured.value, low, high, measured.bound])
    if axis is None:
        return None
    bound = axis.at(measured.bound)
    good = (bound, round(WIDTH - bound, 1)) if measured.wanted == "at_least" else (0.0, bound)
    return IntervalPlot(axis.at(measured.value), axis.at(low), axis.at(high), bound, good)
