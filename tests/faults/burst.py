"""As many requests as clients can ask, and a server killed under them: what HAProxy asks again, and what it cannot."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.contract.serving.conftest import KEYS, MODEL, ROW, Installation, split, wait_until

from .traffic import Client, Outcome

CLIENTS = 16
LARGE_ROWS = 300
"""About 30 kB, twice the buffer in which HAProxy keeps a request to ask it again (tune.bufsize)."""
_BETWEEN = 0.7
"""Seconds from one kill's recovery to the next kill."""


def body(rows: int) -> dict[str, object]:
    """The body of an invocation with so many rows."""
    return split(*[{**KEYS, **ROW}] * rows)


@dataclass(frozen=True)
class Lost:
    """What kills of one server did.

    Args:
        in_flight: requests under way at the kills, whichever server had them.
        lost: of those, the ones that failed.
        cut: of the lost, those whose answer had begun.
        later: requests sent after a kill that failed.
        slowest: seconds that the slowest answer took.
    """

    kills: int
    in_flight: int
    lost: int
    cut: int
    later: int
    slowest: float


@contextmanager
def clients(endpoint: str, rows: int) -> Iterator[list[Outcome]]:
    """Ask without pause until the exit; the list grows with every answer."""
    outcomes: list[Outcome] = []
    stop = threading.Event()
    content = json.dumps(body(rows)).encode()

    def ask() -> None:
        client = Client(f"{endpoint}/models/{MODEL}/invocations")
        while not stop.is_set():
            outcomes.append(client.ask(content, time.monotonic(), rows == LARGE_ROWS))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def kill_under_load(installation: Installation, rows: int, weight: int, kills: int) -> Lost:
    """Kill the canary's server again and again while it has a weight; each time it comes back."""
    installation.router.shift(MODEL, weight)
    moments: list[tuple[float, float]] = []
    with clients(installation.settings.endpoint, rows) as outcomes:
        for _ in range(kills):
            time.sleep(_BETWEEN)
            at = time.monotonic()
            installation.kill("canary")
            moments.append((at, time.monotonic()))
            installation.start_server("canary")
            installation.wait_for_server("canary")
            wait_until(lambda: installation.router.counters(MODEL)["canary"].up, "HAProxy finds the canary up")
    under_way = [item for item in outcomes if any(item.sent <= gone and item.ended >= at for at, gone in moments)]
    lost = [item for item in under_way if item.failed]
    failed = sum(item.failed for item in outcomes)
    return Lost(
        kills=kills,
        in_flight=len(under_way),
        lost=len(lost),
        cut=sum(item.said == "IncompleteRead" for item in lost),
        later=failed - len(lost),
        slowest=max(item.seconds for item in outcomes),
    )
