"""What would change a verdict: how far a number is from its bound, and how much more data would tell."""

from __future__ import annotations

import math
from collections.abc import Iterable

from kilter.core.verdict import Measured, Verdict

_HOPELESS = 50.0
"""Times the data beyond which more of it is no answer."""


def outlook(measured: Measured) -> str:
    """One sentence on what it would take for a number to keep its bound.

    An interval's width shrinks with the square root of the number of blocks, so that an interval that
    reaches f times as far as the bound asks for f² times the data, if the value stays where it is.

    >>> seen = Measured(label="roc_auc", value=0.72, low=0.68, high=0.76, confidence=0.95, wanted="at_least", bound=0.7)
    >>> outlook(seen)
    'roc_auc: about 4 times as much evaluation data would show it, if the value stays at 0.72'
    """
    verdict = measured.verdict
    if verdict is Verdict.PASSED:
        return f"{measured.label}: keeps its bound by {_amount(measured, _slack(measured, _worst(measured)))}"
    if verdict is Verdict.ERROR:
        return f"{measured.label}: could not be measured; it has to become a finite number first"
    if verdict is Verdict.FAILED:
        way = "rise" if measured.wanted == "at_least" else "fall"
        least = _amount(measured, -_slack(measured, _worst(measured)))
        return f"{measured.label}: would have to {way} by {least} to {_relation(measured)} for sure"
    return f"{measured.label}: {_more_data(measured)}"


def closest(measured: Iterable[Measured]) -> Measured | None:
    """Of numbers that passed with an interval, the one that was nearest to failing, in widths of its interval."""
    passed = [item for item in measured if item.verdict is Verdict.PASSED and _reach(item) > 0]
    return min(passed, key=lambda item: _slack(item, item.value) / _reach(item), default=None)


def _more_data(measured: Measured) -> str:
    slack = _slack(measured, measured.value)
    if slack <= 0:
        return "lies on the wrong side of its bound, so that more data is likelier to refuse it than to pass it"
    times = (_reach(measured) / slack) ** 2
    if times > _HOPELESS:
        return "lies so close to its bound that more data will hardly tell"
    wanted = f"{times:.1f}" if times < 2 else f"{math.ceil(times - 1e-9)}"
    kept = f"{measured.value:.4g}{measured.unit}"
    return f"about {wanted} times as much evaluation data would show it, if the value stays at {kept}"


def _worst(measured: Measured) -> float:
    """The end of the interval that must keep the bound."""
    end = measured.low if measured.wanted == "at_least" else measured.high
    return measured.value if end is None else end


def _reach(measured: Measured) -> float:
    return abs(measured.value - _worst(measured))


def _slack(measured: Measured, number: float) -> float:
    """How far a number is on the good side of the bound; negative on the other."""
    return number - measured.bound if measured.wanted == "at_least" else measured.bound - number


def _amount(measured: Measured, number: float) -> str:
    return f"{number:.3g}{measured.unit}"


def _relation(measured: Measured) -> str:
    least, most = ("above", "below") if measured.strict else ("at least", "at most")
    return f"be {least if measured.wanted == 'at_least' else most} {measured.bound:.4g}{measured.unit}"
