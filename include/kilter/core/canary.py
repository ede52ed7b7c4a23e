"""The canary's judgement: errors, refusals and latency of the candidate against the champion, side by side."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Canary

NAME = "canary"
STANDARD_ERRORS = 3
"""How many standard errors the arms' refusals may differ by chance; that much by chance is rarer than 1 in 700."""


@dataclass(frozen=True)
class Arm:
    """What one version did while it was observed.

    Args:
        requests: requests that it was given.
        errors: those that ended in a 5xx answer or in none.
        refused: those that ended in a 4xx answer: the version does not take what the client sent.
        answered: requests whose time was taken.
        seconds: time spent on those in all.
        up: whether its server passed the last health check.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    answered: int = 0
    seconds: float = 0.0
    up: bool = True

    @property
    def error_rate(self) -> float:
        """Errors as a share of the requests; a request that failed twice counts twice, so at most 1."""
        return min(1.0, self.errors / self.requests) if self.requests else float(self.errors > 0)

    @property
    def refusal_rate(self) -> float:
        """Refusals as a share of the requests."""
        return min(1.0, self.refused / self.requests) if self.requests else float(self.refused > 0)

    @property
    def latency(self) -> float | None:
        """Mean seconds of an answer; None when no time was taken."""
        return self.seconds / self.answered if self.answered else None


def judge(champion: Arm, canary: Arm, rules: Canary) -> Judgement:
    """Judge a canary by its error rate, its refusals and its mean latency.

    | verdict | when |
    | --- | --- |
    | failed | errors: rate above the champion's by more than `allowed_error_rate`, also when that is already certain before `minimum_requests` |
    | error | the canary's server is down |
    | inconclusive | either arm has fewer than `minimum_requests` |
    | failed | refusals: share of 4xx above the champion's by more than `allowed_error_rate` and chance |
    | error | the latency of an arm could not be measured |
    | failed | latency: mean above `allowed_latency_ratio` times the champion's and above `latency_floor` |
    | passed | otherwise |

    The limits hold: what equals a limit passes. Clients make mistakes too, and more in one arm than in the other
    by chance: that is worth `STANDARD_ERRORS` standard errors, as the pooled z-test of two proportions has them.
    """
    too_many_errors, errors = _errors(champion, canary, rules)
    few = [
        f"{name} got {arm.requests} of {rules.minimum_requests} requests needed"
        for name, arm in (("canary", canary), ("champion", champion))
        if arm.requests < rules.minimum_requests
    ]
    if too_many_errors:
        return _judgement(Verdict.FAILED, errors, champion, canary)
    if not canary.up:
        reason = f"the canary server is down: its health check fails; {errors}"
        return _judgement(Verdict.ERROR, reason, champion, canary)
    if few:
        return _judgement(Verdict.INCONCLUSIVE, f"not enough data: {'; '.join(few)}", champion, canary)
    too_many_refused, refusals = _refusals(champion, canary, rules)
    if too_many_refused:
        return _judgement(Verdict.FAILED, f"{errors}; {refusals}", champion, canary)
    if champion.latency is None or canary.latency is None:
        unmeasured = " and ".join(
            name for name, arm in (("canary", canary), ("champion", champion)) if arm.latency is None
        )
        return _judgement(
            Verdict.ERROR, f"{errors}; {refusals}; latency of {unmeasured} could not be measured", champion, canary
        )
    too_slow, latency = _latency(champion.latency, canary.latency, rules)
    return _judgement(
        Verdict.FAILED if too_slow else Verdict.PASSED, f"{errors}; {refusals}; {latency}", champion, canary
    )


def _errors(champion: Arm, canary: Arm, rules: Canary) -> tuple[bool, str]:
    allowed = champion.error_rate + rules.allowed_error_rate
    # Below the minimum the missing requests are taken as faultless: what fails then, fails for certain.
    seen = max(canary.requests, rules.minimum_requests)
    rate = min(1.0, canary.errors / seen)
    too_many = rate > allowed
    sentence = (
        f"error rate {rate:.2%} ({canary.errors} of {seen}) {'>' if too_many else '<='} "
        f"{champion.error_rate:.2%} ({champion.errors} of {champion.requests}) + {rules.allowed_error_rate:.2%} allowed"
    )
    if canary.requests < seen:
        sentence += f", were the {seen - canary.requests} requests still missing all answered"
    return too_many, sentence


def _refusals(champion: Arm, canary: Arm, rules: Canary) -> tuple[bool, str]:
    pooled = min(1.0, (champion.refused + canary.refused) / (champion.requests + canary.requests))
    chance = STANDARD_ERRORS * math.sqrt(pooled * (1 - pooled) * (1 / champion.requests + 1 / canary.requests))
    too_many = canary.refusal_rate > champion.refusal_rate + rules.allowed_error_rate + chance
    sentence = (
        f"refused (4xx) {canary.refusal_rate:.2%} ({canary.refused} of {canary.requests}) {'>' if too_many else '<='} "
        f"{champion.refusal_rate:.2%} ({champion.refused} of {champion.requests}) + {rules.allowed_error_rate:.2%} "
        f"allowed + {chance:.2%} chance"
    )
    return too_many, sentence


def _latency(champion: float, canary: float, rules: Canary) -> tuple[bool, str]:
    floor = rules.latency_floor.total_seconds()
    allowed = max(champion * rules.allowed_latency_ratio, floor)
    too_slow = canary > allowed
    sentence = (
        f"mean latency {canary * 1000:.2f} ms {'>' if too_slow else '<='} "
        f"{champion * 1000:.2f} ms x {rules.allowed_latency_ratio:g} allowed"
    )
    if floor:
        sentence += f", or {floor * 1000:g} ms, below which nothing is called slow"
    return too_slow, sentence


def _judgement(verdict: Verdict, reason: str, champion: Arm, canary: Arm) -> Judgement:
    return Judgement(
        name=NAME, verdict=verdict, reason=reason, figures={"champion": asdict(champion), "canary": asdict(canary)}
    )
