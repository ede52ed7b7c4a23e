"""What HAProxy does for the requests of a server that dies, or is busy."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.contract.serving.conftest import MODEL, Installation

from .burst import LARGE_ROWS, clients, kill_under_load


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("servers"))
    try:
        made.start()
        made.deploy("champion", 1)
        made.deploy("canary", 2)
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("weight", [50, 100])
def test_what_a_killed_server_had_in_its_hands_is_asked_again(servers: Installation, weight: int) -> None:
    lost = kill_under_load(servers, rows=1, weight=weight, kills=2)
    assert lost.in_flight > 0
    # An answer that had begun cannot be taken back.
    assert (lost.lost - lost.cut, lost.later) == (0, 0)


def test_a_busy_server_is_not_taken_for_a_dead_one(servers: Installation) -> None:
    servers.router.shift(MODEL, 0)
    with clients(servers.settings.endpoint, LARGE_ROWS) as outcomes:
        time.sleep(3)
    assert [item for item in outcomes if item.failed] == []
