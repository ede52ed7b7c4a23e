"""The canary's judgement: both arms' requests compared as they come, as often as one likes.

Of the candidates that are no worse than the spec allows a share of at most `alpha` is rolled back, over the whole
rollout and however long it is watched. The bets behind it: `kilter.core.sequential`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from kilter.core.sequential import rates, superiority
from kilter.core.sequential.rates import Counts
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Canary

NAME = "canary"
Vector = npt.NDArray[np.float64]

_SHARES = ("errors", "refused")
_SCORES = ("score higher", "score lower")


def measures(rules: Canary) -> tuple[str, ...]:
    """What is compared under these rules."""
    return (*_SHARES, "latency", *(_SCORES if rules.allowed_score_shift is not None else ()))


def _nothing() -> Vector:
    return np.empty(0)


@dataclass(frozen=True)
class Arm:
    """What one version did since the last look.

    Args:
        requests: requests that it was given.
        errors: those that ended in a 5xx answer or in none.
        refused: those that ended in a 4xx answer: the version does not take what the client sent.
        seconds: how long answers took.
        scores: of the first row of each of those answers; of several classes the greatest probability.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    seconds: Vector = field(default_factory=_nothing)
    scores: Vector = field(default_factory=_nothing)

    def plus(self, later: Arm) -> Arm:
        """Both stretches of time as one."""
        return Arm(
            self.requests + later.requests,
            self.errors + later.errors,
            self.refused + later.refused,
            np.append(self.seconds, later.seconds),
            np.append(self.scores, later.scores),
        )


@dataclass(frozen=True)
class Look:
    """Both arms in the same stretch of time."""

    champion: Arm = field(default_factory=Arm)
    canary: Arm = field(default_factory=Arm)

    def plus(self, later: Look) -> Look:
        """Both stretches of time as one."""
        return Look(self.champion.plus(later.champion), self.canary.plus(later.canary))

    @property
    def compares(self) -> bool:
        """Whether both arms have requests; a look at one alone tells nothing, and what it saw would be lost."""
        return bool(self.champion.requests and self.canary.requests)


class Bet(BaseModel):
    """One measure from one step on: what was seen, and the logarithms of the money won."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hits: float = 0.0
    """Errors, refusals, or the sum of the effects of all pairs."""
    requests: int = 0
    """Or pairs."""
    champion_hits: float = 0.0
    champion_requests: int = 0
    worse: tuple[float, ...] = (0.0,) * len(superiority.STAKES)
    """Against *no worse than allowed*, for each stake."""
    fine: tuple[float, ...] = (0.0,) * len(superiority.STAKES)
    """Against *worse than allowed*."""


class Evidence(BaseModel):
    """All that a rollout has shown so far: small, so that the ledger keeps it and whoever restarts goes on with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    """How many steps the rollout has in all, the shadow among them."""
    requests: int = 0
    """Of the canary, in the step under way."""
    bets: tuple[dict[str, Bet], ...] = ()
    """By measure, for each step begun. A step bets anew beside those before it, so that a candidate that turns bad late
    does not live on what was won for it early."""
    most_fine: dict[str, float] = {}
    """The most that each measure's bets against *worse than allowed* had won at any time, as a logarithm."""

    def begin(self, rules: Canary) -> Evidence:
        """Begin the next step."""
        return self.model_copy(update={"requests": 0, "bets": (*self.bets, {name: Bet() for name in measures(rules)})})

    def after(self, look: Look, rules: Canary) -> Evidence:
        """What is known after one more look."""
        bets = tuple({name: _after(name, bet, look, rules) for name, bet in step.items()} for step in self.bets)
        fine = {
            name: max(self.most_fine.get(name, 0.0), *(_money(step[name].fine) for step in bets)) for name in bets[0]
        }
        requests = self.requests + look.canary.requests
        return self.model_copy(update={"bets": bets, "most_fine": fine, "requests": requests})

    def against(self, measure: str) -> float:
        """Logarithm of the money won against *no worse than allowed*: the mean over all steps, begun or not."""
        begun = [_money(step[measure].worse) for step in self.bets]
        return float(np.logaddexp.reduce([*begun, *[0.0] * (self.steps - len(begun))]) - math.log(self.steps))


