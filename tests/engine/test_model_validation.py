"""`model_validation` under a real Airflow: nothing to do, and a person's approval."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kilter.holdout import Facts
from kilter.stores.ledger import Ledger
from kilter.stores.objects import commit_dataset
from kilter.stores.registry import MlflowRegistry, PipelineRun

from .live import Live, wait_for

pytestmark = pytest.mark.engine

START = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def registry(live: Live) -> Iterator[MlflowRegistry]:
    live.start_mlflow()
    yield MlflowRegistry(live.settings.mlflow)
    live.stop_mlflow()


@pytest.fixture
def asked(live: Live, registry: MlflowRegistry, tmp_path: Path) -> dict[str, Any]:
    """A registered version, and a verdict on it that a person must approve: Params of the run."""
    digest = f"{len(registry.versions('waiting')):064d}"
    parts = {"key": f"models/{digest}", "snapshot": "s", "evaluation": "e", "dataset": "file:///d", "dataset_rows": 1}
    rest = {"parameters": {}, "metrics": {}, "tags": {}, "dataset_digest": digest, "name": "run"}
    (tmp_path / "model.ubj").write_bytes(b"a model")
    version = registry.register(PipelineRun(model="waiting", digest=digest, **parts, **rest), tmp_path).version
    end = START + timedelta(days=3)
    facts = Facts(
        version=version, model=parts["key"], digest=digest, snapshot="s", champion=None, as_of=end, start=START,
        end=end, rows=9, new_rows=0, prior=0.5, unseen_from=None, look=1, confidence=0.95,
    )  # fmt: skip
    key = commit_dataset(live.objects, "holdouts/waiting", {"rows": b""}, facts.model_dump(mode="json")).key
    Ledger(live.settings.ledger).record_verdict(
        model="waiting", version=version, holdout=key, verdict="passed", action="ask", reason="", judgements=[]
    )
    return {"version": version, "holdout": key, "action": "ask"}


def answer(live: Live, run: str, option: str, reason: str) -> None:
    """Answer the question once the scheduler has taken note that the task waits, as a person's hand is slow enough to.

    Airflow 3.3.2 takes a task whose answer overtakes that note for one whose worker died, and tries it again.
    """
    live.wait_for_task("waiting.approval", run, "awaiting_input", task_id="ask")
    live.wait_for_note("waiting.approval", run, "ask")
    live.answer("waiting.approval", run, "ask", option, reason)


def answers(live: Live, version: int) -> list[tuple[bool, str, str]]:
    rows = Ledger(live.settings.ledger).approvals("waiting")
    return [(row["approved"], row["person"], row["reason"]) for row in rows if row["version"] == version]


def promotions(live: Live, version: int) -> list[dict[str, Any]]:
    """Params of the canary promotions of a version."""
    runs = live.airflow.runs("waiting.canary_promotion")
    return [run["conf"] for run in runs if run["dag_run_id"] == f"version-{version}"]


def states(live: Live, dag_id: str, run_id: str) -> dict[str, str]:
    """Wait until a run has ended; states of its tasks."""
    run = wait_for(lambda: [run for run in live.airflow.runs(dag_id) if is_over(run, run_id)], f"{run_id} to end")
    assert run[0]["state"] == "success", live.log(dag_id, run_id)
    return {task["task_id"]: task["state"] for task in live.airflow.tasks(dag_id, run_id)}


def is_over(run: dict[str, Any], run_id: str) -> bool:
    return run["dag_run_id"] == run_id and run["state"] in ("success", "failed")


def test_without_a_held_candidate_one_step_runs_and_everything_else_is_skipped(live: Live) -> None:
    run = live.trigger("waiting.model_validation")
    found = states(live, "waiting.model_validation", run)
    assert found.pop("choose_candidate") == "success"
    assert {"start_server", "score_holdout", "check", "check_served", "judge", "ask", "promote", "stop_server"} <= set(
        found
    )
    assert set(found.values()) == {"skipped"}
    assert "nothing to do: no version was ever judged" in live.log("waiting.model_validation", run)
    assert live.containers(run) == []


def test_a_candidate_waits_for_its_approval_and_is_promoted_by_it(live: Live, asked: dict[str, Any]) -> None:
    run = live.trigger("waiting.approval", **asked)
    live.wait_for_task("waiting.approval", run, "awaiting_input", task_id="ask")
    question = live.question("waiting.approval", run, "ask")
    assert question["subject"] == f"waiting: promote version {asked['version']}? The gate says: passed"
    assert "all passed" in question["body"]
    assert promotions(live, asked["version"]) == []
    answer(live, run, "Approve", "seen by two of us")
    assert states(live, "waiting.approval", run)["promote"] == "success"
    assert promotions(live, asked["version"]) == [{"version": asked["version"]}]
    assert answers(live, asked["version"]) == [(True, "admin", "seen by two of us")]
    tags = MlflowRegistry(live.settings.mlflow).tags("waiting", asked["version"])
    assert (tags["approval"], tags["approval_reason"]) == ("approved by admin", "seen by two of us")


def test_a_rejected_candidate_is_not_promoted_and_the_run_is_green(live: Live, asked: dict[str, Any]) -> None:
    run = live.trigger("waiting.approval", **asked)
    answer(live, run, "Reject", "not before the holidays")
    found = states(live, "waiting.approval", run)
    assert (found["record_approval"], found["promote"]) == ("success", "skipped")
    assert promotions(live, asked["version"]) == []
    assert answers(live, asked["version"]) == [(False, "admin", "not before the holidays")]


def test_without_an_answer_in_time_nothing_is_promoted_and_that_is_kept(live: Live, asked: dict[str, Any]) -> None:
    run = live.trigger("waiting.hurried_approval", **asked)
    found = states(live, "waiting.hurried_approval", run)
    assert (found["record_approval"], found["promote"]) == ("success", "skipped")
    assert answers(live, asked["version"]) == [(False, "nobody", "no answer within 3 seconds")]


def test_a_verdict_that_promotes_asks_nobody(live: Live, asked: dict[str, Any]) -> None:
    run = live.trigger("waiting.approval", **asked | {"action": "promote"})
    found = states(live, "waiting.approval", run)
    assert (found["ask"], found["record_approval"], found["promote"]) == ("skipped", "skipped", "success")
    assert promotions(live, asked["version"]) == [{"version": asked["version"]}]
