"""Close a batch scoring: one small manifest over the scores of all partitions."""

from __future__ import annotations

from kilter.errors import DataError
from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(memoised=False)


class Inputs(StepModel):
    table: str
    version: int
    scores: list[str]
    """Keys that `score_partition` gave."""


class Outputs(StepModel):
    scored: str
    """Key of the manifest."""
    table: str
    version: int
    rows: int
    without_features: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Commit `scored/<model>/<digest>`: each partition with the key of its scores, and the run that asked for them.

    Raises:
        DataError: scores of a partition were never committed or were altered, or the whole table has no row.
    """
    from kilter.stores.objects import commit_dataset
    from kilter.stores.score_sets import read_scores

    name = context.spec.name
    found = {key: read_scores(context.objects, key) for key in inputs.scores}
    rows, without = (sum(getattr(one, count) for one in found.values()) for count in ("rows", "without_features"))
    if not rows:
        raise DataError(f"table '{inputs.table}' has no rows in its {len(found)} files: nothing was scored: deliver it")
    facts = {
        "table": inputs.table,
        "version": inputs.version,
        "dag_id": context.run.dag_id,
        "run_id": context.run.run_id,
        "rows": rows,
        "without_features": without,
        "partitions": [
            {
                "partition": one.request.partition,
                "scores": key,
                "rows": one.rows,
                "without_features": one.without_features,
            }
            for key, one in found.items()
        ],
    }
    manifest = commit_dataset(context.objects, f"scored/{name}", {}, facts)
    context.log.info("%s: %d rows, of %d of them nothing was known", manifest.key, rows, without)
    return Outputs(scored=manifest.key, table=inputs.table, version=inputs.version, rows=rows, without_features=without)
