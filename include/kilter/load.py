"""An open-loop load: requests leave on a fixed clock, whatever the server does.

A client that waits for each answer before it asks again sends less just when the server stalls, and so
hides the stall from its own figures: "coordinated omission" (G. Tene, "How NOT to Measure Latency", 2015; open and
closed systems: Schroeder, Wierman, Harchol-Balter, "Open Versus Closed", NSDI 2006). Here each request has
its intended moment, and its latency counts from that moment on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

_CONNECTIONS = 512
"""Open at most; a request beyond waits for one to be free, which counts as its latency."""
_TIMEOUT = 10.0


@dataclass
class Load:
    """What came of a load. All times are in seconds.

    Args:
        latencies: from the intended moment to the whole answer, of each request answered with 200.
        late: how long after its intended moment this machine came to each request: none of the server's doing.
        failures: how often each thing else happened: another status, a broken connection, no answer in time.
    """

    latencies: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


def offer(url: str, bodies: Sequence[bytes], rate: float, duration: timedelta) -> Load:
    """Post `rate` requests a second for `duration`, the bodies in turn, and wait for all answers.

    Args:
        url: an `http://` address.
        bodies: at least one.
    """
    return asyncio.run(_offer(url, bodies, rate, duration.total_seconds()))


async def _offer(url: str, bodies: Sequence[bytes], rate: float, seconds: float) -> Load:
    load, clock = Load(), asyncio.get_running_loop()
    client = _Client(url)
    start = clock.time()
    waiting = []
    for number in range(max(1, round(rate * seconds))):
        intended = start + number / rate
        await asyncio.sleep(max(0.0, intended - clock.time()))
        load.late.append(clock.time() - intended)
        waiting.append(asyncio.create_task(_one(client, bodies[number % len(bodies)], intended, load)))
    await asyncio.gather(*waiting)
    client.close()
    return load


async def _one(client: _Client, body: bytes, intended: float, load: Load) -> None:
    clock = asyncio.get_running_loop()
    try:
        status = await asyncio.wait_for(client.post(body), _TIMEOUT)
    except TimeoutError:
        load.failures[f"no answer within {_TIMEOUT:g} s"] += 1
    except (OSError, EOFError, ValueError) as error:
        load.failures[type(error).__name__] += 1
    else:
        if status == 200:
            load.latencies.append(clock.time() - intended)
        else:
            load.failures[f"status {status}"] += 1


class _Client:
    """HTTP/1.1 over kept connections: a library's client takes longer over a request than the server does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._places = asyncio.Semaphore(_CONNECTIONS)

    async def post(self, body: bytes) -> int:
        """The answer's status, once the whole answer is here."""
        async with self._places:
            reader, writer = self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port)
            try:
                writer.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
                status, length = _parse_head(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(length)
            except BaseException:
                writer.close()
                raise
            self._free.append((reader, writer))
            return status

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


def _parse_head(head: bytes) -> tuple[int, int]:
    """Status and length of the body; `ValueError` when it is no such answer."""
    first, *lines = head.split(b"\r\n")
    for name, _, value in (line.partition(b":") for line in lines):
        if name.lower() == b"content-length":
            return int(first.split()[1]), int(value)
    raise ValueError("an answer without content-length")
