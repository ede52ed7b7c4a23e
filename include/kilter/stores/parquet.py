"""Tables as Parquet bytes: equal tables give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kilter.errors import DataError
from kilter.stores.objects import ObjectStore, read_file, read_manifest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROW_GROUP = 65_536
"""Rows of a row group: what is read a piece at a time is read so."""


def to_parquet(table: pa.Table, metadata: Mapping[str, str] | None = None) -> bytes:
    """Serialise with fixed options and microsecond times (DuckDB and Feast reject nanoseconds).

    Args:
        metadata: the file's own, beside the data; the table's is left out.
    """
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(dict(metadata) if metadata else None),
        buffer,
        compression="zstd",
        coerce_timestamps="us",
        allow_truncated_timestamps=True,
        store_schema=True,
        row_group_size=ROW_GROUP,
    )
    return buffer.getvalue()


def frame_to_parquet(frame: pd.DataFrame) -> bytes:
    """Serialise a data frame without its index."""
    import pyarrow as pa

    return to_parquet(pa.Table.from_pandas(frame, preserve_index=False))


def read_table(objects: ObjectStore, key: str, file: str) -> pa.Table:
    """Read one Parquet file of a committed dataset, checked against its digest.

    Raises:
        DataError: the dataset was never committed, has no such file, or it was altered.
    """
    return from_parquet(read_file(objects, read_manifest(objects, key), file), f"{key}/{file}")


def from_parquet(data: bytes, name: str) -> pa.Table:
    """Read Parquet bytes; `name` is for the error.

    Raises:
        DataError: the bytes are truncated or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} is not readable Parquet ({len(data)} bytes): {error}: extract it again") from error