def judge(evidence: Evidence, rules: Canary, up: bool = True) -> Judgement:
    """Judge a canary in the step under way.

    | verdict | when |
    | --- | --- |
    | failed | a measure is surely worse than allowed: its bets won as many times their money as there are measures, over `alpha` |
    | error | the canary's server is down |
    | inconclusive | fewer than `minimum_requests` in this step, or a measure that is not surely within what is allowed |
    | passed | otherwise: each measure's bets against *worse than allowed* have won `1 / alpha` times their money |

    The family of measures fails wrongly with a chance of at most `alpha`, by Ville's inequality and Bonferroni's. It
    passes wrongly with one of at most `alpha`, too, as long as it stays as bad as it is: all measures must pass, so the bad
    one must (Berger 1982, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24), and the rollout's
    first step by its own bets alone.

    Args:
        up: whether the canary's server passes its health check.
    """
    names = measures(rules)
    against = {name: evidence.against(name) for name in names}
    bad = [name for name in names if against[name] >= math.log(len(names) / rules.alpha)]
    figures = {
        "requests": evidence.requests,
        "p": {name: _p(value) for name, value in against.items()},
        "p_needed": rules.alpha / len(names),
    }
    told = [_sentence(name, evidence, rules, against[name]) for name in sorted(names, key=lambda name: -against[name])]
    if bad:
        reasons = [f"{', '.join(bad)} surely worse than allowed", *told]
        return _judgement(Verdict.FAILED, reasons, figures)
    if not up:
        return _judgement(Verdict.ERROR, ["the canary server is down: its health check fails", *told], figures)
    if missing := list(_missing(evidence, rules)):
        return _judgement(Verdict.INCONCLUSIVE, [f"not enough data: {', '.join(missing)}", *told], figures)
    return _judgement(Verdict.PASSED, told, figures)


def _missing(evidence: Evidence, rules: Canary) -> list[str]:
    unsure = [name for name in measures(rules) if evidence.most_fine.get(name, 0.0) < -math.log(rules.alpha)]
    missing = [f"{', '.join(unsure)} not surely within what is allowed yet"] if unsure else []
    if evidence.requests < rules.minimum_requests:
        missing.insert(0, f"canary got {evidence.requests} of {rules.minimum_requests} requests needed")
    return missing


def _after(name: str, bet: Bet, look: Look, rules: Canary) -> Bet:
    """A measure's bets after one more look."""
    if name in _SHARES:
        return _share_after(bet, getattr(look.canary, name), getattr(look.champion, name), look, rules)
    effect = _effects(name, look, rules)
    worse, fine = superiority.bets(effect, _allowed(name, rules))
    seen = {"hits": bet.hits + float(effect.sum()), "requests": bet.requests + len(effect)}
    return bet.model_copy(update={**seen, **_won(bet, worse, fine)})


def _share_after(bet: Bet, hits: int, champion_hits: int, look: Look, rules: Canary) -> Bet:
    # A request that failed twice counts once: a share beyond 1 is none.
    requests, champion = look.canary.requests, look.champion.requests
    hits, champion_hits = min(hits, requests), min(champion_hits, champion)
    seen = Counts(bet.hits, bet.requests, bet.champion_hits, bet.champion_requests)
    worse, fine = rates.bets(seen, Counts(hits, requests, champion_hits, champion), rules.allowed_error_rate)
    return Bet(
        hits=bet.hits + hits,
        requests=bet.requests + requests,
        champion_hits=bet.champion_hits + champion_hits,
        champion_requests=bet.champion_requests + champion,
        **_won(bet, worse, fine),
    )


def _won(bet: Bet, worse: Vector, fine: Vector) -> dict[str, Any]:
    return {"worse": tuple(np.add(bet.worse, worse).tolist()), "fine": tuple(np.add(bet.fine, fine).tolist())}


def _effects(name: str, look: Look, rules: Canary) -> Vector:
    if name == "latency":
        floor = rules.latency_floor.total_seconds()
        return superiority.effects(look.canary.seconds, look.champion.seconds, rules.allowed_latency_ratio, floor)
    higher = superiority.effects(look.canary.scores, look.champion.scores)
    return higher if name == "score higher" else 1 - higher


def _allowed(name: str, rules: Canary) -> float:
    """The greatest mean effect that is allowed: one half is none of a difference."""
    return 0.5 if name == "latency" else 0.5 + (rules.allowed_score_shift or 0.0)


def _money(logarithms: tuple[float, ...]) -> float:
    return float(superiority.money(np.array(logarithms)))


def _p(against: float) -> float:
    return min(1.0, math.exp(-against))


def _sentence(name: str, evidence: Evidence, rules: Canary, against: float) -> str:
    """What was seen of a measure since the first step, what is allowed, and how surely it is broken."""
    seen = evidence.bets[0][name] if evidence.bets else Bet()
    share = seen.hits / max(1, seen.requests)
    if name in _SHARES:
        champion = seen.champion_hits / max(1, seen.champion_requests)
        compared = (
            f"{share:.2%} of {seen.requests}, champion {champion:.2%} of {seen.champion_requests}, "
            f"{rules.allowed_error_rate:.2%} more allowed"
        )
    else:
        times = f"{rules.allowed_latency_ratio:g} x " if name == "latency" else ""
        side = "below" if name == "score lower" else "above"
        allowed = _allowed(name, rules)
        compared = f"{side} {times}the champion's in {share:.0%} of {seen.requests} pairs, {allowed:.0%} allowed"
    return f"{name}: {compared} (p {_p(against):.2g})"


def _judgement(verdict: Verdict, told: list[str], figures: dict[str, Any]) -> Judgement:
    return Judgement(name=NAME, verdict=verdict, reason="; ".join(told), figures=figures)
