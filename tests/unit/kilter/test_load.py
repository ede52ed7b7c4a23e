"""The open-loop load, on small servers of its own whose delays are known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from kilter.load import Load, offer

Handler = Callable[[int], Awaitable[bytes]]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BAD = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def server(answer: Handler) -> Iterator[str]:
    """An HTTP server whose answer to its n-th request, counted from 0, is `await answer(n)`."""
    asked = iter(range(10_000))
    begun: Future[tuple[str, Callable[[], object]]] = Future()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                writer.write(await answer(next(asked)))
        writer.close()

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(converse, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            begun.set_result((f"http://127.0.0.1:{port}/x", lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, stop = begun.result()
    try:
        yield url
    finally:
        stop()
        thread.join()


def offered(answer: Handler, rate: float = 50, seconds: float = 1) -> Load:
    with server(answer) as url:
        return offer(url, [b"{}", b"[]"], rate, timedelta(seconds=seconds))


async def good(number: int) -> bytes:
    return GOOD


def test_each_request_of_the_rate_is_made_and_answered() -> None:
    load = offered(good)
    assert (len(load.latencies), len(load.late), load.failures.total()) == (50, 50, 0)


def test_a_stalled_server_cannot_hide_its_stall_from_the_requests_that_came_meanwhile() -> None:
    turn = asyncio.Lock()

    async def stalls_once(number: int) -> bytes:
        # One request after the other, as a server with one thread does; the tenth takes half a second.
        async with turn:
            await asyncio.sleep(0.5 if number == 10 else 0)
        return GOOD

    load = offered(stalls_once)
    # At 50 requests a second, 25 arrive within half a second: a client that waited for its answers would see one slow one.
    assert sum(latency > 0.1 for latency in load.latencies) >= 15
    assert max(load.latencies) >= 0.5


def test_refusals_broken_connections_and_nonsense_are_failures_by_kind() -> None:
    async def every_other(number: int) -> bytes:
        return (GOOD, BAD, b"HTTP/1.1 200 OK\r\n\r\n")[number % 3]

    load = offered(every_other, rate=30)
    assert load.failures == {"status 503": 10, "ValueError": 10}
    assert len(load.latencies) == 10


def test_nobody_listening_fails_every_request() -> None:
    with server(good) as url:
        pass
    load = offer(url, [b"{}"], 20, timedelta(seconds=0.5))
    assert load.latencies == []
    assert load.failures.total() == 10


def test_a_low_rate_makes_at_least_one_request() -> None:
    assert len(offered(good, rate=0.1, seconds=0.1).latencies) == 1


def test_requests_leave_on_their_clock() -> None:
    load = offered(good, rate=100, seconds=0.5)
    assert sorted(load.late)[len(load.late) // 2] == pytest.approx(0, abs=0.05)
