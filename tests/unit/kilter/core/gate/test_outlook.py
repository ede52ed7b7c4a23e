"""What would change a verdict: known answers."""

from typing import Any

import pytest

from kilter.core.gate.outlook import closest, outlook
from kilter.core.verdict import Measured


def number(value: float, low: float | None, high: float | None, bound: float, wanted: Any = "at_least") -> Measured:
    confidence = None if low is None else 0.95
    return Measured(label="m", value=value, low=low, high=high, confidence=confidence, wanted=wanted, bound=bound)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (number(0.8, 0.75, 0.85, 0.7), "m: keeps its bound by 0.05"),
        (number(0.6, 0.55, 0.65, 0.7), "m: would have to rise by 0.15 to be at least 0.7 for sure"),
        (number(3, None, None, 2, "at_most"), "m: would have to fall by 1 to be at most 2 for sure"),
        (
            number(0.75, 0.65, 0.85, 0.7),
            "m: about 4 times as much evaluation data would show it, if the value stays at 0.75",
        ),
        (
            number(0.02, -0.01, 0.05, 0.045, "at_most"),
            "m: about 1.4 times as much evaluation data would show it, if the value stays at 0.02",
        ),
        (number(0.701, 0.65, 0.75, 0.7), "m: lies so close to its bound that more data will hardly tell"),
        (
            number(0.69, 0.65, 0.73, 0.7),
            "m: lies on the wrong side of its bound, so that more data is likelier to refuse it than to pass it",
        ),
        (number(float("nan"), None, None, 2), "m: could not be measured; it has to become a finite number first"),
    ],
)
def test_a_sentence_says_what_it_would_take(seen: Measured, said: str) -> None:
    assert outlook(seen) == said


def test_the_closest_call_is_the_nearest_in_widths_of_its_own_interval() -> None:
    wide = number(0.8, 0.71, 0.89, 0.7)
    narrow = number(0.75, 0.749, 0.751, 0.7)
    failed = number(0.6, 0.5, 0.65, 0.7)
    point = number(0.71, None, None, 0.7)
    assert closest([narrow, failed, point, wide]) == wide
    assert closest([failed, point]) is None
