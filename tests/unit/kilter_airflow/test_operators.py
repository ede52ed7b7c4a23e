"""`StepOperator` in the process runtime: what its errors mean to Airflow, and what it reuses."""

import os
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from kilter.step import Result
from kilter.stores.objects import MemoryObjects
from kilter_airflow.conditions import Fact
from kilter_airflow.job import StepJob
from kilter_airflow.operators import StepOperator
from kilter_airflow.settings import RuntimeSettings

pytestmark = pytest.mark.usefixtures("home")


@dataclass
class Task:
    """What the operator asks of a running task instance."""

    outputs: dict[tuple[str, str], Any] = field(default_factory=dict)
    pushed: dict[str, Any] = field(default_factory=dict)
    dag_id: str = "waiting.dag"
    run_id: str = "run"
    task_id: str = "extract"
    try_number: int = 1
    map_index: int = -1
    dag_version_id: str = "v1"
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    bundle_instance: Any = field(default_factory=lambda: SimpleNamespace(version="abc"))

    def xcom_pull(self, task_ids: str, key: str, **_: Any) -> Any:
        return self.outputs.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(**outputs: Any) -> dict[str, Any]:
    return {"ti": Task({("judge", key): value for key, value in outputs.items()}), "params": {}}


def extract(start: int, end: int, **arguments: Any) -> StepOperator:
    inputs = {"start": f"{start}-01-01T00:00:00Z", "end": f"{end}-01-01T00:00:00Z"}
    return StepOperator(task_id="extract", step="extract", model="waiting", inputs=inputs, **arguments)


def run(operator: StepOperator, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Execute as a task runner does, without its guard against nested calls."""
    return operator._result(given or context()).outputs


def test_a_step_returns_its_outputs(home: Path) -> None:
    outputs = run(extract(2000, 2001))
    assert outputs["batch"].startswith("batches/waiting/")
    assert outputs["rows"] == {"facts": 1}


def training_job(**resources: Any) -> StepJob:
    operator = StepOperator(task_id="train", step="train", model="waiting", inputs={"snapshot": "s"})
    settings = RuntimeSettings.from_environment(os.environ)
    job = operator._job(context(), settings, operator._open_runtime(settings))
    return replace(job, spec=job.spec.model_copy(update={"resources": job.spec.resources.model_copy(update=resources)}))


def test_upgraded_packages_reuse_no_old_result(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = training_job()
    assert before.key == training_job().key
    assert before.run.image == ""
    package = tmp_path / "site/extra-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert training_job().key != before.key


@pytest.mark.parametrize(("device", "reused"), [("cpu", False), ("cuda", True)])
def test_what_a_fallback_gave_on_the_cpu_is_not_reused_where_a_gpu_is_asked_for(
    home: Path, device: str, reused: bool
) -> None:
    job = training_job(gpu=1, fallback="cpu")
    result = Result(step="train", model="waiting", outputs={}, run=job.run, device=device, seconds=1, started_at=0)
    objects = MemoryObjects()
    objects.put(job.key, result.model_dump_json().encode())
    operator = StepOperator(task_id="train", step="train", model="waiting", inputs={"snapshot": "s"})
    assert (operator._committed(objects, job) == result) is reused


def test_wrong_input_is_not_tried_again(home: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"no retry cures: InputError: extract: end .* is not after start"):
        run(extract(2002, 2001))


def test_an_input_of_the_wrong_type_is_refused_before_anything_starts(home: Path) -> None:
    operator = StepOperator(task_id="x", step="extract", model="waiting", inputs={"start": "soon"})
    with pytest.raises(AirflowFailException, match=r"InputError: step 'extract' inputs: start: .*\(got 'soon'\); end"):
        operator.execute.__wrapped__(operator, context())


def test_a_missing_engine_is_a_clear_error_and_no_other_runtime_is_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILTER_RUNTIME", "docker")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/no.sock")
    operator = extract(2000, 2001)
    with pytest.raises(
        AirflowException, match=r"no Docker engine answers .*make engine.*KILTER_RUNTIME=process"
    ) as caught:
        operator.execute.__wrapped__(operator, context())
    assert not isinstance(caught.value, AirflowFailException)
    assert not (home / "store/begun").exists()


def test_the_events_of_a_tasks_assets_carry_what_the_step_tells(home: Path) -> None:
    batch = Asset("waiting.batch")
    events = {batch: SimpleNamespace(extra={})}
    operator = extract(2000, 2001, outlets=[batch], tells=["batch"])
    outputs = operator.execute.__wrapped__(operator, context() | {"outlet_events": events})
    assert events[batch].extra == {"batch": outputs["batch"]}


def test_a_task_that_another_is_mapped_over_returns_the_list_and_tells_the_rest_by_name(home: Path) -> None:
    operator = extract(2000, 2001, each="rows")
    given = context()
    assert operator.execute.__wrapped__(operator, given) == {"facts": 1}
    assert given["ti"].pushed.keys() == {"batch", "digest"}
    assert not operator.multiple_outputs


@pytest.mark.parametrize("name", ["{{ params.secret }}", "{# no comment"])
def test_what_a_task_is_mapped_over_is_data_and_no_template(name: str) -> None:
    partition = f"tables/{name}.parquet"
    with DAG("table", params={"secret": "told"}) as dag:
        listed = StepOperator(task_id="listed", step="list_partitions", model="waiting", inputs={}, each="partitions")
        mapped = StepOperator.partial(task_id="score", step="score_partition", model="waiting").expand(
            inputs=listed.output
        )
    ran = Task({("listed", "return_value"): [{"partition": "other"}, {"partition": partition}]}, map_index=1)
    given: Any = {"ti": ran, "task": mapped, "dag": dag, "dag_run": SimpleNamespace(conf={})}
    mapped.render_template_fields(given)
    assert given["task"].inputs == {"partition": partition}


def test_a_task_whose_fact_does_not_hold_is_skipped_and_says_which() -> None:
    operator = extract(2000, 2001, only_if=[Fact("judge", "verdict", "passed"), Fact("judge", "first", True)])
    with pytest.raises(AirflowSkipException, match="verdict of 'judge' is 'passed' or if first of 'judge' is True"):
        operator.pre_execute(context(verdict="failed", first=False))


def test_a_task_runs_when_one_of_its_facts_holds() -> None:
    operator = extract(2000, 2001, only_if=[Fact("judge", "verdict", "passed"), Fact("judge", "first", True)])
    operator.pre_execute(context(verdict="failed", first=True))


def test_a_task_that_put_out_nothing_is_no_fact() -> None:
    with pytest.raises(AirflowSkipException):
        extract(2000, 2001, only_if=[Fact("judge", "verdict", "passed")]).pre_execute(context())
