"""Replaying an interval's rows as prediction requests, in the order in which they happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import httpx

from kilter.encoding import Signature
from kilter.keys import interval_key
from kilter.spec import ModelSpec
from kilter.stores.objects import ObjectStore
from kilter.stores.parquet import from_parquet


class Replay:
    """The requests of one interval: one a place and hour, as a departure board would ask.

    Args:
        group: the feature that splits an hour's rows into requests.
    """

    def __init__(self, spec: ModelSpec, objects: ObjectStore, start: datetime, group: str) -> None:
        key = interval_key("features", spec.name, start)
        signature = Signature.of(spec)
        self._columns = [signature.entity, signature.timestamp, *signature.names]
        table = from_parquet(objects.get(key), key).select(self._columns)
        frame = table.to_pandas().sort_values([spec.timestamp, spec.entity])
        self.rows = len(frame)
        hour = frame[spec.timestamp].dt.floor("h")
        groups = frame.groupby([hour, frame[group]], sort=True, observed=True)
        self._bodies = [self._body(rows) for _, rows in groups]
        self.sent = 0
        self.failed = 0

    def finish(self, client: httpx.Client, url: str) -> None:
        """Send each request that was not sent yet, as fast as answers come."""
        while self.sent < len(self._bodies):
            self._send(client, url)

    def keep_asking(self, client: httpx.Client, url: str, rate: float, going_on: Callable[[], bool]) -> None:
        """Send `rate` requests a second while `going_on`; after the last begin again, as boards that refresh do."""
        next_at = time.monotonic()
        while going_on():
            self._send(client, url)
            next_at = max(next_at + 1 / rate, time.monotonic() - 1)
            time.sleep(max(0, next_at - time.monotonic()))

    def _send(self, client: httpx.Client, url: str) -> None:
        answer = client.post(url, json=self._bodies[self.sent % len(self._bodies)])
        self.sent += 1
        self.failed += answer.status_code != 200

    def _body(self, rows: Any) -> dict[str, Any]:
        data = [[_plain(value) for value in row] for row in rows.itertuples(index=False)]
        return {"dataframe_split": {"columns": self._columns, "data": data}}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if hasattr(value, "item") else value


def months(first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Start and end of each month from `first` to before `last`.

    >>> from datetime import UTC
    >>> [end.month for _, end in months(datetime(2013, 11, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC))]
    [12, 1]
    """
    start = first
    while start < last:
        end = next_month(start)
        yield start, end
        start = end


def next_month(start: datetime) -> datetime:
    """The same day a month later; `start` is a first of month."""
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
