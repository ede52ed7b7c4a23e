"""Rollouts judged as `kilter.core.canary` judges them, many at a time: one look a second at all that came since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from canary_traffic import SHADOW, Arm, Candidate, Service, second, split

from kilter.core import canary
from kilter.core.sequential import rates, superiority
from kilter.core.sequential.rates import Counts
from kilter.spec import Canary

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

MEASURES = canary.measures(Canary())
ROLLED_BACK, HELD, PROMOTED = range(3)


@dataclass(frozen=True)
class Rules:
    """A spec's `canary` section, and whether a shadow comes before its weights, as it always does in truth."""

    name: str
    spec: Canary
    shadow: bool = True

    @property
    def steps(self) -> tuple[int, ...]:
        return (SHADOW, *self.spec.weights) if self.shadow else self.spec.weights


SHIPPED = Rules("as shipped", Canary())
UNSHADOWED = replace(SHIPPED, name="as shipped, no shadow", shadow=False)
TIGHT = Rules("tight", Canary(allowed_error_rate=0.003, allowed_latency_ratio=1.1))
"""Allows little, and can still be sure of a candidate that is as the champion."""
STRICT = Rules("strict", Canary(allowed_error_rate=0.0, allowed_latency_ratio=1.0))
"""Allows nothing, so it is never sure that all is well: it rolls back or holds."""


@dataclass
class Outcomes:
    """How rollouts ended, one place each."""

    end: Places
    seconds: Places
    answers: Places
    """Of the canary, copies in the shadow among them."""
    exposed: Places
    """Requests of users that the canary answered."""
    step: Places
    """The place of the step under way at the end."""
    blamed: Floats
    """By measure, logarithm of the money against it at the end."""


class Shares:
    """Bets of one share of requests, beginning anew with each step: arrays of steps and rollouts."""

    def __init__(self, steps: int, rollouts: int) -> None:
        self.seen = np.zeros((4, steps, rollouts))
        self.worse, self.fine = np.zeros((steps, rollouts)), np.zeros((steps, rollouts))

    def see(self, begun: int, at: Places, block: Counts, allowed: float) -> None:
        worse, fine = rates.bets(Counts(*self.seen[:, :begun, at]), block, allowed)
        for place, new in enumerate(block):
            self.seen[place, :begun, at] += np.asarray(new)[..., None]
        self.worse[:begun, at] += worse
        self.fine[:begun, at] += fine

    def money(self, begun: int, at: Places) -> tuple[Floats, Floats]:
        return self.worse[:begun, at], self.fine[:begun, at]


class Greater:
    """Bets on pairs, beginning anew with each step: arrays of steps, rollouts and stakes."""

    def __init__(self, steps: int, rollouts: int) -> None:
        shape = (steps, rollouts, len(superiority.STAKES))
        self.worse, self.fine = np.zeros(shape), np.zeros(shape)

    def see(self, begun: int, at: Places, wins: Places, each: int, allowed: float, lower: bool = False) -> None:
        """`wins` counts twice how many of `each` a value exceeds, and once those it equals."""
        levels = 2 * each + 1
        wins = 2 * each - wins if lower else wins
        rows = np.arange(len(wins))[:, None] * levels
        counts = np.bincount((rows + wins).ravel(), minlength=len(wins) * levels).reshape(len(wins), levels)
        worse, fine = _of_each_level(each, allowed)
        self.worse[:begun, at] += counts @ worse
        self.fine[:begun, at] += counts @ fine

    def money(self, begun: int, at: Places) -> tuple[Floats, Floats]:
        return superiority.money(self.worse[:begun, at]), superiority.money(self.fine[:begun, at])


@cache
def _of_each_level(each: int, allowed: float) -> tuple[Floats, Floats]:
    both = [superiority.bets(np.array([level / (2 * each)]), allowed) for level in range(2 * each + 1)]
    return np.array([worse for worse, _ in both]), np.array([fine for _, fine in both])


def wins_of(canary: npt.NDArray[np.float32], champion: npt.NDArray[np.float32]) -> tuple[Places, int]:
    """What `superiority.effects` says of each row, as whole numbers, and of how many values of the champion."""
    pairs = min(canary.shape[1], champion.shape[1])
    each = champion.shape[1] // pairs
    others = champion[:, : each * pairs].reshape(len(champion), each, pairs)
    values = canary[:, None, :pairs]
    return (2 * (values > others).sum(axis=1) + (values == others).sum(axis=1)), each


