"""The loss curve of a training in MLflow while it goes on, for whoever watches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from kilter.errors import InputError, KilterError

if TYPE_CHECKING:
    from kilter.stores.registry import Registry

CURVE = "validation_loss"
BEGIN_SECONDS = 5.0
"""A shorter training is over before anyone looks: it has no run, and never imports mlflow."""
SEND_SECONDS = 2.0
_LAST_SECONDS = 15.0
"""How long the end of a training waits for what is still being sent."""


class LiveCurves:
    """Sends each round's loss from a thread of its own, so that a training neither waits for MLflow nor fails with it.

    A training that no retry cures leaves a run that has failed. One with another fault, or that is killed, leaves it as it
    is: whoever takes the training up again goes on with it. One that ends well leaves it open, for `register` completes it.

    Args:
        open_registry: called once the training has lasted `BEGIN_SECONDS`.
        begin: begins a run, or finds the one to go on with; returns its id.
    """

    def __init__(
        self,
        open_registry: Callable[[], Registry],
        begin: Callable[[Registry], str],
        log: logging.Logger,
    ) -> None:
        self.run_id = ""
        """Empty until the run has begun."""
        self._open_registry, self._begin = open_registry, begin
        self._log = log
        self._points: list[tuple[int, float]] = []
        self._over = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._follow, name="live curves", daemon=True)

    def add(self, round: int, loss: float) -> None:
        """Note the loss of a round."""
        self._points.append((round, loss))

    def __enter__(self) -> LiveCurves:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = kind is not None and issubclass(kind, InputError)
        self._over.set()
        self._thread.join(_LAST_SECONDS)

    def _follow(self) -> None:
        if self._over.wait(BEGIN_SECONDS):
            return
        try:
            registry = self._open_registry()
            self.run_id = self._begin(registry)
            while not self._over.wait(SEND_SECONDS):
                self._send(registry)
            self._send(registry)
            if self._failed:
                registry.end_run(self.run_id, "FAILED")
        except KilterError as error:
            self._log.warning("the loss curve is not shown while training, but with the registered model: %s", error)

    def _send(self, registry: Registry) -> None:
        count = len(self._points)
        if count:
            registry.log_progress(self.run_id, {CURVE: self._points[:count]})
            del self._points[:count]
