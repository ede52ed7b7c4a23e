"""The verdict on a batch, one row of its truth table a test."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kilter.core.batch import Finding, RowCount, judge_batch, judge_row_count
from kilter.core.verdict import Judgement

MONTH = timedelta(days=30)
RATIOS = (0.5, 2.0)


def finding(passed: bool | None) -> Finding:
    return Finding(
        table="flights", column="fare", expectation="between", passed=passed, observed="-3", allowed="0 … 500"
    )


def judge(*passed: bool | None, rows: int = 300, recent: tuple[int, ...] = (290, 310)) -> Judgement:
    earlier = [RowCount(rows=count, length=MONTH) for count in recent]
    counts = {"flights": RowCount(rows=rows, length=MONTH)}
    return judge_batch([finding(item) for item in passed], counts, {"flights": earlier}, RATIOS, 2)


@pytest.mark.parametrize(
    ("passed", "rows", "recent", "verdict"),
    [
        ((True, True), 300, (290, 310), "passed"),
        ((True, False), 300, (290, 310), "failed"),
        ((True, None), 300, (290, 310), "error"),
        ((False, None), 300, (290, 310), "failed"),
        ((True,), 149, (290, 310), "failed"),
        ((True,), 150, (290, 310), "passed"),
        ((True,), 600, (290, 310), "passed"),
        ((True,), 601, (290, 310), "failed"),
        ((True,), 300, (), "passed"),
        ((True,), 300, (290,), "passed"),
        ((False,), 300, (), "failed"),
        ((True,), 0, (), "failed"),
        ((True,), 0, (290, 310), "failed"),
        ((), 300, (290, 310), "inconclusive"),
    ],
)
def test_verdict(passed: tuple[bool | None, ...], rows: int, recent: tuple[int, ...], verdict: str) -> None:
    assert judge(*passed, rows=rows, recent=recent).verdict == verdict


def test_a_failure_names_expectation_observed_and_allowed() -> None:
    assert judge(True, False).reason == "flights.fare: between: observed -3; allowed 0 … 500"


def test_a_pass_that_could_not_compare_row_counts_says_so() -> None:
    judgement = judge(True, recent=(290,))
    assert judgement.reason == (
        "1 expectations met; flights: 300 rows, not compared: 1 recent passed intervals, 2 needed"
    )
    assert judgement.figures["row_counts"]["flights"]["verdict"] == "inconclusive"


def test_lengths_of_intervals_are_made_equal() -> None:
    """February's 28 days hold less than January's 31 and are not short of rows."""
    recent = [RowCount(rows=3100, length=timedelta(days=31)), RowCount(rows=3100, length=timedelta(days=31))]
    count = RowCount(rows=1400, length=timedelta(days=28))
    judgement = judge_row_count("flights", count, recent, RATIOS, 2)
    assert judgement.verdict == "passed"
    assert "allowed 1400 … 5600" in judgement.reason


def test_one_odd_interval_does_not_move_the_median() -> None:
    assert judge(True, rows=300, recent=(290, 300, 9000)).verdict == "passed"


def test_a_table_without_history_is_compared_with_nothing() -> None:
    counts = {"weather": RowCount(rows=10, length=MONTH)}
    assert judge_batch([finding(True)], counts, {}, RATIOS, 2).verdict == "passed"
