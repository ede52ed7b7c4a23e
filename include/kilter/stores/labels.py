"""Labels: `labels/<model>/<interval start>.parquet`, each with the time at which its outcome was known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kilter.errors import DataError
from kilter.keys import intervals_touching
from kilter.spec import LABEL_KINDS, ModelSpec
from kilter.stores.objects import ObjectStore
from kilter.stores.parquet import from_parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def known_labels(objects: ObjectStore, spec: ModelSpec, as_of: datetime, since: datetime | None = None) -> pd.DataFrame:
    """Labels that had reached us by `as_of`: label timestamp + `label.delay` ≤ `as_of`.

    Args:
        as_of: event time, never the wall clock.
        since: leave out labels of earlier event times; default none.

    Returns:
        Columns entity, event time, label (as the spec's `Label` describes it), label timestamp; in the order of
        intervals, and no rows when nothing is known.

    Raises:
        DataError: an object is truncated, or holds the labels of another task.
    """
    import pyarrow as pa

    since = since or datetime.min.replace(tzinfo=UTC)
    keys = intervals_touching(objects.list(f"labels/{spec.name}/"), since, as_of)
    schema = _schema(spec)
    tables = [_of_task(from_parquet(objects.get(key), objects.uri(key)), key, spec) for key in keys]
    labels = pa.concat_tables([schema.empty_table(), *tables]).to_pandas()
    known = (labels[spec.label.timestamp] + spec.label.delay <= as_of) & (labels[spec.timestamp] >= since)
    return labels[known].reset_index(drop=True)


def _of_task(table: pa.Table, key: str, spec: ModelSpec) -> pa.Table:
    schema = _schema(spec)
    found, wanted = (names.field(spec.label.column).type for names in (table.schema, schema))
    if found != wanted:
        raise DataError(
            f"{key}: '{spec.label.column}' is {found}, of another task than model.yaml says now: task: {spec.task} takes "
            f"{wanted}: run {spec.name}.feature_ingestion of that interval again"
        )
    return table.select(schema.names)


def _schema(spec: ModelSpec) -> pa.Schema:
    import pyarrow as pa

    time = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            (spec.entity, pa.string()),
            (spec.timestamp, time),
            (spec.label.column, pa.type_for_alias(LABEL_KINDS[spec.task])),
            (spec.label.timestamp, time),
        ]
    )
