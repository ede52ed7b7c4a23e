"""Source kind `files`: Parquet or CSV files on the local disk."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kilter.errors import DataError, InputError
from kilter.spec import Source
from kilter.stores.parquet import from_parquet

if TYPE_CHECKING:
    import pyarrow as pa


def read_files(source: Source, folder: Path, start: datetime, end: datetime) -> dict[str, pa.Table]:
    """Read each table from the files that its `path` matches, a glob below the model's folder or absolute.

    Raises:
        DataError: nothing matches, or a file is truncated or neither Parquet nor CSV.
    """
    return {
        name: read_table(_matching(folder, table.path or ""), table.timestamp, start, end, f"table '{name}'")
        for name, table in source.tables.items()
    }


def read_table(files: dict[str, bytes], timestamp: str, start: datetime, end: datetime, owner: str) -> pa.Table:
    """Parse and join files by name, keeping the rows of `[start, end)`.

    A row without a readable event time is kept: where it belongs is for validation to judge. Files that
    lack a column of the others give nulls there.

    Raises:
        DataError: no files, or one that cannot be read, or two that disagree about a column's type.
    """
    import pyarrow as pa

    if not files:
        raise DataError(f"{owner}: no file matches its path: deliver the data or correct source.tables in model.yaml")
    parts = [_within(parse(files[name], name), timestamp, start, end) for name in sorted(files)]
    try:
        return pa.concat_tables(parts, promote_options="default")
    except pa.ArrowException as error:
        raise DataError(
            f"{owner}: files {', '.join(sorted(files))} disagree: {error}: give them equal columns"
        ) from error


def parse(data: bytes, name: str) -> pa.Table:
    """Parse one file by its suffix, `.parquet` or `.csv` (UTF-8, with a header line).

    Raises:
        InputError: another suffix.
        DataError: the content is not what the suffix says.
    """
    import pyarrow as pa
    import pyarrow.csv

    if name.endswith(".parquet"):
        return from_parquet(data, name)
    if not name.endswith(".csv"):
        raise InputError(f"{name}: allowed are .parquet and .csv files: correct source.tables in model.yaml")
    try:
        return pyarrow.csv.read_csv(io.BytesIO(data))
    except pa.ArrowException as error:
        raise DataError(f"{name} is not readable CSV ({len(data)} bytes): {error}: deliver it again") from error


def _matching(folder: Path, pattern: str) -> dict[str, bytes]:
    root = Path(pattern).anchor or folder
    return {str(path): path.read_bytes() for path in Path(root).glob(pattern.removeprefix(Path(pattern).anchor))}


def _within(table: pa.Table, timestamp: str, start: datetime, end: datetime) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    if timestamp not in table.column_names or not pa.types.is_timestamp(table[timestamp].type):
        return table
    times = table[timestamp].cast(pa.timestamp("us", tz="UTC"), safe=False)
    inside = pc.and_(pc.greater_equal(times, pa.scalar(start, times.type)), pc.less(times, pa.scalar(end, times.type)))
    return table.filter(pc.fill_null(inside, True))
