"""The simulated service: its laws of errors, latencies and scores, and one second of its traffic, of many rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Vector = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

SIGMA, TAIL_SHARE, TAIL_FACTOR = 0.4, 0.01, 10.0
"""Latencies are log-normal, and one in a hundred is ten times as long."""

MEDIAN_SECONDS = 0.03
REFUSED = 0.005
SAME_REQUEST = 0.9
"""Correlation of both arms' scores of one request, as ranks of a normal pair."""

SHADOW = 0
ALL = 100
"""The weight at which the champion answers copies of the canary's requests."""

LOOK_SECONDS, COPIES_A_LOOK = 0.3, 100
"""The pause between two looks, and how many copies `kilter.stores.arms.Mirror` makes in each, one after the other."""


@dataclass(frozen=True)
class Service:
    """Requests a second, and the champion's share of errors."""

    rate: float
    errors: float


@dataclass(frozen=True)
class Candidate:
    """What a candidate adds to the champion's share of errors, and how many times as long its answers take."""

    name: str
    errors: float = 0.0
    latency: float = 1.0
    bad_from: int = SHADOW
    """The weight from which it is so."""


HARMLESS = Candidate("no difference")
BAD = (
    Candidate("errors +0.5 points", errors=0.005),
    Candidate("errors +1 point", errors=0.01),
    Candidate("errors +5 points", errors=0.05),
    Candidate("latency x 1.2", latency=1.2),
    Candidate("latency x 2", latency=2.0),
)
LATE = Candidate("errors +5 points from 50 % on", errors=0.05, bad_from=50)
LATE_AND_LITTLE = Candidate("errors +3 points from 50 % on", errors=0.03, bad_from=50)
LATE_AND_SLOW = Candidate("latency x 2 from 50 % on", latency=2.0, bad_from=50)
AT_THE_BOUND = Candidate("errors +1 point, latency x 1.5", errors=0.01, latency=1.5)
"""Exactly what the spec allows as shipped."""

WITHIN = Candidate("errors +0.9 points, latency x 1.45", errors=0.009, latency=1.45)


class Arm(NamedTuple):
    """One second of one version, a row for each rollout. Latencies and scores are seen through their order alone.

    So latencies stand as logarithms, and scores as the normal ranks of whatever continuous distribution they have.
    """

    errors: Numbers
    refused: Numbers
    latencies: Vector
    scores: Vector


def split(service: Service, candidate: Candidate, weight: int) -> tuple[int, int]:
    """Requests a second of canary and champion that are compared, whole ones.

    In the shadow both have the copies that the canary answers; with all requests the canary's, the champion has copies.
    """
    if weight == SHADOW:
        both = copies(service.rate, candidate.latency if candidate.bad_from == SHADOW else 1.0)
        return both, both
    canary = int(service.rate * weight / 100)
    return canary, copies(service.rate, 1.0) if weight == ALL else int(service.rate) - canary


def copies(rate: float, factor: float) -> int:
    """Copies a second: all requests, or as many as a server can answer one after the other."""
    usual = MEDIAN_SECONDS * factor * np.exp(SIGMA**2 / 2)
    mean = usual * (1 + TAIL_SHARE * (TAIL_FACTOR - 1))
    return int(min(rate, 1 / (LOOK_SECONDS / COPIES_A_LOOK + mean)))


def second(
    random: np.random.Generator, rollouts: int, service: Service, candidate: Candidate, weight: int
) -> tuple[Arm, Arm]:
    """One second of canary and champion."""
    for_canary, for_champion = split(service, candidate, weight)
    bad = weight >= candidate.bad_from
    champion = _arm(random, (rollouts, for_champion), service.errors, 1.0)
    canary = _arm(
        random,
        (rollouts, for_canary),
        service.errors + candidate.errors * bad,
        candidate.latency if bad else 1.0,
    )
    if weight == SHADOW:
        shared = SAME_REQUEST * champion.scores + np.sqrt(1 - SAME_REQUEST**2) * canary.scores
        # Compared with that of another request; all here are drawn alike, so a neighbour's is as good as one at random.
        canary = canary._replace(scores=np.roll(shared.astype(np.float32), 1, axis=1))
    return canary, champion


def _arm(random: np.random.Generator, shape: tuple[int, int], errors: float, factor: float) -> Arm:
    rollouts, requests = shape
    return Arm(
        random.binomial(requests, errors, rollouts),
        random.binomial(requests, REFUSED, rollouts),
        log_latencies(random, shape, factor),
        random.standard_normal(shape, dtype=np.float32),
    )


def log_latencies(random: np.random.Generator, shape: tuple[int, ...], factor: float) -> Vector:
    """Logarithms of seconds."""
    usual = SIGMA * random.standard_normal(shape, dtype=np.float32)
    slow = random.random(shape, dtype=np.float32) < TAIL_SHARE
    middle = np.float32(np.log(MEDIAN_SECONDS * factor))
    return np.asarray(usual + middle + slow * np.float32(np.log(TAIL_FACTOR)), dtype=np.float32)


def slower_than(seconds: float, factor: float) -> float:
    """The share of answers that take longer."""
    distance = np.log(seconds / (MEDIAN_SECONDS * factor))
    usual = (1 - TAIL_SHARE) * norm.sf(distance / SIGMA)
    return float(usual + TAIL_SHARE * norm.sf((distance - np.log(TAIL_FACTOR)) / SIGMA))
