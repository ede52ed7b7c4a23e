"""Turn one interval's raw data into features.

**What**: `extract` commits the raw batch under its digest, `validate_batch` judges it, `build_features` writes
features and labels, `materialize` fills the online store.

**When**: at the end of every interval of `schedule.cron`. Past intervals: `airflow backfill create`. By hand:
with `interval_start` and `interval_end`; one that overlaps an interval in the store is refused. The same interval again
gives equal bytes.

**When red**: `extract`: the source does not answer, or `source.py` has a fault. `materialize`: the feature store
does not answer. Clear the red task once the cause is gone; nothing half-written was left.

**When skipped after `validate_batch`**: the batch is bad. The task's log names each failed expectation with what was
observed; the batch is under `quarantine/`, and the last good features stay in use. Repair the source, then clear the run.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.fleet import INTERVAL, INTERVAL_PARAMS, NO_CACHE, asset, common, every_interval, passed
from kilter_airflow.operators import StepOperator


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "feature_ingestion", __doc__),
        schedule=every_interval(spec),
        params={**INTERVAL_PARAMS, "no_cache": NO_CACHE},
    )
    def feature_ingestion() -> None:
        extract = StepOperator(task_id="extract", step="extract", model=spec.name, inputs=INTERVAL)
        batch = {**INTERVAL, "batch": extract.output["batch"]}
        validate = StepOperator(task_id="validate_batch", step="validate_batch", model=spec.name, inputs=batch)
        features = StepOperator(
            task_id="build_features",
            step="build_features",
            model=spec.name,
            inputs=batch,
            only_if=passed("validate_batch"),
        )
        materialize = StepOperator(
            task_id="materialize",
            step="materialize",
            model=spec.name,
            inputs={**INTERVAL, "digest": features.output["digest"]},
            outlets=[asset(spec, "features")],
        )

        extract >> validate >> features >> materialize

    feature_ingestion()


for spec in specs():
    build(spec)
