"""The prediction log: every answer with its features, as Parquet in the object store.

Answers are buffered in memory and written by a thread, so that writing never delays an answer.
While the store is away the buffer grows to a bound; beyond it the oldest answers are dropped and counted.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from kilter.encoding import Signature
from kilter.errors import KilterError
from kilter.serving.request import Rows
from kilter.spec import Feature
from kilter.stores.deployment import Deployment, Role
from kilter.stores.objects import ObjectStore
from kilter.stores.parquet import to_parquet
from kilter.stores.predictions import SHADOW

FLUSH_SECONDS = 1.0
BUFFER_ROWS = 200_000
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Entry:
    """One answered request."""

    deployment: Deployment
    signature: Signature
    request_id: str
    logged_at: datetime
    latency_ms: float
    rows: Rows
    scores: Sequence[float]
    copy: bool = False
    """Whether another version's answer went to the client: logged with the role `shadow`."""


class PredictionLog:
    """Writes the answers of one server.

    Args:
        objects: where the log goes, under `predictions/<model>/`.
        role: the server's role, a column of the log.
        buffer_rows: rows kept while the store is away.
    """

    def __init__(self, objects: ObjectStore, role: Role, log: logging.Logger, buffer_rows: int = BUFFER_ROWS) -> None:
        self._objects = objects
        self._role = role
        self._log = log
        self._limit = buffer_rows
        self._entries: deque[Entry] = deque()
        self._rows = 0
        self._dropped = self._reported = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is buffered and end; what cannot be written is lost and said so."""
        self._stop.set()
        self._thread.join()
        self.flush()
        if self._rows:
            self._log.error("%s: prediction log: %d rows are lost: the object store is away", self._role, self._rows)

    def add(self, entry: Entry) -> None:
        """Buffer an answer."""
        with self._lock:
            self._entries.append(entry)
            self._rows += len(entry.scores)
            self._shed()

    def flush(self) -> None:
        """Write what is buffered, one object a model version; keep what the store did not take."""
        with self._lock:
            entries, self._entries, self._rows = self._entries, deque(), 0
        kept: list[Entry] = []
        for group in _by_digest(entries):
            try:
                self._write(group)
            except (KilterError, OSError) as error:
                kept += group
                self._log.error("%s: prediction log: %d requests wait to be written: %s", self._role, len(group), error)
        self._put_back(kept)

    def _write(self, group: list[Entry]) -> None:
        table = to_table(group, self._role)
        times = [time for entry in group for time in entry.rows.timestamps]
        span = f"{min(times):%Y%m%dT%H%M%S}_{max(times):%Y%m%dT%H%M%S}"
        key = f"predictions/{group[0].deployment.model}/{span}_{self._role}_{uuid.uuid4().hex}.parquet"
        self._objects.put(key, to_parquet(table))

    def _put_back(self, entries: list[Entry]) -> None:
        with self._lock:
            self._entries.extendleft(reversed(entries))
            self._rows += sum(len(entry.scores) for entry in entries)
            self._shed()
        if self._dropped > self._reported:
            self._reported = self._dropped
            self._log.error("%s: prediction log: %d rows dropped so far, the oldest first", self._role, self._dropped)

    def _shed(self) -> None:
        """Drop the oldest entries beyond the limit; the lock is held."""
        while self._rows > self._limit:
            oldest = len(self._entries.popleft().scores)
            self._rows -= oldest
            self._dropped += oldest

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except Exception:
                # The thread must outlive any fault: without it nothing would be logged again.
                self._log.exception("%s: prediction log: a flush failed", self._role)


def to_table(group: Sequence[Entry], role: Role) -> pa.Table:
    """Entries of one model version as a table, one row a scored row.

    Columns: request_id, logged_at, role, model_version, digest, the entity and the event time under
    their own names, score, latency_ms (of the whole request), and the features as they came.
    """
    deployment, signature = group[0].deployment, group[0].signature
    sizes = [len(entry.scores) for entry in group]
    rows = sum(sizes)

    def repeated(values: Iterable[Any]) -> list[Any]:
        return [value for value, size in zip(values, sizes, strict=True) for _ in range(size)]

    columns: dict[str, pa.Array] = {
        "request_id": pa.array(repeated(entry.request_id for entry in group), pa.string()),
        "logged_at": pa.array(repeated(entry.logged_at for entry in group), _TIME),
        "role": pa.array(repeated(SHADOW if entry.copy else role for entry in group), pa.string()),
        "model_version": pa.repeat(pa.scalar(deployment.version, pa.int64()), rows),
        "digest": pa.repeat(pa.scalar(deployment.digest, pa.string()), rows),
        signature.entity: pa.array([key for entry in group for key in entry.rows.entities], pa.string()),
        signature.timestamp: pa.array([time for entry in group for time in entry.rows.timestamps], _TIME),
        "score": pa.array([score for entry in group for score in entry.scores], pa.float64()),
        "latency_ms": pa.array(repeated(entry.latency_ms for entry in group), pa.float64()),
    }
    for feature in signature.features:
        values = [value for entry in group for value in entry.rows.columns[feature.name]]
        columns[feature.name] = _feature(feature, values)
    return pa.table(columns)


def _feature(feature: Feature, values: list[Any]) -> pa.Array:
    if feature.categories:
        return pa.array(values, pa.string())
    return pa.array(np.array(values, dtype=np.float64), from_pandas=True)


def _by_digest(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    groups: dict[tuple[str, str, int], list[Entry]] = {}
    for entry in entries:
        key = (entry.deployment.model, entry.deployment.digest, entry.deployment.version)
        groups.setdefault(key, []).append(entry)
    return groups.values()
