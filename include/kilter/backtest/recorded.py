"""A managed model's history, as its installation recorded it: one window an ingested interval."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from kilter.backtest.history import History
from kilter.errors import DataError
from kilter.labelled_rows import labelled_rows, reach
from kilter.spec import ModelSpec
from kilter.step import StepContext

if TYPE_CHECKING:
    import pandas as pd


def recorded(
    context: StepContext, first: datetime | None = None, last: datetime | None = None, initial: int | None = None
) -> History:
    """The labelled rows of every passed interval, with their features as of their event time.

    Args:
        first: leave out intervals that begin earlier; default none.
        last: leave out intervals that end later; default none.
        initial: windows that the first model learns from; default the fewest with `training.minimum_rows` rows, at least two.

    Raises:
        InputError: nothing was ingested.
        DataError: too few intervals between the two times.
    """
    spec = context.spec
    end = last or reach(spec, context.ledger)
    batches = context.ledger.batches(spec.name, before=end, verdict="passed")
    spans = sorted(
        {
            (row["interval_start"], row["interval_end"])
            for row in batches
            if first is None or row["interval_start"] >= first
        }
    )
    # Labels of the last interval may be known only after it: the newest of them are left out, as in production.
    frame, _ = labelled_rows(context, end, spans[0][0] if spans else None)
    if not spans or frame.empty:
        raise DataError(
            f"model '{spec.name}' has no labelled interval from {first} to {end}: ingest some, or take a longer stretch"
        )
    return of_rows(spec, frame, spans, initial)


def of_rows(
    spec: ModelSpec, frame: pd.DataFrame, spans: Sequence[tuple[datetime, datetime]], initial: int | None = None
) -> History:
    """A history of labelled rows in the order of event time: columns as `labelled_rows` gives them.

    Args:
        spans: the windows; rows outside of them are left out.
        initial: as in `recorded`.
    """
    times = frame[spec.timestamp].dt.tz_localize(None).to_numpy("datetime64[us]")
    starts = np.array([start.replace(tzinfo=None) for start, _ in spans], dtype="datetime64[us]")
    inside = (times >= starts[0]) & (times < np.datetime64(spans[-1][1].replace(tzinfo=None)))
    frame, times = frame[inside].reset_index(drop=True), times[inside]
    edges = [*np.searchsorted(times, starts).tolist(), len(frame)]
    known = frame[spec.label.timestamp].dt.tz_localize(None).to_numpy("datetime64[us]") + np.timedelta64(
        spec.label.delay
    )
    enough = next((place for place in range(2, len(edges)) if edges[place] >= spec.training.minimum_rows), 2)
    return History(
        spec=spec,
        frame=frame,
        edges=edges,
        spans=spans,
        names=[f"{start:%Y-%m-%d %H:%M}".removesuffix(" 00:00") for start, _ in spans],
        known_at=known,
        initial=initial or enough,
    )
