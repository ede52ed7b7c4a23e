"""A world with traffic and its witness, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .rollout import first_champion
from .witness import Witness
from .world import World

RATE = 60.0
"""Requests a second: what two cores answer while they run everything else too."""


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), RATE)
    try:
        made.start()
        first_champion(made, 1)
        with made.traffic:
            yield made
    finally:
        made.stop()


@pytest.fixture(scope="package")
def witness(world: World) -> Iterator[Witness]:
    with Witness(world.ledger, world.router) as made:
        yield made
