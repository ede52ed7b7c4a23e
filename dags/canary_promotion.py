"""Move traffic to a candidate step by step, and undo it if that was wrong.

**What**: `stage` loads the candidate into the canary server; then for each weight of `canary.weights` a `shift` moves
traffic and a `judge` compares both arms on real requests; `promote` makes the candidate the champion. `roll_back` always
runs at the end, whatever failed, and does nothing when the candidate was promoted. A first champion is promoted
without shifts.

**When**: when `model_validation` passed a version; by hand with `version`.

**When red**: a server, HAProxy or MLflow does not answer; `roll_back` has sent all traffic to the champion again and ended
the rollout: clear `stage` with everything after it to begin anew. When `roll_back` itself is red, traffic may still be
split and no other candidate can begin: see HAProxy's weights, then clear it at once.

**When skipped after a judge**: the canary failed, or too few requests came to tell; the figures are in the judge's log.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import chain, dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.conditions import Fact
from kilter_airflow.fleet import VERSION_PARAM, asset, common, passed
from kilter_airflow.operators import StepOperator


def build(spec: ModelSpec) -> None:
    @dag(**common(spec, "canary_promotion", __doc__), schedule=None, params={"version": VERSION_PARAM})
    def canary_promotion() -> None:
        def step(task: str, name: str, **arguments: object) -> StepOperator:
            return StepOperator(task_id=task, step=name, model=spec.name, **arguments)

        version = {"version": "{{ params.version }}"}
        stage = step("stage", "stage", inputs=version)
        rollout = {"rollout": "{{ ti.xcom_pull('stage', key='rollout') }}"}
        condition = [Fact("stage", "first", False)]
        rungs = []
        for weight in spec.canary.weights:
            weighed = {**rollout, "weight": weight}
            rungs += [
                step(f"shift_{weight}", "shift", inputs=weighed, only_if=condition),
                step(f"judge_{weight}", "judge_canary", inputs=weighed),
            ]
            condition = passed(f"judge_{weight}")
        promote = step(
            "promote",
            "promote",
            inputs=rollout,
            only_if=[Fact("stage", "first", True), *condition],
            trigger_rule="none_failed",
            outlets=[asset(spec, "champion")],
        )
        # By version and without a setup: it must also run when `stage` died before it could tell the rollout.
        roll_back = step("roll_back", "roll_back", inputs=version)
        # Teardowns do not colour a run; this leaf, which costs no worker, makes it red when a task before it was.
        ended = EmptyOperator(task_id="ended")

        chain(stage, *rungs, promote, ended)
        promote >> roll_back.as_teardown(on_failure_fail_dagrun=True)

    canary_promotion()


for spec in specs():
    build(spec)
