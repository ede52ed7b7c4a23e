"""`extract`: take one interval's raw data and commit it as a batch under its digest."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from kilter.errors import InputError
from kilter.spec import Table, UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pyarrow as pa

# Not memoised: a source may deliver corrected data for the same interval. Equal data gives an equal key anyway.
STEP = StepInfo(stores=frozenset({"objects", "source"}), reads=("source",), memoised=False)


class Inputs(StepModel):
    start: UtcTime
    end: UtcTime


class Outputs(StepModel):
    batch: str
    digest: str
    rows: dict[str, int]
    """Rows of each table within the interval, without the context before it."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Commit `batches/<model>/<digest>`, with `source.lookback` of context rows before the interval.

    Raises:
        InputError: the interval ends before it starts or overlaps another one in the store, or the source is
            misconfigured.
        DataError: a file of the source cannot be read; nothing is committed.
        UnavailableError: the source does not answer.
    """
    from kilter.sources.reader import read_source
    from kilter.stores.intervals import check_interval
    from kilter.stores.objects import commit_dataset
    from kilter.stores.parquet import to_parquet

    if inputs.end <= inputs.start:
        raise InputError(f"extract: end {inputs.end} is not after start {inputs.start}: swap them")
    check_interval(context.objects, context.spec.name, inputs.start, inputs.end)
    source = context.spec.source
    tables = read_source(source, context.folder, inputs.start - source.lookback, inputs.end)
    rows = {name: _count(tables[name], table, inputs.start, inputs.end) for name, table in source.tables.items()}
    manifest = commit_dataset(
        context.objects,
        f"batches/{context.spec.name}",
        {f"{name}.parquet": to_parquet(data) for name, data in tables.items()},
        {"start": inputs.start.isoformat(), "end": inputs.end.isoformat(), "rows": rows},
    )
    context.log.info("batch %s: %s", manifest.key, ", ".join(f"{count} {name}" for name, count in rows.items()))
    return Outputs(batch=manifest.key, digest=manifest.digest, rows=rows)


def _count(data: pa.Table, table: Table, start: datetime, end: datetime) -> int:
    """Rows within the interval; 0 when the event time is missing or no time, which validation reports."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.timestamp not in data.column_names or not pa.types.is_timestamp(data[table.timestamp].type):
        return 0
    times = data[table.timestamp]
    inside = pc.and_(pc.greater_equal(times, pa.scalar(start, times.type)), pc.less(times, pa.scalar(end, times.type)))
    return pc.sum(inside).as_py() or 0
