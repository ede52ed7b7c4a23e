"""Source kind `s3`: Parquet or CSV objects in a bucket, read by boto3."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kilter.sources.files import read_table
from kilter.spec import Source
from kilter.stores.objects import ObjectStore, S3Objects, matching

if TYPE_CHECKING:
    import pyarrow as pa


def read_objects(source: Source, folder: Path, start: datetime, end: datetime) -> dict[str, pa.Table]:
    """Read each table from the objects whose key its `path`, a glob, matches.

    Endpoint and credentials come from boto3's own configuration.

    Raises:
        DataError: nothing matches, or an object is truncated or neither Parquet nor CSV.
        UnavailableError: S3 does not answer or refuses.
    """
    bucket = S3Objects(source.bucket or "")
    return {
        name: read_table(_contents(bucket, table.path or ""), table.timestamp, start, end, f"table '{name}'")
        for name, table in source.tables.items()
    }


def _contents(bucket: ObjectStore, pattern: str) -> dict[str, bytes]:
    return {bucket.uri(key): bucket.get(key) for key in matching(bucket, pattern)}
