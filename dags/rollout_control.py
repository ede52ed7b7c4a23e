"""What a person on call does with a model's rollout: hold, resume, abort, or bring the predecessor back.

**What**: `control` moves the traffic, writes it to the ledger with the reason, and is done. The same as
`kilter rollout hold|resume|abort|rollback <model>`, which is quicker.

**When**: by hand.

**When red**: there is nothing to do that to, as the log says; or HAProxy, a server or MLflow does not answer. Traffic is moved
first: clear the task to do the rest.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.fleet import ACTION, ACTION_REASON, GOES, common
from kilter_airflow.operators import StepOperator


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "rollout_control", __doc__),
        schedule=None,
        params={"action": ACTION, "reason": ACTION_REASON, "version": GOES},
    )
    def rollout_control() -> None:
        wanted = {
            "action": "{{ params.action }}",
            "reason": "{{ params.reason }}",
            "version": "{{ params.version or '' }}",
        }
        StepOperator(task_id="control", step="control_rollout", model=spec.name, inputs=wanted)

    rollout_control()


for spec in specs():
    build(spec)
