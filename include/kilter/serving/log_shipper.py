"""Brings closed segments of the spool to the object store, in a thread, the oldest first."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from kilter.errors import DataError, KilterError, UnavailableError
from kilter.serving.converter import Converter
from kilter.serving.spool import Spool
from kilter.stores.objects import ObjectStore

_PAUSE_SECONDS = 0.25
_RETRY_SECONDS = 1.0
"""How long after a fault it is tried again."""
_TRIES = 3
"""Of a segment at which the converting process dies."""


class LogShipper:
    """Converts segments and writes them to the store; a segment is deleted when the store has taken all of it.

    What cannot be converted is set aside. While the store is away segments wait, as long as the spool keeps them.

    Args:
        name: of the server, for its log.
    """

    def __init__(self, spool: Spool, objects: ObjectStore, name: str, log: logging.Logger) -> None:
        self._spool = spool
        self._objects = objects
        self._name = name
        self._log = log
        self._converter = Converter()
        self._deaths: Counter[Path] = Counter()
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)
        self.rows = self.lost = self.cut = 0
        """Rows written to the store, rows that could not be read, and bytes that were torn."""
        self.segment: Path | None = None
        """What is being shipped now."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ship what is closed, for so many seconds at most; the rest waits for the next start."""
        self._stop.set()
        self._thread.join(seconds)
        self._converter.stop()

    def ship(self) -> None:
        """Ship all closed segments.

        Raises:
            KilterError: the store is away, or the converting process died.
            OSError: likewise.
        """
        while segment := self._spool.oldest():
            self.segment = segment
            try:
                self._ship(segment)
            finally:
                self.segment = None

    def _ship(self, segment: Path) -> None:
        try:
            converted = self._converter.convert(segment)
        except DataError as error:
            self._set_aside(segment, error)
            return
        except UnavailableError as error:
            self._deaths[segment] += 1
            if self._deaths[segment] < _TRIES:
                raise
            self._set_aside(segment, error)
            return
        self._write(converted.objects)
        expected = self._spool.remove(segment)
        self.rows += converted.rows
        self.lost += max(0, expected - converted.rows)
        if converted.cut:
            self.cut += converted.cut
            self._log.error("%s: prediction log: %d torn bytes at the end of %s", self._name, converted.cut, segment)

    def _write(self, objects: Mapping[str, bytes]) -> None:
        """Write the objects, however long the store is away; a fault ends it only when this shipper is to end."""
        while True:
            try:
                for key, data in objects.items():
                    self._objects.put(key, data)
            except (KilterError, OSError) as error:
                self._report(f"rows wait in the spool: {error}")
                self._spool.settle()
                if self._stop.wait(_RETRY_SECONDS):
                    raise
            else:
                self._report("")
                return

    def _set_aside(self, segment: Path, error: KilterError) -> None:
        rows = self._spool.set_aside(segment)
        self.lost += rows
        self._log.error("%s: prediction log: %d rows are set aside: %s", self._name, rows, error)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_PAUSE_SECONDS)
            try:
                self.ship()
            except (KilterError, OSError) as error:
                self._report(str(error))
                self._stop.wait(_RETRY_SECONDS)
            except Exception:
                # The thread must outlive any fault: without it nothing would reach the store again.
                self._log.exception("%s: prediction log: a segment was not shipped", self._name)

    def _report(self, problem: str) -> None:
        """Tell of a problem once, and of its end."""
        if problem != self._problem:
            self._problem = problem
            if problem:
                self._log.error("%s: prediction log: %s", self._name, problem)
            else:
                self._log.info("%s: prediction log: rows are shipped again", self._name)
