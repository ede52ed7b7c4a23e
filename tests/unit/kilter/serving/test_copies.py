"""Requests kept for a rollout that copies them, and for nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from kilter.serving import copies
from kilter.serving.call import Call
from kilter.serving.copies import Copies


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(copies.time, "monotonic", lambda: now[0])
    return now


async def nothing() -> Any:
    raise AssertionError("a kept request is not read again")


def keep(kept: Copies, *bodies: bytes, status: int = 200) -> None:
    for body in bodies:
        kept.keep(Call("POST", "/p", nothing, id="r", answer=(0.25, 0.5)), body, status)


def bodies(kept: Copies, after: int) -> list[str]:
    return [request["body"] for request in kept.after(after)["copies"]]


def test_nothing_is_wanted_until_somebody_asks_and_when_nobody_does_any_more(clock: list[float]) -> None:
    kept = Copies()
    assert not kept.wanted
    assert kept.after(0) == {"kept": 0, "copies": []}
    assert kept.wanted
    clock[0] += copies.PATIENCE
    assert not kept.wanted


def test_each_request_is_given_once_with_how_it_went(clock: list[float]) -> None:
    kept = Copies()
    kept.after(0)
    keep(kept, b"a")
    keep(kept, b"b", status=400)
    told = kept.after(0)
    assert told["kept"] == 2
    assert told["copies"][0] == {
        "path": "/p", "body": "a", "id": "r", "status": 200, "seconds": 0.25, "score": 0.5,
    }  # fmt: skip
    assert told["copies"][1]["status"] == 400
    keep(kept, b"c")
    assert bodies(kept, after=2) == ["c"]
    assert bodies(kept, after=3) == []


def test_a_busy_server_keeps_the_newest_few_and_no_more_bytes_than_it_may(clock: list[float]) -> None:
    kept = Copies()
    kept.after(0)
    keep(kept, *[str(number).encode() for number in range(copies.REMEMBERED + 10)])
    assert bodies(kept, after=0)[0] == "10"
    assert len(bodies(kept, after=0)) == copies.REMEMBERED
    keep(kept, b"x" * (copies.BYTES - 1), b"last")
    assert bodies(kept, after=0) == ["last"]


def test_who_comes_back_late_gets_nothing_stale(clock: list[float]) -> None:
    kept = Copies()
    kept.after(0)
    keep(kept, b"a")
    clock[0] += 60
    assert bodies(kept, after=0) == []


def test_a_body_that_is_no_text_is_left_out(clock: list[float]) -> None:
    kept = Copies()
    kept.after(0)
    keep(kept, b"\xff")
    assert kept.after(0) == {"kept": 0, "copies": []}
