"""A dozen kills at random moments: whoever restarts, resumes, and users notice what they must.

`tests/benchmarks/faults.py` kills everything in every state, again and again; docs/faults.md has its figures.
"""

from __future__ import annotations

import pytest

from .campaign import play
from .effects import Effect
from .kills import BOTH, CANARY, CHAMPION, HAPROXY, STEP, Cell
from .rollout import GIVING_BACK, PROMOTED, PROMOTING, ROLLING_BACK, STAGED
from .witness import Witness
from .world import World

CELLS: tuple[Cell, ...] = (
    (STEP, STAGED),
    (STEP, "25 %"),
    (STEP, PROMOTING),
    (STEP, ROLLING_BACK),
    (CHAMPION, "50 %"),
    (CHAMPION, PROMOTED),
    (CANARY, "100 %"),
    (CANARY, PROMOTING),
    (STEP, GIVING_BACK),
    (HAPROXY, "100 %"),
    (HAPROXY, ROLLING_BACK),
    (BOTH, PROMOTED),
)
SEED = 4


@pytest.fixture(scope="module")
def effects(world: World, witness: Witness) -> list[Effect]:
    return list(play(world, witness, CELLS, SEED))


def test_everything_was_killed(effects: list[Effect]) -> None:
    assert {(effect.kill.part, effect.kill.state) for effect in effects} == set(CELLS)


def test_the_invariants_hold_after_each_kill(effects: list[Effect]) -> None:
    assert [line for effect in effects for line in effect.violations] == []


def test_killing_a_step_costs_no_request(effects: list[Effect]) -> None:
    assert [effect.failed for effect in effects if effect.kill.part == STEP and effect.failed] == []


def test_killing_one_of_two_servers_costs_at_most_what_it_had_in_its_hands(effects: list[Effect]) -> None:
    alone = [effect for effect in effects if effect.kill.part in (CHAMPION, CANARY) and not effect.kill.alone]
    assert alone
    assert [effect for effect in alone if len(effect.failed) > effect.in_flight] == []
