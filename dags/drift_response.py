"""Decide what to do about the model: retrain it, bring an earlier version back, or wait.

**What**: `drift_report` waits for a report that nobody decided on, `arbitrate` decides by it and all else that is known (labels
that grew, the schedule, a changed environment) and writes the decision with its reason to the ledger. `retrain` starts
`continuous_training` with what to train on and whether to search for parameters first, `redeploy` starts `canary_promotion`, fast, for a former champion.

**When**: whenever a drift report is made, and once a day, because asset events can get lost. The run does not
trust the event: it reads the newest report from the ledger. A report gets one decision at most, and none when a newer one
overtook it. By hand with `wish`, which needs no report and no cooldown; but while one retraining is under way there is no second.

**When red**: `arbitrate`: the ledger or MLflow does not answer, or nobody can do what was wished, as the log says. Clear it; a
decision already taken is not taken twice. `retrain` or `redeploy`: clear it soon, as nothing else may begin meanwhile.

**When skipped**: `drift_report`: none waits for a decision, which holds nothing up. `retrain` and `redeploy`: the decision was
another; why is in `arbitrate`'s log, and beside the run that was started.
"""

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.conditions import Fact
from kilter_airflow.fleet import ACTION_REASON, GOOD_AGAIN, WAITING_RUNS, WISH, asset, common, outputs_of
from kilter_airflow.operators import StageOperator, StepOperator
from kilter_airflow.sensors import EvidentlyDriftSensor


def build(spec: ModelSpec) -> None:
    daily = CronTriggerTimetable("0 6 * * *", timezone="UTC")

    @dag(
        # Beside one another, so that a person need not wait for a report that is waited for; the ledger lets one decide at a time.
        **common(spec, "drift_response", __doc__) | {"max_active_runs": WAITING_RUNS},
        schedule=AssetOrTimeSchedule(timetable=daily, assets=[asset(spec, "drift_report")]),
        params={"wish": WISH, "version": GOOD_AGAIN, "reason": ACTION_REASON},
    )
    def drift_response() -> None:
        def start(task: str, stage: str, conf: str) -> StageOperator:
            return StageOperator(
                task_id=task,
                model=spec.name,
                stage=stage,
                once="decision-{{ ti.xcom_pull('arbitrate', key='decision') }}",
                conf=conf,
                only_if=[Fact("arbitrate", "action", task)],
                note="{{ ti.xcom_pull('arbitrate', key='reason') }}",
            )

        wish = {name: "{{ params." + name + " or '' }}" for name in ("wish", "version", "reason")}
        report = EvidentlyDriftSensor(
            task_id="drift_report", model=spec.name, timeout=timedelta(minutes=10), unless=wish["wish"]
        )
        decision = StepOperator(
            task_id="arbitrate",
            step="arbitrate",
            model=spec.name,
            inputs={"report": report.output, **wish},
            trigger_rule="none_failed",
        )
        training = {"as_of": "event_time", "scope": "scope", "reason": "reason", "decision": "decision", "tune": "tune"}
        retrain = start("retrain", "continuous_training", outputs_of("arbitrate", training))
        back = {"version": "version", "decision": "decision"}
        redeploy = start("redeploy", "canary_promotion", outputs_of("arbitrate", back, fast=True))

        report >> decision >> [retrain, redeploy]

    drift_response()


for spec in specs():
    build(spec)
