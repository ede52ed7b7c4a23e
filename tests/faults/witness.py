"""Looks at the ledger and at HAProxy's weights all the time, and tells when they did not agree.

The invariant: the shares sum to 100, and the canary's is what the ledger says, or nothing, so that all is the champion's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.contract.serving.conftest import MODEL

from kilter.errors import UnavailableError
from kilter.stores.deployment import Role
from kilter.stores.ledger import Ledger
from kilter.stores.router import Router

_POLL = 0.02
GRACE = 0.1
"""Seconds in which the two may differ: a step writes the ledger first and tells HAProxy right after."""


@dataclass(frozen=True)
class Sight:
    """What was seen at one moment.

    Args:
        at: `time.monotonic()`.
        weights: HAProxy's; None when it did not answer.
        meant: the canary's weight by the ledger; 0 when no rollout is shifting.
    """

    at: float
    weights: Mapping[Role, int] | None
    meant: int

    @property
    def holds(self) -> bool:
        """The shares sum to 100, and the canary's is the ledger's or nothing."""
        if self.weights is None or sum(self.weights.values()) != 100:
            return False
        return self.weights["canary"] in (0, self.meant)


class Witness:
    """A thread that looks, from entry to exit."""

    def __init__(self, ledger: Ledger, router: Router) -> None:
        self._ledger = ledger
        self._router = router
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)
        self.sights: list[Sight] = []

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def broken(self, start: float, end: float) -> list[tuple[float, float]]:
        """When the invariant did not hold between two times, for longer than the grace."""
        spells: list[tuple[float, float]] = []
        since: float | None = None
        for sight in [sight for sight in self.sights if start <= sight.at <= end]:
            if not sight.holds and since is None:
                since = sight.at
            if sight.holds and since is not None:
                spells.append((since, sight.at))
                since = None
        if since is not None:
            spells.append((since, end))
        return [(first, last) for first, last in spells if last - first > GRACE]

    def _watch(self) -> None:
        while not self._stop.wait(_POLL):
            self.sights.append(self._look())

    def _look(self) -> Sight:
        at = time.monotonic()
        row = self._ledger.open_rollout(MODEL)
        try:
            weights: Mapping[Role, int] | None = self._router.weights(MODEL)
        except UnavailableError:
            weights = None
        return Sight(at, weights, row["weight"] if row and row["state"] == "shifting" else 0)
