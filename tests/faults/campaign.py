"""Rollouts one after another, with kills in them, until everything was killed in every state."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

from tests.contract.serving.conftest import MODEL

from .effects import Effect, effect
from .kills import BOUND, PEACE, Cell, Killer
from .rollout import CLIMB, GIVING_BACK, PROMOTED, PROMOTING, ROLLING_BACK, Rollout
from .traffic import Outcome
from .witness import Witness
from .world import VERSIONS, World, wait_until_well


def play(
    world: World, witness: Witness, cells: Sequence[Cell], seed: int, tell: Callable[[str], None] = lambda line: None
) -> Iterator[Effect]:
    """Roll versions out in turn until each cell's kill was done; yield what came of each.

    Raises:
        AssertionError: a rollout in which nothing was killed violated something.
    """
    pending, chance = list(cells), random.Random(seed)
    killer = Killer(world, pending, chance)
    while pending:
        before = world.registry.champion(MODEL)
        assert before is not None
        candidate = before % VERSIONS + 1
        begun, known = time.monotonic(), len(killer.kills)
        rollout = Rollout(world, candidate, killer, _leave(pending, chance))
        state = rollout.play()
        if state == PROMOTED:
            killer.after()
            if any(cell[1] == GIVING_BACK for cell in pending):
                state = rollout.give_back()
        wrong = [*rollout.failures, *_wrong_at_rest(world, candidate if state == PROMOTED else before)]
        time.sleep(PEACE)
        outcomes = [item for item in world.traffic.outcomes() if item.ended >= begun]
        kills = killer.kills[known:]
        ends = [*(kill.at for kill in kills[1:]), time.monotonic()]
        wrong += _wrong_anywhere(outcomes, {before, candidate}, kills[0].at if kills else ends[0])
        assert kills or not wrong, wrong
        tell(f"version {candidate} after {before}: {state}; {len(kills)} kills, {len(pending)} to come")
        for kill, end in zip(kills, ends, strict=False):
            yield effect(kill, end, outcomes, witness, wrong if kill is kills[-1] else [])


def _leave(pending: Sequence[Cell], chance: random.Random) -> str | None:
    """After which state the next rollout is broken off, so that each kind of kill that is left comes to pass."""
    states = {state for _, state in pending}
    last = max((CLIMB.index(state) for state in states if state in CLIMB), default=0)
    if ROLLING_BACK in states and (states == {ROLLING_BACK} or chance.random() < 0.5):
        return chance.choice(CLIMB[: last + 1])
    return None if states & {PROMOTING, PROMOTED, GIVING_BACK} else CLIMB[last]


def _wrong_anywhere(outcomes: Sequence[Outcome], versions: set[int], first_kill: float) -> list[str]:
    """Answers of a version that has no part in this rollout, and requests that failed before anything was killed."""
    wrong = [f"neither champion nor candidate answered: {item}" for item in outcomes if _is_strange(item, versions)]
    return wrong + [f"failed unprovoked: {item}" for item in outcomes if item.failed and item.ended < first_kill]


def _is_strange(outcome: Outcome, versions: set[int]) -> bool:
    return not outcome.failed and outcome.version not in versions


def _wrong_at_rest(world: World, champion: int) -> list[str]:
    """What differs when a rollout has ended: there is one champion, by every account."""
    wait_until_well(world, BOUND)
    row = world.ledger.open_rollout(MODEL)
    found = {
        "rollout under way": (row and row["state"], None),
        "alias champion": (world.registry.champion(MODEL), champion),
        "alias canary": (world.registry.alias(MODEL, "canary"), None),
        "version promoted last": (world.ledger.last_promoted(MODEL), champion),
        "version on the champion server": (world.serving("champion"), champion),
        "weights": (dict(world.router.weights(MODEL)), {"champion": 100, "canary": 0}),
    }
    return [f"at rest: {what} is {is_}, not {shall}" for what, (is_, shall) in found.items() if is_ != shall]
