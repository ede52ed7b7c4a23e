"""Looks at the ledger and at HAProxy's weights all the time, and tells when they did not agree.

The invariant: the shares sum to 100, and the canary's is what the ledger says, or nothing, so that all is the champion's.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.contract.serving.conftest import MODEL

from kilter.core.rollout import canary_weight
from kilter.errors import KilterError
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
        meant: the canary's weight by the ledger; 0 when no rollout moves traffic.
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
        """When the invariant did not hold between two times: from the first bad sight to the next good one.

        Bad sights within the grace are none: the ledger and HAProxy cannot be seen at the same instant.
        """
        assert self._thread.is_alive(), "the witness saw nothing any more"
        spells: list[tuple[float, float]] = []
        sights = [sight for sight in self.sights if start <= sight.at <= end]
        for holds, group in itertools.groupby(sights, key=lambda sight: sight.holds):
            seen = [sight.at for sight in group]
            if not holds and seen[-1] - seen[0] > GRACE:
                spells.append((seen[0], next((sight.at for sight in sights if sight.at > seen[-1]), end)))
        return spells

    def _watch(self) -> None:
        while not self._stop.wait(_POLL):
            self.sights.append(self._look())

    def _look(self) -> Sight:
        at = time.monotonic()
        row = self._ledger.open_rollout(MODEL)
        try:
            weights: Mapping[Role, int] | None = self._router.weights(MODEL)
        except KilterError:
            weights = None
        return Sight(at, weights, canary_weight(row["state"], row["weight"]) if row else 0)
