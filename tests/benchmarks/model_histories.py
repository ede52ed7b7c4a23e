"""Histories of bundled models, straight from their source and features: no installation, no ingestion."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise, takewhile
from pathlib import Path

import pandas as pd
from croniter import croniter

from kilter.backtest.history import History
from kilter.backtest.recorded import of_rows
from kilter.model_code import load_function
from kilter.spec import ModelSpec, load_spec

MODELS = Path(__file__).parents[2] / "include/models"


def history(model: str, initial: int, last: datetime | None = None) -> History:
    """All labelled rows of a model's source, each at its own event time; windows are the intervals of its schedule.

    Args:
        initial: windows that the first model learns from.
        last: where to end; default the end of the schedule.
    """
    spec = load_spec(MODELS / model)
    end = last or spec.schedule.end
    assert end is not None
    times = croniter(spec.schedule.cron, spec.schedule.start, ret_type=datetime).all_next()
    starts = [spec.schedule.start, *takewhile(lambda time: time <= end, times)]
    return of_rows(spec, rows(spec, MODELS / model, end), list(pairwise(starts)), initial)


def rows(spec: ModelSpec, folder: Path, end: datetime) -> pd.DataFrame:
    """Features and labels of every event up to `end`, in the order of event time."""
    import ibis

    tables = load_function(folder, "source.py", "extract")(spec.schedule.start, end)
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    for name, frame in tables.items():
        connection.con.register(name, frame)
    known = {name: connection.table(name) for name in tables}
    features = load_function(folder, "features.py", "build")(known, spec.label.delay).to_pandas()
    labels = load_function(folder, "features.py", "labels")(known).to_pandas()
    key = [spec.entity, spec.timestamp]
    joined = labels.merge(features, on=key, validate="one_to_one").sort_values(key[::-1], ignore_index=True)
    for column in (spec.timestamp, spec.label.timestamp):
        joined[column] = pd.to_datetime(joined[column], utc=True)
    return joined
