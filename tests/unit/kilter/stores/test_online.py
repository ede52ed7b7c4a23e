"""What Feast's reader makes of a Redis that is away, and what of its address."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kilter.errors import UnavailableError
from kilter.spec import load_spec
from kilter.stores.online import FeastOnline

SPEC = load_spec(Path(__file__).parents[4] / "include/models/flight_delay")
TIMEOUT = timedelta(milliseconds=200)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_redis_that_never_answers_is_given_up(silent: str) -> None:
    store = FeastOnline(SPEC, f"redis://{silent},db=1,password=secret", timeout=TIMEOUT)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="Timeout") as error:
        store.read(["a"])
    assert time.monotonic() - started < 3, "redis-py's own patience is 8 s and more"
    assert f"online store redis://{silent}: " in str(error.value)
    assert "secret" not in str(error.value)


def test_a_redis_that_is_not_there_is_unavailable_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"127.0.0.1:{server.getsockname()[1]}"
    store = FeastOnline(SPEC, f"redis://{gone}", timeout=TIMEOUT)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=rf"online store redis://{gone}: Error 111"):
        store.read(["a"])
    assert time.monotonic() - started < 3


def test_an_absent_file_is_unavailable_and_stays_absent(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"is absent: run flight_delay\.feature_ingestion first"):
        FeastOnline(SPEC, f"{tmp_path}/online.db").read(["a"])
    assert not list(tmp_path.iterdir())
