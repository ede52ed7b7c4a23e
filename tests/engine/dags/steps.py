"""DAGs of one task each, for every test model: what is tested is how the task runs."""

from datetime import timedelta

from airflow.sdk import DAG

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.operators import StepOperator
from kilter_airflow.reaper import ReapOperator
from kilter_airflow.sensors import EvidentlyDriftSensor


def build(spec: ModelSpec) -> None:
    retried = {"retries": 2, "retry_delay": timedelta(seconds=1)}
    with DAG(
        f"{spec.name}.extract",
        schedule=None,
        default_args=retried,
        params={"start": "2000-01-01T00:00:00Z", "end": "2001-01-01T00:00:00Z"},
    ):
        interval = {"start": "{{ params.start }}", "end": "{{ params.end }}"}
        StepOperator(task_id="extract", step="extract", model=spec.name, inputs=interval)

    with DAG(f"{spec.name}.train", schedule=None, default_args=retried, params={"snapshot": "none", "no_cache": False}):
        StepOperator(task_id="train", step="train", model=spec.name, inputs={"snapshot": "{{ params.snapshot }}"})

    with DAG(f"{spec.name}.response", schedule=None):
        EvidentlyDriftSensor(task_id="drift_report", model=spec.name, poke_interval=1, timeout=timedelta(minutes=5))
        EvidentlyDriftSensor(task_id="hurried", model=f"{spec.name}_without_reports", poke_interval=1, timeout=5)


for spec in specs():
    build(spec)

with DAG("tests.reaper", schedule=None):
    ReapOperator(task_id="reap", retries=2, retry_delay=timedelta(seconds=1))
