"""The prediction log, read: `predictions/<model>/…`, one row a scored row."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kilter.errors import DataError
from kilter.keys import CLASSES, prediction_span
from kilter.scores import from_column, in_order, to_column
from kilter.spec import ModelSpec
from kilter.stores.objects import ObjectStore
from kilter.stores.parquet import from_parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SHADOW = "shadow"
"""The role of a version that scored a copy of a request; somebody else's answer went to the client."""


def logged_predictions(objects: ObjectStore, spec: ModelSpec, start: datetime, end: datetime) -> pd.DataFrame:
    """What clients were answered for event times in `[start, end)`.

    Returns:
        The log's columns (`kilter.serving.log_table`); of several answers for one entity and event time the last
        one logged, and every row without an entity. Lists of scores are in the order of `label.classes`, also those of a
        version that was trained on other classes: what it did not know, it gave a probability of 0. No columns when
        nothing was logged.

    Raises:
        DataError: a log object is truncated, has a foreign name, or was logged by a model of another task.
    """
    import pandas as pd

    frames = []
    for name in objects.list(f"predictions/{spec.name}/"):
        first, last = prediction_span(name)
        # Names tell whole seconds.
        if first < end and last + timedelta(seconds=1) > start:
            frames.append(_frame(from_parquet(objects.get(name), objects.uri(name)), spec, objects.uri(name)))
    if not frames:
        return pd.DataFrame()
    rows = pd.concat(frames, ignore_index=True)
    answered = rows[rows[spec.timestamp].between(start, end, inclusive="left") & (rows["role"] != SHADOW)]
    key = [spec.entity, spec.timestamp]
    ordered = answered.sort_values([*key[::-1], "logged_at", "request_id"], kind="stable")
    return ordered[ordered[spec.entity].isna() | ~ordered.duplicated(key, keep="last")]


def _frame(table: pa.Table, spec: ModelSpec, name: str) -> pd.DataFrame:
    """What one object holds, its scores in the order of the spec's classes; `name` is for the error."""
    import pyarrow as pa

    field, classes = table.schema.field("score"), spec.label.classes
    if pa.types.is_list(field.type) != bool(classes):
        raise DataError(
            f"{name} holds scores of type {field.type}, which none of task {spec.task} is: give a model of another task a "
            "name of its own"
        )
    frame = table.to_pandas()
    known = tuple(json.loads((field.metadata or {}).get(CLASSES, json.dumps(classes))))
    if known != classes:
        frame["score"] = to_column(in_order(from_column(frame["score"], known), known, classes))
    return frame