class Rollouts:
    """Many rollouts of one candidate, all in the same step at a time: they do not know of each other."""

    def __init__(self, rules: Rules, service: Service, candidate: Candidate, rollouts: int, seed: int) -> None:
        self.rules, self.service, self.candidate = rules, service, candidate
        self.random = np.random.default_rng(seed)
        steps = len(rules.steps)
        self.shares = {name: Shares(steps, rollouts) for name in MEASURES[:2]}
        self.pairs = {name: Greater(steps, rollouts) for name in MEASURES[2:]}
        self.measures: tuple[Shares | Greater, ...] = (*self.shares.values(), *self.pairs.values())
        self.most_fine = np.zeros((len(MEASURES), rollouts))
        seconds, answers, exposed, step = np.zeros((4, rollouts), dtype=np.int64)
        blamed = np.zeros((len(MEASURES), rollouts))
        self.found = Outcomes(np.full(rollouts, PROMOTED), seconds, answers, exposed, step, blamed)

    def run(self, to_the_deadline: bool = False) -> Outcomes:
        """To their ends. `to_the_deadline`: nothing passes early and nothing is held, so that all is looked at longest."""
        going = np.arange(len(self.found.end))
        for place in range(len(self.rules.steps)):
            if len(going):
                going = self._step(place, going, to_the_deadline)
        return self.found

    def _step(self, place: int, at: Places, to_the_deadline: bool) -> Places:
        """One step of those rollouts that reach it; those that pass it."""
        spec = self.rules.spec
        self.found.step[at] = place
        passed: list[Places] = []
        for look in range(1, int(spec.maximum_duration.total_seconds()) + 1):
            against = self._look(place, at)
            bad = (against >= np.log(len(MEASURES) / spec.alpha)).any(axis=0)
            self.found.end[at[bad]] = ROLLED_BACK
            at = at[~bad]
            enough = look * split(self.service, self.candidate, self.rules.steps[place])[0] >= spec.minimum_requests
            sure = (self.most_fine[:, at] >= -np.log(spec.alpha)).all(axis=0) & enough & (not to_the_deadline)
            passed.append(at[sure])
            at = at[~sure]
            if not len(at):
                break
        if to_the_deadline:
            return at
        self.found.end[at] = HELD
        return np.sort(np.concatenate(passed))

    def _look(self, place: int, at: Places) -> Floats:
        """One second of traffic; logarithms of the money against each measure."""
        weight = self.rules.steps[place]
        new, champion = self.traffic(len(at), weight)
        self._bet(place + 1, at, new, champion)
        answers = new.latencies.shape[1]
        self.found.seconds[at] += 1
        self.found.answers[at] += answers
        self.found.exposed[at] += answers * (weight != SHADOW)
        return self._against(place + 1, at)

    def traffic(self, rollouts: int, weight: int) -> tuple[Arm, Arm]:
        """One second of canary and champion."""
        return second(self.random, rollouts, self.service, self.candidate, weight)

    def _bet(self, begun: int, at: Places, new: Arm, champion: Arm) -> None:
        spec = self.rules.spec
        requests, others = (np.full(len(at), arm.latencies.shape[1]) for arm in (new, champion))
        for name, bets in self.shares.items():
            block = Counts(getattr(new, name), requests, getattr(champion, name), others)
            bets.see(begun, at, block, spec.allowed_error_rate)
        slower, each = wins_of(new.latencies, champion.latencies + np.float32(np.log(spec.allowed_latency_ratio)))
        self.pairs["latency"].see(begun, at, slower, each, 0.5)
        higher, each = wins_of(new.scores, champion.scores)
        shift = spec.allowed_score_shift or 0.0
        for name in ("score higher", "score lower"):
            self.pairs[name].see(begun, at, higher, each, 0.5 + shift, name == "score lower")

    def _against(self, begun: int, at: Places) -> Floats:
        steps = len(self.rules.steps)
        for row, bets in enumerate(self.measures):
            worse, fine = bets.money(begun, at)
            self.most_fine[row, at] = np.maximum(self.most_fine[row, at], fine.max(axis=0))
            whole = np.concatenate([worse, np.zeros((steps - begun, len(at)))])
            self.found.blamed[row, at] = np.logaddexp.reduce(whole, axis=0) - np.log(steps)
        return self.found.blamed[:, at]
