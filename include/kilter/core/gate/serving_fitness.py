"""Check `serving_fitness`: the real server answers right, fast, and refuses nonsense."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from kilter.core.verdict import Judgement, Verdict
from kilter.spec import ServingFitness

NAME = "serving_fitness"


class Measurement(BaseModel):
    """What was seen of a server. `difference` is the largest between its answer and the model's own score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ready_after: timedelta | None
    requests: int
    failures: int
    p99: timedelta
    difference: float
    malformed_status: int


def judge(seen: Measurement, wanted: ServingFitness) -> Judgement:
    """Judge what was measured; no answered request is inconclusive."""
    figures = seen.model_dump(mode="json")
    if seen.ready_after is None:
        reason = f"not ready within {wanted.ready_within.total_seconds():g} s"
        return Judgement(name=NAME, verdict=Verdict.FAILED, reason=reason, figures=figures)
    if seen.requests == 0:
        return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason="no request was made", figures=figures)
    lines = [
        _at_most("ready after", seen.ready_after.total_seconds(), wanted.ready_within.total_seconds(), " s"),
        _at_most("failed requests", seen.failures, 0, f" of {seen.requests}"),
        _at_most("p99", seen.p99.total_seconds() * 1000, wanted.p99.total_seconds() * 1000, " ms"),
        _at_most("difference to the model's own scores", seen.difference, wanted.tolerance, ""),
        (400 <= seen.malformed_status < 500, f"malformed request answered with {seen.malformed_status}, wanted 4xx"),
    ]
    verdict = Verdict.PASSED if all(fine for fine, _ in lines) else Verdict.FAILED
    return Judgement(name=NAME, verdict=verdict, reason="; ".join(text for _, text in lines), figures=figures)


def _at_most(what: str, value: float, bound: float, unit: str) -> tuple[bool, str]:
    fine = value <= bound
    return fine, f"{what} {value:.4g} {'<=' if fine else '>'} {bound:.4g}{unit}"
