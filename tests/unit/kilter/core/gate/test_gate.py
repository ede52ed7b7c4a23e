"""The gate's checks and how they combine: known answers."""

from datetime import timedelta
from typing import Any

import pytest

from kilter.core.gate import against_champion, judge, serving_fitness, thresholds
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import AgainstChampion, Gate, ServingFitness

GATE = Gate(thresholds={"roc_auc": 0.6})


def check(verdict: Verdict, name: str = "any") -> Judgement:
    return Judgement(name=name, verdict=verdict, reason="because")


def test_thresholds_know_which_way_a_metric_points() -> None:
    bounds = {"roc_auc": 0.7, "brier": 0.2}
    assert thresholds.judge({"roc_auc": 0.7, "brier": 0.2}, bounds).verdict is Verdict.PASSED
    failed = thresholds.judge({"roc_auc": 0.7, "brier": 0.21}, bounds)
    assert (failed.verdict, failed.reason) == (Verdict.FAILED, "brier 0.2100 > 0.2; roc_auc 0.7000 >= 0.7")


def test_a_metric_that_was_not_measured_is_inconclusive() -> None:
    assert thresholds.judge({}, {"roc_auc": 0.7}).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("candidate", "verdict"), [(0.76, Verdict.PASSED), (0.7401, Verdict.PASSED), (0.7399, Verdict.FAILED)]
)
def test_a_candidate_may_lose_what_is_allowed_and_no_more(candidate: float, verdict: Verdict) -> None:
    judged = against_champion.judge("roc_auc", candidate, 0.75, 1000, AgainstChampion(allowed_regression=0.01))
    assert judged.verdict is verdict


@pytest.mark.parametrize(("candidate", "champion", "rows"), [(None, 0.7, 1000), (0.7, None, 1000), (0.7, 0.7, 499)])
def test_too_few_rows_to_compare_are_inconclusive(candidate: float | None, champion: float | None, rows: int) -> None:
    judged = against_champion.judge("roc_auc", candidate, champion, rows, AgainstChampion(minimum_rows=500))
    assert judged.verdict is Verdict.INCONCLUSIVE


def seen(**changes: Any) -> serving_fitness.Measurement:
    fine = {
        "ready_after": timedelta(seconds=1),
        "requests": 50,
        "failures": 0,
        "p99": timedelta(milliseconds=5),
        "difference": 1e-8,
        "malformed_status": 422,
    }
    return serving_fitness.Measurement(**(fine | changes))


def test_a_fit_server_passes() -> None:
    assert serving_fitness.judge(seen(), ServingFitness()).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"ready_after": None}, "not ready within 30 s"),
        ({"failures": 1}, "failed requests 1 > 0 of 50"),
        ({"p99": timedelta(seconds=2)}, "p99 2000 > 1000 ms"),
        ({"difference": 0.01}, "difference to the model's own scores 0.01 > 1e-05"),
        ({"malformed_status": 200}, "malformed request answered with 200"),
        ({"malformed_status": 500}, "malformed request answered with 500"),
    ],
)
def test_an_unfit_server_fails_and_the_reason_names_why(changes: dict[str, Any], cause: str) -> None:
    judged = serving_fitness.judge(seen(**changes), ServingFitness())
    assert judged.verdict is Verdict.FAILED
    assert cause in judged.reason


def test_no_request_is_inconclusive() -> None:
    assert serving_fitness.judge(seen(requests=0), ServingFitness()).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([Verdict.PASSED, Verdict.PASSED], Verdict.PASSED),
        ([Verdict.PASSED, Verdict.FAILED], Verdict.FAILED),
        ([Verdict.ERROR, Verdict.FAILED], Verdict.FAILED),
        ([Verdict.PASSED, Verdict.ERROR], Verdict.ERROR),
        ([Verdict.PASSED, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_the_gate_combines_its_checks(verdicts: list[Verdict], expected: Verdict) -> None:
    assert judge.judge([check(verdict) for verdict in verdicts], GATE).verdict is expected


def test_an_inconclusive_check_passes_only_where_the_spec_approves_it_and_the_reason_says_so() -> None:
    approving = GATE.model_copy(update={"inconclusive": "approve"})
    judged = judge.judge([check(Verdict.PASSED), check(Verdict.INCONCLUSIVE)], approving)
    assert judged.verdict is Verdict.PASSED
    assert "approved by the spec" in judged.reason


def test_approving_what_is_inconclusive_never_makes_a_pass_of_no_data() -> None:
    approving = GATE.model_copy(update={"inconclusive": "approve"})
    assert judge.judge([check(Verdict.INCONCLUSIVE)], approving).verdict is Verdict.INCONCLUSIVE


def test_an_error_is_never_approved() -> None:
    approving = GATE.model_copy(update={"inconclusive": "approve"})
    assert judge.judge([check(Verdict.ERROR)], approving).verdict is Verdict.ERROR


def test_a_first_champion_is_approved_by_its_own_rule() -> None:
    checks = [check(Verdict.PASSED), against_champion.no_champion()]
    assert judge.judge(checks, GATE).verdict is Verdict.PASSED
    refusing = GATE.model_copy(update={"first_champion": "reject"})
    assert judge.judge(checks, refusing).verdict is Verdict.INCONCLUSIVE
