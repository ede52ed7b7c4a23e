"""SIGKILL for a part of the installation at a random moment of a rollout's state."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.contract.serving.conftest import MODEL

from kilter.stores.deployment import ROLES

from .rollout import PROMOTED, ROLLING_BACK, STATES, Process
from .traffic import Outcome
from .world import World, wait_until_well

STEP, CHAMPION, CANARY, HAPROXY, BOTH = "step", "champion", "canary", "haproxy", "both servers"
PARTS: Mapping[str, tuple[str, ...]] = {
    STEP: (),
    CHAMPION: ("champion",),
    CANARY: ("canary",),
    HAPROXY: ("haproxy",),
    BOTH: ("champion", "canary"),
}
"""What is killed, and the processes that this means; a step's process is the one that runs at the moment."""
Cell = tuple[str, str]
"""A part, and the state in which it is killed."""
CELLS: tuple[Cell, ...] = tuple(
    (part, state) for part in PARTS for state in STATES if (part, state) != (STEP, PROMOTED)
)
BOUND = 15.0
"""Seconds within which weights are the ledger's again and every request is answered again, whatever was killed."""
PEACE = 0.4
"""Seconds before a kill and after its effects, in which answers under way arrive."""
_USUAL = 1.0
"""Seconds that a step is thought to work before one was seen."""


@dataclass(frozen=True)
class Kill:
    """One kill; times are `time.monotonic()`.

    Args:
        step: the step that ran, or had just ended; empty when none did.
        at: just before the signal.
        gone: when the process was no more.
        alone: whether nobody was left who could have answered.
    """

    part: str
    state: str
    step: str
    at: float
    gone: float
    alone: bool

    def excuses(self, outcome: Outcome) -> bool:
        """Whether a request may have failed by this kill: in flight, or sent while nobody could answer."""
        if self.part == STEP or outcome.ended < self.at:
            return False
        return outcome.sent <= self.gone or (self.alone and outcome.sent <= self.at + BOUND)


@dataclass(frozen=True)
class _Order:
    """What to kill in the state under way, and at which share of the usual time of its step."""

    cell: Cell
    share: float


class Killer:
    """Kills, in each state of a rollout, one of the parts that are still to be killed there.

    Args:
        pending: the cells that are left; each is taken out when its kill was done.
    """

    def __init__(self, world: World, pending: list[Cell], chance: random.Random) -> None:
        self.kills: list[Kill] = []
        self._world = world
        self._pending = pending
        self._chance = chance
        self._order: _Order | None = None
        self._usual: dict[str, float] = {}
        """Seconds that a step worked when it last ran undisturbed."""
        self._struck = False
        """Whether something was killed in the state under way."""
        self._process: Process | None = None
        self._working_since: float | None = None

    def enter(self, state: str) -> None:
        """Choose what to kill in this state, once all is well."""
        self._order, self._struck = None, False
        if here := [cell for cell in self._pending if cell[1] == state]:
            wait_until_well(self._world, BOUND)
            time.sleep(PEACE)
            self._order = _Order(self._chance.choice(here), self._chance.random())

    def during(self, process: Process) -> None:
        """Kill when the time has come; one that comes too late for a step leaves it to another rollout."""
        if process is not self._process:
            self._process, self._working_since = process, None
        if self._working_since is None and process.working:
            self._working_since = time.monotonic()
        if self._order:
            if process.ended and self._order.cell[0] == STEP:
                self._order = None
            elif process.ended or self._is_time(process, self._order.share):
                self._strike(self._order.cell, process)
        if process.ended and self._working_since is not None and not self._struck:
            self._usual[process.step] = time.monotonic() - self._working_since

    def after(self) -> None:
        """Kill what is to be killed once a version is promoted and nothing runs."""
        self.enter(PROMOTED)
        if self._order:
            self._strike(self._order.cell, None)

    def _is_time(self, process: Process, share: float) -> bool:
        if self._working_since is None:
            return False
        return time.monotonic() - self._working_since >= share * self._usual.get(process.step, _USUAL)

    def _strike(self, cell: Cell, process: Process | None) -> None:
        part, state = cell
        alone = self._leaves_nobody(part, state)
        at = time.monotonic()
        if part == STEP and process is not None:
            process.kill()
        self._world.kill_all(PARTS[part])
        self.kills.append(Kill(part, state, process.step if process else "", at, time.monotonic(), alone))
        self._pending.remove(cell)
        self._order, self._struck = None, True

    def _leaves_nobody(self, part: str, state: str) -> bool:
        """Whether nobody can answer without this part. While rolling back the candidate is withdrawn, and must not."""
        if part in (STEP, HAPROXY):
            return part == HAPROXY
        if state == ROLLING_BACK and "champion" in PARTS[part]:
            return True
        counters = self._world.router.counters(MODEL)
        return not any(counters[role].up for role in ROLES if role not in PARTS[part])
