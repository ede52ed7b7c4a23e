"""One door to every kind of source: raw tables of a stretch of time, in one canonical form."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kilter.errors import DataError
from kilter.sources.files import read_files
from kilter.sources.python import call_function
from kilter.sources.s3 import read_objects
from kilter.spec import Source, Table

if TYPE_CHECKING:
    import pyarrow as pa

Reader = Callable[[Source, Path, datetime, datetime], "dict[str, pa.Table]"]

READERS: dict[str, Reader] = {"python": call_function, "files": read_files, "s3": read_objects}


def read_source(source: Source, folder: Path, start: datetime, end: datetime) -> dict[str, pa.Table]:
    """Read every table of `source` for `[start, end)`.

    Rows come ordered by event time and key, times as UTC microseconds (a time without a zone is
    taken as UTC), so that equal data gives equal bytes.

    Args:
        folder: the model's folder; holds source.py and anchors relative paths.

    Raises:
        InputError: the source is misconfigured.
        DataError: a file cannot be read, or a table of the spec is not delivered.
        UnavailableError: S3 does not answer.
    """
    tables = READERS[source.kind](source, folder, start, end)
    if set(tables) != set(source.tables):
        raise DataError(
            f"model '{folder.name}': its source ({source.kind}) gave the tables {sorted(tables)}, "
            f"model.yaml lists {sorted(source.tables)}: make them agree"
        )
    return {name: _canonical(tables[name], table) for name, table in source.tables.items()}


def _canonical(data: pa.Table, table: Table) -> pa.Table:
    import pyarrow as pa

    columns = {field.name: canonical_column(data.column(field.name)) for field in data.schema}
    order = [(name, "ascending") for name in dict.fromkeys((table.timestamp, *table.key)) if name in columns]
    plain = pa.table(columns)
    return plain.sort_by(order) if order else plain


def canonical_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as UTC microseconds (one without a zone is taken as UTC), texts as plain texts; all else as it is."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", tz="UTC"), safe=False)
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type):
        return column.cast(pa.string())
    return column
