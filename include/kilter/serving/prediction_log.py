"""The prediction log: every answer with its features, as Parquet in the object store; docs/serving-log.md.

An answer is encoded where it is given and waits in memory; a thread writes what waits to the spool, four times a second
(`kilter.serving.spool`), and another brings what was spooled to the store (`kilter.serving.log_shipper`). No fault of
either reaches an answer: what cannot be kept is dropped, the oldest first, and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from kilter.encoding import Signature
from kilter.errors import KilterError
from kilter.serving.log_record import Record, Version, batch, encode
from kilter.serving.log_shipper import LogShipper
from kilter.serving.request import Rows
from kilter.serving.score import Score
from kilter.serving.spool import Spool
from kilter.stores.deployment import Deployment, Role
from kilter.stores.objects import ObjectStore
from kilter.stores.predictions import SHADOW

FLUSH_SECONDS = 0.25
"""How much of the log a killed process loses."""
MEMORY_BYTES = 32 * 1024 * 1024
"""What waits in memory while the spool cannot be written."""
SPOOL_BYTES = 1024 * 1024 * 1024
"""What waits in the spool while the store is away: some millions of rows."""
_FRAME_BYTES = 256 * 1024
_STOP_SECONDS = 4
"""How long the end of a server may wait for the store; the rest stays in the spool."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered request.

    Args:
        latency_ms: milliseconds from the whole body to its scores.
        rows: what was scored; event times that the client did not give are `logged_at`.
        copy: whether another version's answer went to the client: logged with the role `shadow`.
    """

    deployment: Deployment
    signature: Signature
    request_id: str
    logged_at: datetime
    latency_ms: float
    rows: Rows
    scores: Sequence[Score]
    copy: bool = False


class LogState(NamedTuple):
    """Where rows are: in the store, on their way, or dropped; and bytes of the spool."""

    logged: int
    waiting: int
    dropped: int
    spool_bytes: int
    torn_bytes: int


class AnswerLog(Protocol):
    """What a model server tells of its answers."""

    def start(self) -> None:
        """Begin to keep answers."""

    def stop(self) -> None:
        """Keep what was added, and end."""

    def add(self, entry: Entry) -> None:
        """Take an answer, in microseconds and without a fault."""

    @property
    def state(self) -> LogState:
        """What became of the rows so far."""


class NoLog:
    """Keeps nothing: the log of a trial."""

    state = LogState(0, 0, 0, 0, 0)

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def add(self, entry: Entry) -> None:
        pass


class _Waiting(NamedTuple):
    """An encoded record on its way to the spool."""

    role: str
    deployment: Deployment
    signature: Signature
    rows: int
    record: bytes


class PredictionLog:
    """Keeps the answers of one server.

    Args:
        spool: where answers are until the store has them.
        objects: where the log goes, under `predictions/<model>/`.
        role: the server's role, a column of the log.
        memory: bytes that wait in memory while the spool cannot be written.
    """

    def __init__(
        self, spool: Spool, objects: ObjectStore, role: Role, log: logging.Logger, memory: int = MEMORY_BYTES
    ) -> None:
        self._spool = spool
        self._shipper = LogShipper(spool, objects, role, log)
        self._role = role
        self._log = log
        self._limit = memory
        self._waiting: deque[_Waiting] = deque()
        self._bytes = self._rows = self._dropped = self._reported = 0
        self._problem = ""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    @property
    def state(self) -> LogState:
        """What became of the rows so far."""
        waiting = self._rows + self._spool.rows
        dropped = self._dropped + self._shipper.lost
        return LogState(self._shipper.rows, waiting, dropped, self._spool.size, self._shipper.cut)

    def start(self) -> None:
        """Begin to spool and to ship, with what an earlier process left."""
        self._thread.start()
        self._shipper.start()

    def stop(self) -> None:
        """Spool what waits and ship what is spooled; what the store does not take in time waits for the next start."""
        self._stop.set()
        self._thread.join()
        self._turn(last=True)
        self._shipper.stop(_STOP_SECONDS)
        state = self.state
        if self._rows:
            self._log.error("%s: prediction log: %d rows are lost: the spool cannot be written", self._role, self._rows)
        if spooled := state.waiting - self._rows:
            self._log.warning("%s: prediction log: %d rows wait in %s", self._role, spooled, self._spool.folder)
        self._spool.release()

    def add(self, entry: Entry) -> None:
        """Take an answer."""
        rows, columns, count = entry.rows, entry.rows.columns, len(entry.scores)
        role = SHADOW if entry.copy else self._role
        record = encode(
            Record(
                entry.request_id,
                entry.logged_at,
                entry.latency_ms,
                None if rows.entities.count(None) == count else rows.entities,
                None if rows.timestamps[0] is entry.logged_at else rows.timestamps,
                entry.scores,
                [columns[name] for name in entry.signature.names],
            )
        )
        with self._lock:
            self._waiting.append(_Waiting(role, entry.deployment, entry.signature, count, record))
            self._rows += count
            self._bytes += len(record)
            self._shed()

    def flush(self) -> None:
        """Write what waits to the spool; what cannot be written waits on.

        Raises:
            OSError: the file system refuses.
        """
        with self._lock:
            waiting, self._waiting, self._rows, self._bytes = self._waiting, deque(), 0, 0
        batches = deque(_batches(waiting))
        try:
            while batches:
                items = batches[0]
                version = Version.of(items[0].role, items[0].deployment, items[0].signature)
                self._spool.append(batch(version, [item.record for item in items]), sum(item.rows for item in items))
                batches.popleft()
                self._spool.roll()
        finally:
            self._put_back([item for items in batches for item in items])

    def _put_back(self, items: Sequence[_Waiting]) -> None:
        with self._lock:
            self._waiting.extendleft(reversed(items))
            self._rows += sum(item.rows for item in items)
            self._bytes += sum(len(item.record) for item in items)
            self._shed()

    def _shed(self) -> None:
        """Drop the oldest of memory beyond the limit; the lock is held."""
        while self._bytes > self._limit:
            oldest = self._waiting.popleft()
            self._bytes -= len(oldest.record)
            self._rows -= oldest.rows
            self._dropped += oldest.rows

    def _turn(self, last: bool = False) -> None:
        """Move what waits to the spool; once that is this server's, no part of it waits for another that fails."""
        problems = [] if self._spool.taken else [self._tried(self._spool.take)]
        if not any(problems):
            problems = [self._tried(part) for part in (self.flush, lambda: self._spool.roll(now=last), self._bound)]
        self._report(next(filter(None, problems), ""))

    def _tried(self, part: Callable[[], object]) -> str:
        """What kept this part from being done, if anything did."""
        try:
            part()
        except (KilterError, OSError) as error:
            return str(error)
        return ""

    def _bound(self) -> None:
        self._dropped += self._spool.shed(spared=self._shipper.segment)

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                self._turn()
            except Exception:
                # The thread must outlive any fault: without it nothing would be logged again.
                self._log.exception("%s: prediction log: a turn failed", self._role)

    def _report(self, problem: str) -> None:
        """Tell of a problem once, and of its end; of what was dropped, whenever it is more."""
        if problem != self._problem:
            self._problem = problem
            if problem:
                self._log.error("%s: prediction log: rows wait in memory: %s", self._role, problem)
            else:
                self._log.info("%s: prediction log: the spool is written again", self._role)
        if self._dropped > self._reported:
            self._reported = self._dropped
            self._log.error("%s: prediction log: %d rows dropped so far, the oldest first", self._role, self._dropped)


def _batches(waiting: Iterable[_Waiting]) -> Iterator[list[_Waiting]]:
    """What waits, version by version, in parts of about a frame."""
    groups: dict[tuple[str, str, str, int], list[_Waiting]] = {}
    sizes: Counter[tuple[str, str, str, int]] = Counter()
    for item in waiting:
        deployment = item.deployment
        key = (item.role, deployment.model, deployment.digest, deployment.version)
        groups.setdefault(key, []).append(item)
        sizes[key] += len(item.record)
        if sizes[key] > _FRAME_BYTES:
            yield groups.pop(key)
            sizes.pop(key)
    yield from groups.values()
