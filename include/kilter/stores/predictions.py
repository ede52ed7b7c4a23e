"""The prediction log, read: `predictions/<model>/…`, one row a scored row."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kilter.keys import prediction_span
from kilter.spec import ModelSpec
from kilter.stores.objects import ObjectStore
from kilter.stores.parquet import from_parquet

if TYPE_CHECKING:
    import pandas as pd

SHADOW = "shadow"
"""The role of a version that scored a copy of a request; somebody else's answer went to the client."""


def logged_predictions(objects: ObjectStore, spec: ModelSpec, start: datetime, end: datetime) -> pd.DataFrame:
    """What clients were answered for event times in `[start, end)`.

    Returns:
        The log's columns (`kilter.serving.prediction_log`); of several answers for one entity and event time the last
        one logged, and every row without an entity. No columns when nothing was logged.

    Raises:
        DataError: a log object is truncated or has a foreign name.
    """
    import pandas as pd

    frames = []
    for name in objects.list(f"predictions/{spec.name}/"):
        first, last = prediction_span(name)
        # Names tell whole seconds.
        if first < end and last + timedelta(seconds=1) > start:
            frames.append(from_parquet(objects.get(name), objects.uri(name)).to_pandas())
    if not frames:
        return pd.DataFrame()
    rows = pd.concat(frames, ignore_index=True)
    answered = rows[rows[spec.timestamp].between(start, end, inclusive="left") & (rows["role"] != SHADOW)]
    key = [spec.entity, spec.timestamp]
    ordered = answered.sort_values([*key[::-1], "logged_at", "request_id"], kind="stable")
    return ordered[ordered[spec.entity].isna() | ~ordered.duplicated(key, keep="last")]
