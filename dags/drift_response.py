"""Decide what to do about the newest drift report: retrain or wait.

**What**: `EvidentlyDriftSensor` waits for a report that nobody decided on, `arbitrate` decides and writes the decision
with its reason to the ledger, `retrain` starts `continuous_training` where that was the decision.

**When**: whenever a drift report is made, and once a day, because asset events can get lost. The run does not
trust the event: it reads the newest report from the ledger. A report gets one decision at most, and none when a newer one
overtook it.

**When red**: `arbitrate`: the ledger or MLflow does not answer. Clear it; a decision already taken is not taken twice.

**When skipped**: no report waits for a decision; or the decision was to wait, and its reason is in `arbitrate`'s log.
"""

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.conditions import Fact
from kilter_airflow.fleet import asset, common
from kilter_airflow.operators import StageOperator, StepOperator
from kilter_airflow.sensors import EvidentlyDriftSensor


def build(spec: ModelSpec) -> None:
    daily = CronTriggerTimetable("0 6 * * *", timezone="UTC")

    @dag(
        **common(spec, "drift_response", __doc__),
        schedule=AssetOrTimeSchedule(timetable=daily, assets=[asset(spec, "drift_report")]),
    )
    def drift_response() -> None:
        report = EvidentlyDriftSensor(task_id="drift_report", model=spec.name, timeout=timedelta(minutes=10))
        decision = StepOperator(
            task_id="arbitrate", step="arbitrate", model=spec.name, inputs={"report": report.output}
        )
        retrain = StageOperator(
            task_id="retrain",
            model=spec.name,
            stage="continuous_training",
            once="decision-{{ ti.xcom_pull('arbitrate', key='decision') }}",
            conf={"as_of": decision.output["event_time"], "reason": decision.output["reason"]},
            only_if=[Fact("arbitrate", "action", "retrain")],
        )

        report >> decision >> retrain

    drift_response()


for spec in specs():
    build(spec)
