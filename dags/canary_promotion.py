"""Move traffic to a candidate step by step, and undo it if that was wrong.

**What**: `turn` waits until no other candidate is on its way; `stage` loads this one into the canary server; in the `shadow` it
answers copies of live requests, which no user sees; then each `canary_<weight>` gives it that percentage of the requests and
compares both versions. `promote` makes it the champion, until labels tell (`promotion_watch`). `roll_back` always runs at
the end, whatever failed, and does nothing when the candidate was promoted. A first champion is promoted at once.

**When**: when `model_validation` passed a version; when `drift_response` brings a former champion back, which goes by
`canary.fast`; by hand with `version`. A run for a version whose rollout is under way goes on where that is.

**When deferred**: `turn`: another candidate is on its way. Any task from `shadow` to `promote`: the rollout is held, by a person or
because too little could be told in time; all traffic is the champion's. See `kilter rollout status <model>`, then resume or abort it
(`rollout_control`).

**When red**: a server, HAProxy or MLflow does not answer; `roll_back` has sent all traffic to the champion again and ended
the rollout, unless it is held: clear `stage` with everything after it to begin anew. When `roll_back` itself is red, traffic may still be
split and no other candidate can begin: see HAProxy's weights, then clear it at once.

**When skipped after a step**: the canary failed there; the figures are in that task's log.
"""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import chain, dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.conditions import Fact
from kilter_airflow.fleet import DECISION, FAST, VERSION_PARAM, asset, common, passed, rollouts_at_once
from kilter_airflow.operators import HoldableStepOperator, StepOperator
from kilter_airflow.sensors import TurnSensor

PATIENCE = timedelta(days=365)
"""How long a candidate waits for its turn."""


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "canary_promotion", __doc__) | rollouts_at_once(spec),
        schedule=None,
        params={"version": VERSION_PARAM, "fast": FAST, "decision": DECISION},
    )
    def canary_promotion() -> None:
        def step(task: str, name: str, **arguments: object) -> StepOperator:
            return StepOperator(task_id=task, step=name, model=spec.name, **arguments)

        def holdable(task: str, name: str, **arguments: object) -> StepOperator:
            return HoldableStepOperator(task_id=task, step=name, model=spec.name, **arguments)

        version = {"version": "{{ params.version }}"}
        fast = "{{ params.fast }}"
        decision = "{{ params.decision or '' }}"
        stage = step("stage", "stage", inputs={**version, "fast": fast, "decision": decision})
        rollout = {"rollout": "{{ ti.xcom_pull('stage', key='rollout') }}"}
        shadow = holdable("shadow", "shadow", inputs=rollout, only_if=[Fact("stage", "first", False)])
        canaries, condition = [], passed("shadow")
        for weight in spec.canary.weights:
            name = f"canary_{weight}"
            canaries.append(holdable(name, "canary", inputs={**rollout, "weight": weight}, only_if=condition))
            condition = passed(name)
        promote = holdable(
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

        chain(stage, shadow, *canaries, promote, ended)
        promote >> roll_back.as_teardown(on_failure_fail_dagrun=True)
        if spec.canary.second_rollout == "wait":
            TurnSensor(task_id="turn", model=spec.name, timeout=PATIENCE, fast=fast, **version) >> stage

    canary_promotion()


for spec in specs():
    build(spec)
