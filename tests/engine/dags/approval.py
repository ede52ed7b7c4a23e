"""The end of the gate, from its verdict on: a person is asked, the answer is kept, and counts.

Version, holdout and the verdict's action are Params, so that no model needs to be trained for it.
"""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Context, get_current_context, task

from kilter.spec import ModelSpec
from kilter_airflow.approval import AskOperator
from kilter_airflow.catalogue import spec_of
from kilter_airflow.conditions import Fact
from kilter_airflow.operators import StageOperator, StepOperator

VERSION = "{{ params.version }}"


def build(name: str, spec: ModelSpec) -> None:
    retried = {"retries": 2, "retry_delay": timedelta(seconds=1)}
    with DAG(name, schedule=None, default_args=retried, params={"version": 1, "holdout": "", "action": "ask"}):

        @task(multiple_outputs=True)
        def choose_candidate() -> dict[str, object]:
            return {"version": params()["version"]}

        @task(multiple_outputs=True)
        def judge() -> dict[str, object]:
            return {"verdict": "passed", "action": params()["action"], "reason": "all passed", "report": "reports/a"}

        ask = AskOperator(task_id="ask", spec=spec, only_if=[Fact("judge", "action", "ask")])
        inputs = {"version": VERSION, "holdout": "{{ params.holdout }}", **ask.answer}
        record = StepOperator(task_id="record_approval", step="record_approval", model=spec.name, inputs=inputs)
        promote = StageOperator(
            task_id="promote",
            model=spec.name,
            stage="canary_promotion",
            once=f"version-{VERSION}",
            conf=f'{{"version": {VERSION}}}',
            only_if=[Fact("judge", "action", "promote"), Fact("record_approval", "approved", True)],
            trigger_rule="none_failed",
        )
        choose_candidate() >> judge() >> ask >> record >> promote


def params() -> dict[str, object]:
    context: Context = get_current_context()
    return context["params"]


waiting = spec_of("waiting")
hurried = waiting.gate.model_copy(update={"approval_within": timedelta(seconds=3)})
build("waiting.approval", waiting)
build("waiting.hurried_approval", waiting.model_copy(update={"gate": hurried}))

with DAG("waiting.canary_promotion", schedule=None, params={"version": 1}):
    EmptyOperator(task_id="stage")
