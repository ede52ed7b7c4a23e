"""A client that asks at a fixed rate, whatever becomes of the answers.

    python traffic.py URL RATE < bodies.json > outcomes.jsonl

Each request is due at a time fixed in advance and its seconds count from then, so that a stall shows in every request
that it delayed and not in one alone (coordinated omission; Tene, "How NOT to Measure Latency", 2015). It is asked once and
never again: what HAProxy does not repeat is lost. Ends on SIGTERM, when the answers under way are there.
"""

from __future__ import annotations

import itertools
import json
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

LARGE_EVERY = 10
"""One request in so many is large."""
_CLIENTS = 48
"""Requests under way at once at most; beyond that requests are late, and their seconds say so."""
_TIMEOUT = 20.0


@dataclass(frozen=True)
class Outcome:
    """What came of one request; times are `time.monotonic()`, the same for all processes of a machine.

    Args:
        said: the status of the answer, or the error's name where there was none.
        version: the model version that answered.
        large: whether its body is too large for HAProxy to keep and ask again.
    """

    due: float
    sent: float
    ended: float
    said: str
    version: int | None
    large: bool

    @property
    def failed(self) -> bool:
        return self.said != "200"

    @property
    def seconds(self) -> float:
        return self.ended - self.due


class Traffic:
    """The client as a process of its own, from entry to exit."""

    def __init__(self, url: str, rate: float, bodies: Mapping[str, object], home: Path) -> None:
        self._command = [sys.executable, __file__, url, str(rate)]
        self._bodies = json.dumps(bodies).encode()
        self._file = home / "outcomes.jsonl"

    def __enter__(self) -> Traffic:
        with self._file.open("wb") as out:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=out)
        assert self._process.stdin is not None
        self._process.stdin.write(self._bodies)
        self._process.stdin.close()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=2 * _TIMEOUT)

    def outcomes(self) -> list[Outcome]:
        """What came of all requests answered so far, by the time at which they were due."""
        lines = self._file.read_text().split("\n")[:-1]
        return sorted((Outcome(**json.loads(line)) for line in lines), key=lambda item: item.due)


class Client:
    """One client, on a connection that it keeps while the other side does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = HTTPConnection(parts.netloc, timeout=_TIMEOUT)

    def ask(self, content: bytes, due: float, large: bool) -> Outcome:
        """Ask once; an answer of any kind, or none, is an outcome."""
        if self._closed_by_peer():
            self._connection.close()
        sent, version = time.monotonic(), None
        try:
            self._connection.request("POST", self._path, content, {"content-type": "application/json"})
            answer = self._connection.getresponse()
            text = answer.read()
            said = str(answer.status)
            version = json.loads(text)["model_version"] if answer.status == 200 else None
        except (OSError, HTTPException, ValueError) as error:
            self._connection.close()
            said = type(error).__name__
        return Outcome(due, sent, time.monotonic(), said, version, large)

    def _closed_by_peer(self) -> bool:
        """Whether the connection was closed while it was idle, as every client's pool looks before it uses one."""
        sock = self._connection.sock
        return sock is not None and bool(select.select([sock], [], [], 0)[0])


class _Clients:
    """Clients that take the next request in turn."""

    def __init__(self, url: str, rate: float, bodies: Mapping[str, object]) -> None:
        self._url = url
        self._bodies = {name: json.dumps(body).encode() for name, body in bodies.items()}
        self._interval = 1 / rate
        self._numbers = itertools.count()
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._writing = threading.Lock()

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: self._stop.set())
        threads = [threading.Thread(target=self._ask_in_turn) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask_in_turn(self) -> None:
        client = Client(self._url)
        while not self._stop.is_set():
            number = next(self._numbers)
            due = self._started + number * self._interval
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            large = number % LARGE_EVERY == 0
            outcome = client.ask(self._bodies["large" if large else "small"], due, large)
            with self._writing:
                print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    _Clients(sys.argv[1], float(sys.argv[2]), json.load(sys.stdin)).run()
