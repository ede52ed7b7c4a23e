"""How many decisions a window has taken: known answers."""

from datetime import UTC, datetime

import pytest

from kilter.core.gate.holdout_wear import Decision, judge
from kilter.core.verdict import Judgement
from kilter.spec import HoldoutWear


def may(day: int) -> datetime:
    return datetime(2024, 5, day, tzinfo=UTC)


def decided(version: int, first: int = 11, last: int = 21, verdict: str = "failed") -> Decision:
    return Decision(version, verdict, may(first), may(last))


def judged(*decisions: Decision, maximum: int = 2) -> Judgement:
    """The judgement on version 9, on rows from 11 to 21 May."""
    return judge(9, may(11), may(21), decisions, HoldoutWear(maximum_decisions=maximum))


def test_a_fresh_window_passes() -> None:
    assert judged(maximum=1).verdict == "passed"


def test_a_window_that_decided_as_often_as_it_may_fails_with_the_cure() -> None:
    assert judged(decided(1)).verdict == "passed"
    worn = judged(decided(1), decided(2, verdict="passed"))
    assert worn.verdict == "failed"
    assert "have decided on 2 > 1. The window is worn, take a fresh one: run feature_ingestion" in worn.reason
    assert worn.figures == {"versions": [1, 2]}


@pytest.mark.parametrize(
    ("first", "last", "counts"),
    [(11, 21, 1), (1, 31, 1), (16, 30, 1), (1, 16, 1), (17, 30, 0), (12, 14, 0), (1, 10, 0), (22, 30, 0)],
)
def test_a_decision_counts_when_it_used_half_of_this_window(first: int, last: int, counts: int) -> None:
    assert len(judged(decided(1, first, last)).figures["versions"]) == counts


def test_a_version_counts_once_and_the_candidate_itself_never() -> None:
    assert judged(decided(1), decided(1), decided(9)).figures == {"versions": [1]}


@pytest.mark.parametrize("verdict", ["inconclusive", "error"])
def test_what_decided_nothing_does_not_count(verdict: str) -> None:
    assert judged(decided(1, verdict=verdict)).figures == {"versions": []}


def test_an_inconclusive_verdict_that_a_person_approved_counts() -> None:
    assert judged(Decision(1, "inconclusive", may(11), may(21), approved=True)).figures == {"versions": [1]}


def test_verdicts_from_before_windows_were_kept_do_not_count() -> None:
    assert judged(Decision(1, "passed", None, None)).figures == {"versions": []}


def test_a_window_of_one_moment_counts_what_held_it() -> None:
    decisions = [decided(1), decided(2, 22, 30)]
    assert judge(9, may(12), may(12), decisions, HoldoutWear()).figures == {"versions": [1]}
