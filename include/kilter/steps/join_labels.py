"""`join_labels`: join the predictions of a stretch of event time with the labels known at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.spec import LABEL_KINDS, ModelSpec, UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Not memoised: predictions are logged and labels ingested at any time.
STEP = StepInfo(reads=("entity", "timestamp", "task", "label", "features"), memoised=False)


class Inputs(StepModel):
    """The window of event time, `[start, end)`."""

    start: UtcTime
    end: UtcTime


class Outputs(StepModel):
    window: str
    rows: int
    """Predictions in the window; 0 leaves an empty window, which is inconclusive, not fine."""
    labelled: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Commit `windows/<model>/<digest>` with window.parquet and, of a large window, a sample of it.

    Columns: entity, event time, the features as they were sent, score (of several classes a list), model_version,
    role, and the label (of the task's type, null while unknown). A label counts when its timestamp + `label.delay`
    lies at the window's end or before, just as a training set frozen at that time would count it. Of several
    predictions for one entity and event time the last one logged stays; a row without an entity stays, and has no label.

    Raises:
        DataError: a log object is truncated, has a foreign name, or was logged by a model of another task.
        InputError: the window overlaps an interval with labels without being equal to it, and so would count
            labels of it that another window counts too.
    """
    from kilter.stores.intervals import check_interval
    from kilter.stores.labels import known_labels
    from kilter.stores.predictions import logged_predictions
    from kilter.stores.windows import commit_window

    spec = context.spec
    check_interval(context.objects, spec.name, inputs.start, inputs.end)
    predictions = logged_predictions(context.objects, spec, inputs.start, inputs.end)
    labels = known_labels(context.objects, spec, inputs.end, since=inputs.start)
    window = _join(predictions, labels, spec)
    labelled = window.num_rows - window[spec.label.column].null_count
    manifest = commit_window(context.objects, spec, window, inputs.start, inputs.end, context.seed)
    context.log.info("window %s: %d predictions, %d labelled", manifest.key, window.num_rows, labelled)
    return Outputs(window=manifest.key, rows=window.num_rows, labelled=labelled)


def _join(predictions: pd.DataFrame, labels: pd.DataFrame, spec: ModelSpec) -> pa.Table:
    import pyarrow as pa

    schema = _schema(spec)
    if predictions.empty:
        return schema.empty_table()
    key = [spec.entity, spec.timestamp]
    joined = predictions.merge(labels[[*key, spec.label.column]], on=key, how="left", validate="many_to_one")
    if spec.task == "binary":
        joined[spec.label.column] = joined[spec.label.column].astype("Int8")
    return pa.Table.from_pandas(joined.reindex(columns=schema.names), schema=schema, preserve_index=False)


def _schema(spec: ModelSpec) -> pa.Schema:
    import pyarrow as pa

    kinds = {"numeric": pa.float64(), "categorical": pa.string()}
    features = [(feature.name, kinds[feature.kind]) for feature in spec.features.columns]
    return pa.schema(
        [
            (spec.entity, pa.string()),
            (spec.timestamp, pa.timestamp("us", tz="UTC")),
            *features,
            ("score", pa.list_(pa.float64()) if spec.label.classes else pa.float64()),
            ("model_version", pa.int64()),
            ("role", pa.string()),
            (spec.label.column, pa.type_for_alias(LABEL_KINDS[spec.task])),
        ]
    )
