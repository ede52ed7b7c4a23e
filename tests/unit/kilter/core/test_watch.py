"""A promotion on probation: when labels are looked at, and what follows from how much worse the new champion is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kilter.core.uncertainty.estimate import Estimate, interval
from kilter.core.verdict import Judgement, Verdict
from kilter.core.watch import due, judge, over
from kilter.spec import Watch

RULES = Watch(allowed_regression=0.01, minimum_rows=500, within=timedelta(days=90))
EARLY = timedelta(days=10)


def lost(value: float, error: float) -> Estimate:
    """Of 21 blocks: ± 2.086 standard errors."""
    return interval(value, error, 21, 0.95)


def looked(rows: int, measured: bool = True) -> Judgement:
    return judge("roc_auc", lost(0.01, 0.01) if measured else None, rows, 7, RULES)


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [
        (lost(0.05, 0.01), Verdict.FAILED),
        (lost(0.03, 0.01), Verdict.INCONCLUSIVE),
        (lost(0.01, 0.001), Verdict.INCONCLUSIVE),
        (lost(-0.02, 0.01), Verdict.PASSED),
    ],
)
def test_it_fails_or_passes_only_when_the_whole_interval_lies_on_one_side(loss: Estimate, verdict: Verdict) -> None:
    assert judge("roc_auc", loss, 2000, 7, RULES).verdict is verdict


def test_the_reason_shows_the_arithmetic() -> None:
    reason = judge("roc_auc", lost(0.05, 0.01), 2000, 7, RULES).reason
    assert reason == (
        "roc_auc lost to version 7, the predecessor, on the same 2000 requests 0.05 (95 %: 0.02914 … 0.07086) > 0.01"
    )


@pytest.mark.parametrize(("rows", "loss"), [(499, lost(0.5, 0.01)), (5000, None)])
def test_too_few_labels_or_no_interval_never_tell(rows: int, loss: Estimate | None) -> None:
    judged = judge("roc_auc", loss, rows, 7, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.startswith(f"{rows} labelled requests so far: 500 in several blocks")


@pytest.mark.parametrize(("rows", "expected"), [(1000, False), (1499, False), (1500, True)])
def test_the_next_look_waits_until_labels_have_grown_by_half(rows: int, expected: bool) -> None:
    assert due(rows, [looked(600), looked(1000)], EARLY, RULES) is expected


def test_the_first_look_is_due_at_once() -> None:
    assert due(0, [], EARLY, RULES)


def test_a_look_that_compared_nothing_makes_none_wait() -> None:
    assert due(501, [looked(500, measured=False)], EARLY, RULES)
    assert not due(500, [looked(500, measured=False)], EARLY, RULES)


def test_when_time_is_up_all_labels_are_looked_at_once_more() -> None:
    assert due(1001, [looked(1000)], timedelta(days=90), RULES)
    assert not due(1000, [looked(1000)], timedelta(days=90), RULES)


def test_only_what_is_not_decided_is_ever_over() -> None:
    assert not over(Verdict.INCONCLUSIVE, timedelta(days=89), RULES)
    assert over(Verdict.ERROR, timedelta(days=90), RULES)
    assert not over(Verdict.PASSED, timedelta(days=900), RULES)
