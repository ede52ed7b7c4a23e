"""Compare an interval's live predictions with what the champion was trained on.

**What**: `join_labels` joins the prediction log with the labels known by now, `report_drift` judges data drift and
performance with Evidently and keeps the report.

**When**: at the end of every interval of `schedule.cron`; by hand with `interval_start` and `interval_end`.

**When red**: `join_labels`: the prediction log or the labels cannot be read; has `feature_ingestion` of this interval
run? `report_drift`: there is no champion to compare with, or a store does not answer. Clear the red task.

A drifted window is not red: the verdict is in the log, the report under `reports/`, and `drift_response` decides.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.fleet import INTERVAL, INTERVAL_PARAMS, NO_CACHE, asset, common, every_interval
from kilter_airflow.operators import StepOperator


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "drift_monitoring", __doc__),
        schedule=every_interval(spec),
        params={**INTERVAL_PARAMS, "no_cache": NO_CACHE},
    )
    def drift_monitoring() -> None:
        window = StepOperator(task_id="join_labels", step="join_labels", model=spec.name, inputs=INTERVAL)
        report = StepOperator(
            task_id="report_drift",
            step="report_drift",
            model=spec.name,
            inputs={**INTERVAL, "window": window.output["window"]},
            outlets=[asset(spec, "drift_report")],
            tells=["report", "uri", "html", "verdict", "alert"],
        )

        window >> report

    drift_monitoring()


for spec in specs():
    build(spec)
