"""The arbiter's truth table."""

from datetime import UTC, datetime, timedelta

import pytest

from kilter.core.arbiter import Evidence, decide
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Arbiter

NOW = datetime(2013, 5, 1, tzinfo=UTC)
POLICY = Arbiter(cooldown=timedelta(days=28), minimum_new_labels=1000)
P, F, I, E = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.ERROR  # noqa: E741


def evidence(drift: Verdict, performance: Verdict, days: int | None = 60, labels: int = 5000) -> Evidence:
    return Evidence(
        event_time=NOW,
        data_drift=Judgement(name="data_drift", verdict=drift, reason="drift reason"),
        performance=Judgement(name="performance", verdict=performance, reason="performance reason"),
        new_labels=labels,
        last_training=None if days is None else NOW - timedelta(days=days),
    )


@pytest.mark.parametrize(
    ("drift", "performance", "action"),
    [
        (P, P, "wait"),
        (F, P, "wait"),
        (P, F, "retrain"),
        (F, F, "retrain"),
        (I, F, "retrain"),
        (F, I, "retrain"),
        (F, E, "retrain"),
        (P, I, "wait"),
        (I, I, "wait"),
        (I, P, "wait"),
    ],
)
def test_labels_outrank_distributions(drift: Verdict, performance: Verdict, action: str) -> None:
    assert decide(evidence(drift, performance), POLICY).action == action


def test_a_cause_waits_for_the_cooldown_and_says_so() -> None:
    decision = decide(evidence(F, F, days=27), POLICY)
    assert decision.action == "wait"
    assert "quality decayed" in decision.reason
    assert "27 days ago, less than the cooldown of 28" in decision.reason


def test_the_cooldown_ends_on_its_last_day() -> None:
    assert decide(evidence(F, F, days=28), POLICY).action == "retrain"


def test_a_cause_waits_for_enough_new_labels() -> None:
    decision = decide(evidence(F, F, labels=999), POLICY)
    assert (decision.action, "999 new labels < 1000 needed" in decision.reason) == ("wait", True)


def test_nothing_trained_before_has_no_cooldown() -> None:
    assert decide(evidence(P, F, days=None), POLICY).action == "retrain"


def test_a_calm_decision_tells_what_it_saw() -> None:
    reason = decide(evidence(F, P), POLICY).reason
    assert "no reason to retrain" in reason
    assert "performance reason" in reason
    assert "drift reason" in reason
