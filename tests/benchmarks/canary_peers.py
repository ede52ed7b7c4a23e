"""Two other rules on traffic of the same laws: thresholds as Flagger's, and Mann and Whitney's test as Kayenta's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from canary_traffic import Candidate, Service, log_latencies, slower_than
from scipy.stats import norm

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

MINUTE = 60


@dataclass
class PeerOutcomes:
    """How rollouts ended, one place each."""

    rolled_back: npt.NDArray[np.bool_]
    seconds: Places
    exposed: Places


@dataclass(frozen=True)
class Flagger:
    """Flagger's documented example of an analysis: how-it-works, metrics and the tutorial of Istio in its docs.

    A check a minute of the minute's success rate and p99; one that fails, and one without any request, halts the
    rollout where it is and counts, and as many as `threshold` in all, not in a row, roll it back
    (`pkg/controller/scheduler.go`, `scheduler_metrics.go`).
    """

    p99_seconds: float = 0.5
    success_rate: float = 0.99
    threshold: int = 5
    weights: tuple[int, ...] = (10, 20, 30, 40, 50)


def flagger(seed: int, rules: Flagger, service: Service, candidate: Candidate, rollouts: int) -> PeerOutcomes:
    """Checks go on until the last weight has passed one, or too many have failed."""
    random = np.random.default_rng(seed)
    weights = np.array(rules.weights)
    place, failed, seconds, exposed = (np.zeros(rollouts, dtype=np.int64) for _ in range(4))
    while (going := np.flatnonzero((place < len(weights)) & (failed < rules.threshold))).size:
        weight = weights[place[going]]
        requests = random.poisson(service.rate * MINUTE * weight / 100)
        bad = weight >= candidate.bad_from
        errors = random.binomial(requests, service.errors + candidate.errors * bad)
        too_slow = np.where(bad, slower_than(rules.p99_seconds, candidate.latency), slower_than(rules.p99_seconds, 1.0))
        slow = random.binomial(requests, too_slow)
        fine = (requests > 0) & (requests - errors >= rules.success_rate * requests) & (slow <= 0.01 * requests)
        place[going] += fine
        failed[going] += ~fine
        seconds[going] += MINUTE
        exposed[going] += requests
    return PeerOutcomes(failed >= rules.threshold, seconds, exposed)


@dataclass(frozen=True)
class Kayenta:
    """Kayenta's judge with its published defaults, and the times that Spinnaker's best practices begin with.

    Three runs of an hour, a point a minute; a score below `marginal` fails at once, and the last must reach `pass`.
    Confidence, tolerance and the effect size of 1, which asks for nothing more, stand in `NetflixACAJudge.scala`.
    """

    confidence: float = 0.98
    tolerance: float = 0.25
    marginal: float = 75.0
    passing: float = 95.0
    runs: int = 3
    minutes: int = 60
    weight: int = 5
    """Of the canary, and of the baseline, a fresh copy of the champion."""


SCORE_MEAN, SCORE_DEVIATION = 2 / 7, np.sqrt(2 * 5 / (7**2 * 8))
"""Of a beta distribution with 2 and 5."""


def kayenta(
    seed: int,
    rules: Kayenta,
    service: Service,
    candidate: Candidate,
    rollouts: int,
    wrong: tuple[float, float] | None = None,
) -> PeerOutcomes:
    """Judge the runs. `wrong`: shares of wrong answers of baseline and canary, where labels come; a fourth metric."""
    random = np.random.default_rng(seed)
    rolled_back, seconds = np.zeros(rollouts, dtype=np.bool_), np.zeros(rollouts, dtype=np.int64)
    # A canary of fixed weight: one that turns bad at a greater one never does so here.
    bad = rules.weight >= candidate.bad_from
    for run in range(rules.runs):
        if not (going := np.flatnonzero(~rolled_back)).size:
            break
        shape = (len(going), rules.minutes)
        requests = random.poisson(service.rate * MINUTE * rules.weight / 100, (2, *shape))
        passed = [
            ~_high(_shares(random, requests, service.errors, service.errors + candidate.errors * bad), rules),
            ~_high(_mean_latencies(random, requests, candidate.latency if bad else 1.0), rules),
            ~_differs(_mean_scores(random, requests), rules),
        ]
        if wrong:
            passed.append(~_high(_shares(random, requests, *wrong), rules))
        score = 100 * np.mean(passed, axis=0)
        rolled_back[going] = score < (rules.passing if run == rules.runs - 1 else rules.marginal)
        seconds[going] += rules.minutes * MINUTE
    return PeerOutcomes(rolled_back, seconds, (seconds * service.rate * rules.weight / 100).astype(np.int64))


def _shares(random: np.random.Generator, requests: Places, baseline: float, canary: float) -> Floats:
    """Shares of hits of each minute, of baseline and canary."""
    return np.stack([random.binomial(requests[0], baseline), random.binomial(requests[1], canary)]) / requests


def _mean_latencies(random: np.random.Generator, requests: Places, factor: float) -> Floats:
    means = []
    for of_minutes, times in zip(requests, (1.0, factor), strict=True):
        found = np.empty(of_minutes.shape)
        for row, counts in enumerate(of_minutes):
            values = np.exp(log_latencies(random, (int(counts.sum()),), times))
            found[row] = _means(values, counts)
        means.append(found)
    return np.stack(means)


def _means(values: npt.NDArray[np.float32], counts: Places) -> Floats:
    """Means of consecutive parts."""
    return np.asarray(np.add.reduceat(values, np.concatenate([[0], counts.cumsum()[:-1]]), dtype=np.float64) / counts)


def _mean_scores(random: np.random.Generator, requests: Places) -> Floats:
    """Means of many scores of one beta distribution, which are normal."""
    return np.asarray(SCORE_MEAN + SCORE_DEVIATION / np.sqrt(requests) * random.standard_normal(requests.shape))


def _high(both: Floats, rules: Kayenta) -> npt.NDArray[np.bool_]:
    low, middle, _ = _shift(both, rules.confidence)
    return np.asarray(low > rules.tolerance * np.abs(middle))


def _differs(both: Floats, rules: Kayenta) -> npt.NDArray[np.bool_]:
    low, middle, high = _shift(both, rules.confidence)
    reach = rules.tolerance * np.abs(middle)
    return np.asarray((low > reach) | (high < -reach))


def _shift(both: Floats, confidence: float) -> Floats:
    """Interval and middle of how far the canary's points lie above the baseline's: Hodges and Lehmann (1963).

    The median of all differences, and those of them that Mann and Whitney's test, as a normal one, just does not
    refuse. No minute is without requests here, and no outlier is removed.
    """
    baseline, canary = both
    points = baseline.shape[1]
    differences = np.sort((canary[:, :, None] - baseline[:, None, :]).reshape(len(baseline), -1), axis=1)
    reach = norm.ppf((1 + confidence) / 2) * np.sqrt(points**2 * (2 * points + 1) / 12)
    first = int(points**2 / 2 - reach)
    return np.stack([differences[:, first], np.median(differences, axis=1), differences[:, points**2 - 1 - first]])
