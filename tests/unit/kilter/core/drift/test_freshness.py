"""Whether a window is whole, and what follows for the other judgements where it is not."""

from datetime import UTC, datetime, timedelta

from kilter.core.drift import alerts, doubt, verdict_of
from kilter.core.drift.freshness import Stretch, judge_freshness
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift

START = datetime(2024, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


def stretch(day: int, rows: int) -> Stretch:
    return Stretch(start=START + day * DAY, end=START + (day + 1) * DAY, rows=rows)


def judge(rows: int, newest: float | None = 0.99, earlier: tuple[int, ...] = (100, 100, 100)) -> Judgement:
    """A day with its newest row at a share of it, after days with so many rows."""
    before = [stretch(place - len(earlier), count) for place, count in enumerate(earlier)]
    return judge_freshness(
        stretch(0, rows), None if newest is None else START + newest * DAY, before, Drift(minimum_rows=30)
    )


def test_as_many_rows_as_usual_up_to_the_end_pass() -> None:
    judged = judge(90)
    assert judged.verdict is Verdict.PASSED
    assert "90 rows of 100 usual ones, 90 % >= 50 %" in judged.reason


def test_an_empty_window_is_inconclusive_and_says_what_was_expected() -> None:
    judged = judge(0, newest=None)
    assert (judged.verdict, judged.reason) == (
        Verdict.INCONCLUSIVE,
        "empty: no request was logged, where 100 rows are usual",
    )


def test_far_fewer_rows_than_usual_are_truncated_and_inconclusive() -> None:
    judged = judge(30)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.startswith("truncated: 30 rows of 100 usual ones, 30 % < 50 %")


def test_rows_that_stop_long_before_the_end_are_stale_and_inconclusive() -> None:
    judged = judge(100, newest=0.25)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "stale: silence before its end, newest row 2024-01-08 06:00, 75 % > 50 %" in judged.reason


def test_the_first_window_has_no_usual_volume_to_miss() -> None:
    assert judge(1, earlier=()).verdict is Verdict.PASSED


def test_an_empty_day_among_those_before_is_not_usual() -> None:
    assert judge(100, earlier=(100, 0, 0, 0)).figures["expected"] == 100


def test_a_longer_window_usually_has_more_rows() -> None:
    week = Stretch(start=START, end=START + 7 * DAY, rows=100)
    judged = judge_freshness(week, START + 7 * DAY, [stretch(-1, 100)], Drift())
    assert (judged.verdict, judged.figures["expected"]) == (Verdict.INCONCLUSIVE, 700)


def one(name: str, verdict: Verdict) -> Judgement:
    return Judgement(name=name, verdict=verdict, reason="a sum")


def test_what_takes_the_window_for_whole_is_doubted_and_what_labels_say_is_not() -> None:
    truncated = one("freshness", Verdict.INCONCLUSIVE)
    drifted = doubt(one("data_drift", Verdict.FAILED), truncated)
    assert drifted.verdict is Verdict.INCONCLUSIVE
    assert drifted.reason == "the window cannot be trusted (a sum), though measured it failed: a sum"
    assert doubt(one("performance", Verdict.FAILED), truncated).verdict is Verdict.FAILED


def test_an_estimate_and_a_detector_raise_alarms_and_settle_nothing() -> None:
    passed, unsure, failed = Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED
    assert verdict_of([one("performance", passed), one("estimated_performance", unsure)]) is passed
    assert verdict_of([one("performance", unsure), one("estimated_performance", passed)]) is unsure
    assert verdict_of([one("performance", passed), one("change_detectors", failed)]) is failed


def test_a_window_that_is_not_whole_alerts_and_so_does_what_could_not_be_measured() -> None:
    whole = one("freshness", Verdict.PASSED)
    assert alerts([one("freshness", Verdict.INCONCLUSIVE)])
    assert alerts([whole, one("data_drift", Verdict.ERROR)])
    assert not alerts([whole, one("data_drift", Verdict.FAILED)])
