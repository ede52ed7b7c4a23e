"""The arbiter's truth table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kilter.core.arbiter import Evidence, Rival, Wish, decide, earned
from kilter.core.scope import Scope
from kilter.core.verdict import Judgement, Measured, Verdict
from kilter.spec import Arbiter

NOW = datetime(2013, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Arbiter(cooldown=28 * DAY, minimum_new_labels=1000)
P, F, I, E = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.ERROR  # noqa: E741


def evidence(drift: Verdict = P, performance: Verdict = P, **facts: Any) -> Evidence:
    said = (
        Judgement(name="data_drift", verdict=drift, reason="drift reason"),
        Judgement(name="performance", verdict=performance, reason="performance reason"),
    )
    usual = {"new_labels": 5000, "trained_labels": 50_000, "trainings": (NOW - 60 * DAY,)}
    return Evidence(**{"event_time": NOW, "judgements": said, **usual, **facts})


def rival(verdict: Verdict, version: int = 1, low: float = 0.02, basis: Any = "labels") -> Rival:
    gain = Measured(
        label="gain", value=low + 0.01, low=low, high=low + 0.02, confidence=0.95, wanted="at_least", bound=0
    )
    return Rival(version=version, basis=basis, verdict=verdict, reason=f"version {version} was here before", gain=gain)


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
    decision = decide(evidence(performance=F, trainings=(NOW - 7 * DAY,)), POLICY)
    assert decision.action == "wait"
    assert "the last training was 7 days ago, and one is earned in each cooldown of 28 days" in decision.reason
    assert "performance reason" in decision.reason


def test_a_cause_waits_for_enough_new_labels() -> None:
    decision = decide(evidence(performance=F, new_labels=999), POLICY)
    assert (decision.action, "999 new labels < 1000 needed" in decision.reason) == ("wait", True)


def test_trainings_that_gained_nothing_make_the_next_one_wait_longer() -> None:
    once = evidence(performance=F, in_vain=2, trainings=(NOW - 40 * DAY,))
    decision = decide(once, POLICY)
    assert decision.action == "wait"
    assert (
        "the last 2 trainings gained nothing, so the next one waits 56 days, of which 40 days are over"
        in decision.reason
    )
    assert decide(once.model_copy(update={"trainings": (NOW - 56 * DAY,)}), POLICY).action == "retrain"


def test_saved_trainings_allow_a_burst_after_a_calm() -> None:
    policy = POLICY.model_copy(update={"saved": 2})
    assert decide(evidence(performance=F, trainings=(NOW - 99 * DAY, NOW - DAY)), policy).action == "retrain"
    assert (
        decide(evidence(performance=F, trainings=(NOW - 99 * DAY, NOW - 2 * DAY, NOW - DAY)), policy).action == "wait"
    )


def test_what_is_earned_never_exceeds_what_may_be_saved() -> None:
    assert earned((NOW - 500 * DAY,), NOW, 28 * DAY, 3) == 3
    assert earned((), NOW, 28 * DAY, 1) == 1
    assert earned((NOW,), NOW, 28 * DAY, 1) == 0


def test_an_alarm_while_a_retraining_is_under_way_is_folded_into_it() -> None:
    decision = decide(evidence(performance=F, under_way="decision 7 of 3 April"), POLICY)
    assert (decision.action, decision.reason) == (
        "wait",
        "quality decayed: performance reason; folded into decision 7 of 3 April",
    )


def test_a_clear_match_comes_back_and_a_clear_match_by_labels_before_one_by_fingerprint() -> None:
    rivals = (rival(P, 1, 0.5, "fingerprint"), rival(P, 2, 0.01), rival(P, 3, 0.03), rival(F, 4))
    decision = decide(evidence(performance=F, rivals=rivals), POLICY)
    assert (decision.action, decision.version) == ("redeploy", 3)


def test_without_a_clear_match_it_retrains_and_says_who_was_unsure() -> None:
    scope = Scope(kind="recent", spans=((NOW - DAY, NOW),), reason="quality fell on 30 April")
    decision = decide(evidence(performance=F, rivals=(rival(I), rival(F, 2)), scope=scope), POLICY)
    assert (decision.action, decision.scope) == ("retrain", scope)
    assert "no earlier model is a clear match: version 1 was here before" in decision.reason
    assert "trained on recent: quality fell on 30 April" in decision.reason


def test_a_better_earlier_model_stands_in_while_no_training_may_begin() -> None:
    early = (NOW - DAY,)
    decision = decide(evidence(performance=F, rivals=(rival(I),), trainings=early), POLICY)
    assert (decision.action, decision.version, decision.alert) == ("redeploy", 1, True)
    assert decide(evidence(performance=F, rivals=(rival(I, low=-0.01),), trainings=early), POLICY).action == "wait"


def test_nothing_is_brought_back_while_a_rollout_is_under_way() -> None:
    decision = decide(evidence(rivals=(rival(P),), returning="rollout 3 is shifting"), POLICY)
    assert decision.action == "wait"


@pytest.mark.parametrize("trigger", ["environment", "schedule"])
def test_a_changed_environment_and_the_schedule_are_causes(trigger: str) -> None:
    assert decide(evidence(trigger=trigger), POLICY).action == "retrain"
    assert decide(evidence(trigger=trigger, trainings=(NOW - DAY,)), POLICY).action == "wait"


def test_labels_that_doubled_are_a_cause() -> None:
    grown = evidence(trained_labels=5000, new_labels=5000)
    assert "labels grew 2 times since the last training (5000 to 10000)" in decide(grown, POLICY).reason
    assert decide(grown, POLICY).action == "retrain"
    assert decide(grown, POLICY.model_copy(update={"growth": None})).action == "wait"


def test_a_person_overrides_the_cooldown_but_not_a_retraining_under_way() -> None:
    wish = Wish(action="retrain", reason="new sensors")
    assert decide(evidence(wish=wish, trainings=(NOW,)), POLICY).action == "retrain"
    folded = decide(evidence(wish=wish, under_way="decision 7"), POLICY)
    assert (folded.action, folded.alert) == ("wait", True)


def test_a_person_brings_back_a_version_unless_a_rollout_is_under_way() -> None:
    wish = Wish(action="redeploy", version=4, reason="line runs recipe A")
    asked = decide(evidence(wish=wish), POLICY)
    assert (asked.action, asked.version) == ("redeploy", 4)
    assert decide(evidence(wish=wish, returning="rollout 3 is shifting"), POLICY).action == "wait"


def test_nothing_told_or_a_fault_alerts() -> None:
    assert decide(evidence(I, I), POLICY).alert
    assert decide(evidence(P, E), POLICY).alert
    assert not decide(evidence(P, I), POLICY).alert


@pytest.mark.parametrize(("rejected", "tune"), [(0, False), (1, False), (2, True), (5, True)])
def test_a_training_searches_for_parameters_when_those_of_now_no_longer_pass_the_gate(
    rejected: int, tune: bool
) -> None:
    wish = Wish(action="retrain", reason="new sensors")
    for cause in (evidence(performance=F, rejected=rejected), evidence(wish=wish, rejected=rejected)):
        decision = decide(cause, POLICY)
        assert (decision.action, decision.tune) == ("retrain", tune)
        told = f"with new parameters: the gate rejected {rejected} versions with the old ones"
        assert (told in decision.reason) is tune


def test_no_search_is_asked_for_where_the_policy_says_so_or_nothing_is_trained() -> None:
    never = POLICY.model_copy(update={"tune_after": None})
    assert not decide(evidence(performance=F, rejected=9), never).tune
    assert not decide(evidence(rejected=9), POLICY).tune
