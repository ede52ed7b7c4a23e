"""Watch a new champion as labels come, and bring its predecessor back if that was better.

**What**: `watch` scores the new champion's labelled requests by its predecessor and compares both: surely not worse, the
promotion is settled; surely worse by more than `watch.allowed_regression`, `roll_back` gives the champion's role back.

**When**: when features and labels of a new interval came; by hand, with the time up to which labels count.

**When red**: `watch`: the log or a model cannot be read. `roll_back`: a server, HAProxy or MLflow does not answer: clear it at once.

**When skipped**: `roll_back`: there is nothing to bring back, as the log of `watch` says.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.conditions import Fact
from kilter_airflow.fleet import LABELS_BY, asset, common
from kilter_airflow.operators import StepOperator


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "promotion_watch", __doc__),
        schedule=[asset(spec, "features")],
        params={"as_of": LABELS_BY},
    )
    def promotion_watch() -> None:
        as_of = {"as_of": "{{ params.as_of or '' }}"}
        watch = StepOperator(task_id="watch", step="watch", model=spec.name, inputs=as_of)
        back = StepOperator(
            task_id="roll_back",
            step="control_rollout",
            model=spec.name,
            inputs={"action": "rollback", "reason": watch.output["reason"], "version": watch.output["version"]},
            only_if=[Fact("watch", "action", "roll_back")],
            outlets=[asset(spec, "champion")],
        )

        watch >> back

    promotion_watch()


for spec in specs():
    build(spec)
