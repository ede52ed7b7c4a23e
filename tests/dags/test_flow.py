"""How the DAGs follow from a model's spec: schedule, order, pools, and what runs after what."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

from kilter.errors import InputError
from kilter.spec import CHECKS
from kilter.step import parse_inputs
from kilter_airflow.fleet import INTERVAL
from kilter_airflow.notifications import StepNotifier
from kilter_airflow.timetables import IntervalTimetable

from .test_dag_policy import MODELS, copy_model, parse


@pytest.fixture
def dags(monkeypatch: pytest.MonkeyPatch) -> dict[str, DAG]:
    return parse(MODELS, monkeypatch).dags


def month(number: int) -> pendulum.DateTime:
    return pendulum.datetime(2013, number, 1)


def test_every_dag_survives_serialisation(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        DagSerialization.from_dict(DagSerialization.to_dict(dag))


def test_intervals_follow_the_models_cron_and_end_with_its_data() -> None:
    timetable = IntervalTimetable("0 0 1 * *", datetime(2013, 3, 1, tzinfo=UTC))
    whole = TimeRestriction(earliest=month(1), latest=None, catchup=True)
    found, last = [], None
    while info := timetable.next_dagrun_info(last_automated_data_interval=last, restriction=whole):
        last = info.data_interval
        found.append((last.start, last.end))
    assert found == [(month(1), month(2)), (month(2), month(3))]


def test_a_run_by_hand_after_the_data_ended_gets_the_last_interval() -> None:
    timetable = IntervalTimetable("0 0 1 * *", datetime(2013, 3, 1, tzinfo=UTC))
    interval = timetable.infer_manual_data_interval(run_after=pendulum.datetime(2026, 11, 20))
    assert (interval.start, interval.end) == (month(2), month(3))


def test_the_schedule_survives_serialisation_without_an_end_too(dags: dict[str, DAG]) -> None:
    for end in (None, datetime(2014, 1, 1, tzinfo=UTC)):
        timetable = IntervalTimetable("0 0 1 * *", end)
        again = IntervalTimetable.deserialize(timetable.serialize())
        assert again.serialize() == timetable.serialize()


def test_an_interval_given_as_params_wins_and_a_missing_one_says_what_to_do(dags: dict[str, DAG]) -> None:
    template = dags["flight_delay.feature_ingestion"].get_template_env().from_string(INTERVAL["start"])
    given, none = {"interval_start": "a", "interval_end": "z"}, {"interval_start": None, "interval_end": None}
    assert template.render(params=given, data_interval_start="b") == "a"
    assert template.render(params=none, data_interval_start="b") == "b"
    assert "trigger it with interval_start and interval_end" in template.render(params=none)


@pytest.mark.parametrize("bound", ["start", "end"])
def test_half_an_interval_is_refused_with_what_to_give(dags: dict[str, DAG], bound: str) -> None:
    template = dags["flight_delay.feature_ingestion"].get_template_env().from_string(INTERVAL[bound])
    own = {"data_interval_start": "b", "data_interval_end": "c"}
    for half in ({"interval_start": "a", "interval_end": None}, {"interval_start": "", "interval_end": "z"}):
        given = template.render(params=half, **own)
        with pytest.raises(InputError, match=f"{bound}: .*was given without the other; give both or none"):
            parse_inputs("join_labels", {"start": "2013-01-01T00:00:00Z", "end": "2013-02-01T00:00:00Z", bound: given})
    assert (
        template.render(params={"interval_start": "a", "interval_end": "z"}, **own) == {"start": "a", "end": "z"}[bound]
    )
    assert template.render(params={"interval_start": None, "interval_end": None}, **own) in "bc"


def test_training_without_as_of_leaves_the_choice_to_the_data(dags: dict[str, DAG]) -> None:
    dag = dags["flight_delay.continuous_training"]
    template = dag.get_template_env().from_string(dag.get_task("freeze_dataset").inputs["as_of"])
    assert template.render(params={"as_of": None}) == ""
    assert parse_inputs("freeze_dataset", {"as_of": ""}).as_of is None


@pytest.mark.parametrize(
    ("params", "cause", "scope"),
    [
        ({"decision": None, "scope": None}, "run r1", "all"),
        ({"decision": 7, "scope": {"kind": "recent", "spans": [["2013-03-01T00:00:00Z", "2013-04-01T00:00:00Z"]]}},
         "decision 7", "recent"),
    ],
)  # fmt: skip
def test_a_training_tells_the_ledger_what_began_it_and_learns_from_its_scope(
    dags: dict[str, DAG], params: dict[str, Any], cause: str, scope: str
) -> None:
    dag = dags["flight_delay.continuous_training"]
    given = {"as_of": None, "reason": "", **params}
    inputs = {
        key: dag.get_template_env().from_string(value).render(params=given, run_id="r1")
        for key, value in dag.get_task("freeze_dataset").inputs.items()
    }
    parsed: Any = parse_inputs("freeze_dataset", inputs)
    assert (parsed.retraining, parsed.scope.kind) == (cause, scope)
    assert dag.get_task("end_retraining").inputs["retraining"] == dag.get_task("register").inputs["retraining"]


@pytest.mark.parametrize("asked", [True, False])
def test_a_training_takes_the_parameters_that_tune_gives_and_tells_where_they_come_from(
    dags: dict[str, DAG], asked: bool
) -> None:
    dag = dags["flight_delay.continuous_training"]
    given = dag.get_template_env().from_string(dag.get_task("tune").inputs["search"]).render(params={"tune": asked})
    parsed: Any = parse_inputs("tune", {"snapshot": "s", "search": given})
    assert parsed.search is asked
    assert dag.get_task("train").inputs["parameters"].key == "parameters"
    assert dag.get_task("register").inputs["parameters_of"].key == "origin"
    assert dag.get_task("tune").downstream_task_ids == {"train", "register"}


def test_a_training_always_ends_its_retraining(dags: dict[str, DAG]) -> None:
    dag = dags["flight_delay.continuous_training"]
    assert dag.get_task("end_retraining").is_teardown
    # A teardown of a setup would not run when that setup failed.
    assert not [task.task_id for task in dag.tasks if task.is_setup]


def test_no_dag_has_an_end_date_because_airflow_would_never_start_runs_made_by_hand_after_it(
    dags: dict[str, DAG],
) -> None:
    assert all(dag.end_date is None for dag in dags.values())


def test_the_canary_climbs_the_models_weights_and_always_ends_in_roll_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_model(tmp_path / "train_delay", **{"weights: [10, 50, 100]": "weights: [25, 100]"})
    dag = parse(tmp_path, monkeypatch).dags["train_delay.canary_promotion"]
    order = [task.task_id for task in dag.topological_sort()]
    assert order[:6] == ["turn", "stage", "shadow", "canary_25", "canary_100", "promote"]
    assert dag.get_task("roll_back").is_teardown
    assert dag.get_task("roll_back").on_failure_fail_dagrun
    # A teardown of a setup would not run when that setup failed.
    assert not [task.task_id for task in dag.tasks if task.is_setup]


def test_the_trial_server_is_always_removed_and_never_waits_for_a_person(dags: dict[str, DAG]) -> None:
    dag = dags["flight_delay.model_validation"]
    assert dag.get_task("start_server").is_setup
    stop = dag.get_task("stop_server")
    assert stop.is_teardown
    assert not stop.upstream_task_ids & {"judge", "ask", "record_approval", "promote"}


def test_the_gate_is_judged_when_asked_and_when_new_features_came(dags: dict[str, DAG]) -> None:
    dag = dags["flight_delay.model_validation"]
    assert [found.name for found in dag.timetable.asset_condition.objects] == ["flight_delay.features"]
    template = dag.get_template_env().from_string(dag.get_task("choose_candidate").inputs["version"])
    assert parse_inputs("choose_candidate", {"version": template.render(params={"version": None})}).version is None
    assert parse_inputs("choose_candidate", {"version": template.render(params={"version": 7})}).version == 7


def test_only_a_promoting_verdict_or_an_approval_promotes(dags: dict[str, DAG]) -> None:
    promote = dags["flight_delay.model_validation"].get_task("promote")
    told = [str(fact) for fact in promote.only_if]
    assert told == ["action of 'judge' is 'promote'", "approved of 'record_approval' is True"]
    assert promote.trigger_rule == "none_failed"
    assert promote.upstream_task_ids == {"record_approval"}


def test_every_check_of_the_model_is_made_once_and_gets_what_it_takes(dags: dict[str, DAG]) -> None:
    made = []
    for task_id in ("check", "check_served"):
        task = dags["flight_delay.model_validation"].get_task(task_id)
        steps = task.expand_input.value["step"]
        made += steps
        for name in steps:
            inputs = dict.fromkeys(task.partial_kwargs["inputs"], "given")
            assert parse_inputs(name, inputs).model_dump() == inputs
    assert sorted(made) == sorted(f"check_{name}" for name in CHECKS)


def test_a_model_without_slices_has_no_check_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_model(tmp_path / "train_delay", **{"slices: [origin, carrier]": "slices: []"})
    check = parse(tmp_path, monkeypatch).dags["train_delay.model_validation"].get_task("check")
    assert "check_slices" not in check.expand_input.value["step"]


@pytest.mark.parametrize(("approval", "runs"), [("never", 1), ("on_inconclusive", 8), ("always", 8)])
def test_a_run_that_may_wait_for_a_person_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, approval: str, runs: int
) -> None:
    copy_model(tmp_path / "train_delay", **{"gate:\n": f"gate:\n  approval: {approval}\n"})
    assert parse(tmp_path, monkeypatch).dags["train_delay.model_validation"].max_active_runs == runs


def test_only_gpu_steps_of_a_model_that_asks_for_gpus_use_the_gpu_pool_and_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_model(tmp_path / "train_delay", **{"resources:\n": "resources:\n  gpu: 2\n"})
    training = parse(tmp_path, monkeypatch).dags["train_delay.continuous_training"]
    assert [task.task_id for task in training.tasks if task.pool == "gpu"] == ["tune", "train"]
    assert [task.task_id for task in training.tasks if task.queue == "gpu"] == ["tune", "train"]
    assert training.get_task("train").pool_slots == 2
    assert {task.queue for task in training.tasks} == {"gpu", "default"}


def test_a_steps_time_limit_is_the_models(dags: dict[str, DAG]) -> None:
    train = dags["flight_delay.continuous_training"].get_task("train")
    assert train.execution_timeout.total_seconds() == 30 * 60


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (
            "retrain",
            {
                "as_of": "2013-04-01T00:00:00Z",
                "scope": {"kind": "all", "spans": []},
                "reason": 'decayed: "roc_auc" <0.7>',
                "decision": 7,
                "tune": True,
            },
        ),
        ("redeploy", {"version": None, "decision": 7, "fast": True}),
    ],
)
def test_what_a_decision_starts_gets_its_outputs_with_their_types(
    dags: dict[str, DAG], task: str, expected: dict[str, Any]
) -> None:
    dag = dags["flight_delay.drift_response"]
    said = {
        "decision": 7,
        "event_time": "2013-04-01T00:00:00Z",
        "scope": {"kind": "all", "spans": []},
        "reason": 'decayed: "roc_auc" <0.7>',
        "version": None,
        "tune": True,
    }
    ti = SimpleNamespace(xcom_pull=lambda task_ids, key: said[key])
    template = dag.get_template_env().from_string(dag.get_task(task).conf)
    assert json.loads(template.render(ti=ti)) == expected
    assert [str(fact) for fact in dag.get_task(task).only_if] == [f"action of 'arbitrate' is '{task}'"]


def test_a_persons_wish_waits_for_no_report_and_reaches_the_arbiter(dags: dict[str, DAG]) -> None:
    dag = dags["flight_delay.drift_response"]
    params = {"wish": "redeploy", "version": 3, "reason": "the old world is back"}
    environment = dag.get_template_env()
    assert environment.from_string(dag.get_task("drift_report").unless).render(params=params) == "redeploy"
    assert environment.from_string(dag.get_task("drift_report").unless).render(params={"wish": None}) == ""
    given = dag.get_task("arbitrate").inputs
    inputs = {name: environment.from_string(given[name]).render(params=params) for name in params}
    parsed: Any = parse_inputs("arbitrate", {"report": "", **inputs})
    assert (parsed.report, parsed.wish, parsed.version) == (None, "redeploy", 3)
    # Without a report there is a decision, too.
    assert dag.get_task("arbitrate").trigger_rule == "none_failed"


def test_a_return_is_staged_as_one_and_any_other_candidate_is_not(dags: dict[str, DAG]) -> None:
    dag = dags["flight_delay.canary_promotion"]
    given = dag.get_task("stage").inputs
    for params, expected in (
        ({"version": 3, "fast": True, "decision": 7}, (3, True, 7)),
        ({"version": 3, "fast": False, "decision": None}, (3, False, None)),
    ):
        inputs = {key: dag.get_template_env().from_string(value).render(params=params) for key, value in given.items()}
        parsed: Any = parse_inputs("stage", inputs)
        assert (parsed.version, parsed.fast, parsed.decision) == expected


def test_people_are_told_by_the_tasks_in_which_it_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = "notify:\n  channels:\n    - {kind: webhook, connection: hook}\nresources:\n"
    copy_model(tmp_path / "train_delay", **{"resources:\n": channel})
    found = parse(tmp_path, monkeypatch).dags
    told = {
        f"{name.partition('.')[2]}.{task.task_id}"
        for name, dag in found.items()
        for task in dag.tasks
        if any(isinstance(item, StepNotifier) for item in task.on_success_callback or [])
    }
    assert told == {
        "drift_response.arbitrate",
        "continuous_training.freeze_dataset",
        "model_validation.judge",
        *(f"canary_promotion.{task}" for task in ("shadow", "canary_10", "canary_50", "canary_100", "promote", "roll_back")),
        "promotion_watch.watch",
        "promotion_watch.roll_back",
        "rollout_control.control",
    }  # fmt: skip


def test_a_table_is_scored_in_a_task_a_partition_by_one_version(dags: dict[str, DAG]) -> None:
    dag = dags["flight_delay.batch_scoring"]
    assert [task.task_id for task in dag.topological_sort()] == ["list_partitions", "score", "collect"]
    assert dag.get_task("score").is_mapped
    assert [outlet.name for outlet in dag.get_task("collect").outlets] == ["flight_delay.scores"]
    given = {"table": "tables/*.parquet", "version": None, "no_cache": True}
    inputs = {
        key: dag.get_template_env().from_string(value).render(params=given)
        for key, value in dag.get_task("list_partitions").inputs.items()
    }
    parsed: Any = parse_inputs("list_partitions", inputs)
    assert (parsed.table, parsed.version, parsed.again) == ("tables/*.parquet", None, True)
