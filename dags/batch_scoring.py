"""Score a whole table with the champion, or with a version that is named.

**What**: `list_partitions` finds the table's Parquet files and the version, `score` scores each file in a task of its own, with
the features that were known at each row's time, `collect` writes one manifest over all of them. Scores lie below `scores/` in
the object store, the manifest below `scored/`; who waits for `<model>.scores` is told.

**When**: by hand, or by another DAG. `table` is a pattern of keys in the object store or `s3://bucket/pattern`; without it, all
features that were ingested say who is scored, and when.

**When red**: `list_partitions`: no file matches, or there is no champion. `score`: a file is no Parquet, or lacks who or when in a
row, as the error says; or features were built anew at each try. Clear the red task: what was scored is not scored again.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.fleet import NO_CACHE, SCORED_BY, TABLE, asset, common
from kilter_airflow.operators import StepOperator


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "batch_scoring", __doc__),
        schedule=None,
        params={"table": TABLE, "version": SCORED_BY, "no_cache": NO_CACHE},
    )
    def batch_scoring() -> None:
        listed = StepOperator(
            task_id="list_partitions",
            step="list_partitions",
            model=spec.name,
            inputs={
                "table": "{{ params.table }}",
                "version": "{{ params.version or '' }}",
                "again": "{{ params.no_cache }}",
            },
            each="partitions",
        )
        score = StepOperator.partial(
            task_id="score",
            step="score_partition",
            model=spec.name,
            map_index_template="{{ task.inputs.partition }}",
        ).expand(inputs=listed.output)
        StepOperator(
            task_id="collect",
            step="collect_scores",
            model=spec.name,
            inputs={
                "table": listed.output["table"],
                "version": listed.output["version"],
                "scores": score.output["scores"],
            },
            outlets=[asset(spec, "scores")],
            tells=["scored", "table", "version", "rows", "without_features"],
        )

    batch_scoring()


for spec in specs():
    build(spec)
