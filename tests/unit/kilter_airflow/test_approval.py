"""`AskOperator`: what a person's answer, or none, becomes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Param

from kilter.spec import load_spec
from kilter_airflow.approval import AskOperator

SPEC = load_spec(Path(__file__).parents[3] / "include/models/flight_delay")
AT = datetime(2024, 2, 1, 12, tzinfo=UTC)


@pytest.fixture
def ask() -> AskOperator:
    with DAG("m.model_validation", schedule=None, params={"version": Param(None, type=["null", "integer"])}):
        return AskOperator(task_id="ask", spec=SPEC)


def answered(ask: AskOperator, option: str, **changes: Any) -> dict[str, Any]:
    event = {
        "chosen_options": [option],
        "params_input": {"reason": "looks right"},
        "responded_at": AT,
        "responded_by_user": {"id": "1", "name": "ann"},
    }
    return ask.execute_complete({}, event | changes)


@pytest.mark.parametrize(("option", "approved"), [("Approve", True), ("Reject", False)])
def test_an_answer_tells_who_when_and_why(ask: AskOperator, option: str, approved: bool) -> None:
    assert answered(ask, option) == {
        "approved": approved,
        "person": "ann",
        "reason": "looks right",
        "answered_at": "2024-02-01T12:00:00+00:00",
    }


def test_no_answer_in_time_is_a_rejection_by_nobody(ask: AskOperator) -> None:
    assert ask.defaults == ["Reject"]
    assert ask.response_timeout == SPEC.gate.approval_within
    late = answered(ask, "Reject", params_input={"reason": ""}, responded_by_user=None)
    assert (late["approved"], late["person"], late["reason"]) == (False, "nobody", "no answer within 7 days")


def test_an_answer_needs_no_reason(ask: AskOperator) -> None:
    assert answered(ask, "Approve", params_input={})["reason"] == ""


def test_the_form_asks_for_a_reason_and_not_for_what_the_run_was_started_with(ask: AskOperator) -> None:
    assert list(ask.params) == ["reason"]


def test_the_question_shows_verdict_reason_and_where_the_report_is(ask: AskOperator) -> None:
    outputs = {
        ("choose_candidate", "version"): 7,
        ("judge", "verdict"): "inconclusive",
        ("judge", "reason"): "calibration inconclusive: too few rows",
        ("judge", "report"): "gate_reports/flight_delay/abc",
    }

    class Task:
        def xcom_pull(self, task: str, key: str) -> Any:
            return outputs[task, key]

    environment = ask.get_template_env()
    body = environment.from_string(ask.body).render(ti=Task())
    subject = environment.from_string(ask.subject).render(ti=Task())
    assert subject == "flight_delay: promote version 7? The gate says: inconclusive"
    for words in ("calibration inconclusive: too few rows", "gate_reports/flight_delay/abc/gate_report.html", "7 days"):
        assert words in body
