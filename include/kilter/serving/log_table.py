"""The program that makes Parquet of the prediction log's segments, in a process of its own beside the server.

    python -m kilter.serving.log_table

It reads a segment's path from each line of its standard input, and answers with one line of JSON and the bytes of the
objects to write: `rows`; `cut`, the bytes that were torn; `objects`, the key and the size of each; or `error` alone. It
ends with its input. Equal segments give equal keys, so that what is written again replaces and never doubles.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from kilter.keys import CLASSES, stamp
from kilter.serving import spool
from kilter.serving.log_record import Record, Version, decode

_NICENESS = 10
"""Answers go before the log."""
_TIME = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_SCORES = pa.list_(pa.float64())


def convert(segment: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a segment: its line, and one Parquet file a model version.

    Raises:
        msgspec.DecodeError: it holds something else than records.
        OSError: it cannot be read.
    """
    payloads, cut = spool.read(segment)
    groups: dict[Version, _Group] = {}
    for payload in payloads:
        batch = decode(payload)
        groups.setdefault(batch.version, _Group(batch.version)).add(payload, batch.records)
    rows, objects, files = 0, [], []
    for group in groups.values():
        table = pa.concat_tables(group.tables)
        rows += table.num_rows
        files.append(_parquet(table))
        objects.append((group.key(), len(files[-1])))
    return {"rows": rows, "cut": cut, "objects": objects}, files


class _Group:
    """What a segment holds of one version: tables at once, since records as objects take ten times as much."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._digest = hashlib.blake2b(digest_size=16)
        self._times: list[datetime] = []
        self.tables: list[pa.Table] = []

    def add(self, payload: bytes, records: Sequence[Record]) -> None:
        self._digest.update(payload)
        self._times = [*self._times, *chain.from_iterable(r.timestamps or (r.logged_at,) for r in records)]
        self._times = [min(self._times), max(self._times)]
        self.tables.append(to_table(self._version, records))

    def key(self) -> str:
        """Where the rows go: the span of their event times, the role, and a digest of the records."""
        first, last = map(stamp, self._times)
        name = f"{first}_{last}_{self._version.role}_{self._digest.hexdigest()}.parquet"
        return f"predictions/{self._version.model}/{name}"


def to_table(version: Version, records: Sequence[Record]) -> pa.Table:
    """Records as a table, one row a scored row.

    Columns: request_id, logged_at, role, model_version, digest, the entity and the event time under
    their own names, score (of a version with classes a list, whose order the field's metadata tells), latency_ms (of
    the whole request), and the features as they were scored.
    """
    sizes = [len(record.scores) for record in records]
    rows = sum(sizes)

    def repeated(values: Iterable[Any]) -> list[Any]:
        return [value for value, size in zip(values, sizes, strict=True) for _ in range(size)]

    columns: dict[str, pa.Array] = {
        "request_id": pa.array(repeated(record.request_id for record in records), _TEXT),
        "logged_at": pa.array(repeated(record.logged_at for record in records), _TIME),
        "role": pa.repeat(pa.scalar(version.role, _TEXT), rows),
        "model_version": pa.repeat(pa.scalar(version.version, pa.int64()), rows),
        "digest": pa.repeat(pa.scalar(version.digest, _TEXT), rows),
        version.entity: pa.array(_joined(record.entities or [None] * len(record.scores) for record in records), _TEXT),
        version.timestamp: pa.array(_joined(map(_times, records)), _TIME),
        "score": pa.array(_joined(record.scores for record in records), _SCORES if version.classes else pa.float64()),
        "latency_ms": pa.array(repeated(record.latency_ms for record in records), pa.float64()),
    }
    for place, (name, is_text) in enumerate(version.features):
        values = _joined(record.columns[place] for record in records)
        columns[name] = pa.array(values, _TEXT) if is_text else _numbers(values)
    table = pa.table(columns)
    return _with_classes(table, version.classes) if version.classes else table


def _with_classes(table: pa.Table, classes: Sequence[str]) -> pa.Table:
    """The table whose scores tell of which classes they are."""
    place = table.schema.get_field_index("score")
    field = table.schema.field(place).with_metadata({CLASSES: json.dumps(classes)})
    return table.cast(table.schema.set(place, field))


def _joined(parts: Iterable[Iterable[Any]]) -> list[Any]:
    return list(chain.from_iterable(parts))


def _times(record: Record) -> Sequence[Any]:
    """The event times of a record's rows."""
    return record.timestamps or [record.logged_at] * len(record.scores)


def _numbers(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.float64(), from_pandas=True)
    except pa.ArrowException:
        # Truth values among numbers, and integers that no float holds exactly.
        return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    # A dictionary pays where values come again; of numbers it takes as long as all the rest.
    texts = [field.name for field in table.schema if field.type == _TEXT]
    pq.write_table(table, buffer, compression="zstd", use_dictionary=[*texts, "logged_at"], coerce_timestamps="us")
    return buffer.getvalue()


def main() -> None:
    os.nice(_NICENESS)
    # Arrow's own pool would keep what it had; glibc gives it back when it is told to.
    pa.set_memory_pool(pa.system_memory_pool())
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda keep: None)
    # Records refer to nothing that refers to them; looking for circles would take as long as reading them.
    gc.disable()
    for line in sys.stdin:
        try:
            answer, files = convert(Path(line.rstrip("\n")))
        except (msgspec.DecodeError, pa.ArrowException, OSError) as error:
            answer, files = {"error": f"{type(error).__name__}: {error}"}, []
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.writelines(files)
        sys.stdout.buffer.flush()
        del answer, files
        give_back(0)


if __name__ == "__main__":
    main()
