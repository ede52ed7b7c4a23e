"""Check `serving_fitness`: the real server answers right and fast, refuses nonsense, and fits into its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from kilter.core.uncertainty.quantile import quantile
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured
from kilter.spec import Gate

NAME = "serving_fitness"
_MEBIBYTES = {"m": 1, "g": 1024}
_LATE_SHARE = 0.5
"""Requests that leave later than this share of the wanted p99 say more about this machine than about the server."""


class Seen(BaseModel):
    """What was seen of a server that was ready.

    Args:
        ready_after: seconds from the start of its process to the loaded candidate.
        wrong_answers: what of its answers is not as declared, in words.
        malformed: status by what was wrong with the body.
        latencies: seconds, of each answered request of the load, from its intended moment.
        late: seconds after its intended moment at which each request left.
        failures: count of the load's other outcomes, by what they were.
        peak_memory: bytes.
        ended_while: what it was doing when it ended, None while it lives; what comes after was not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ready_after: float
    wrong_answers: tuple[str, ...] = ()
    malformed: Mapping[str, int] = {}
    latencies: tuple[float, ...] = ()
    late: tuple[float, ...] = ()
    failures: Mapping[str, int] = {}
    peak_memory: float = float("nan")
    ended_while: str | None = None


def not_ready(listens: bool, last_words: str, gate: Gate) -> Judgement:
    """The judgement of a server that never answered with the candidate.

    Args:
        listens: whether it took connections; it does not before it has loaded the candidate.
    """
    wanted = gate.serving_fitness
    why = (
        f"it was there and said: {last_words}"
        if listens
        else f"nobody listens at its address ({last_words}): it is still loading the candidate, or has ended, as a server "
        f"does that takes more than its limit of {wanted.memory} of memory; the log of start_server tells which"
    )
    reason = f"not ready within {wanted.ready_within.total_seconds():g} s: {why}"
    return Judgement(name=NAME, verdict=Verdict.FAILED, reason=reason)


def judge(seen: Seen, gate: Gate) -> Judgement:
    """Judge what was measured.

    Too few requests for an interval of the p99 can fail it, and cannot pass it. Where requests left so late that the
    latency is this machine's own, a p99 beyond its bound is an error.
    """
    wanted = gate.serving_fitness
    if seen.ended_while is not None:
        reason = (
            f"the server ended while {seen.ended_while}, under a memory limit of {wanted.memory}: "
            "the log of stop_server shows its last lines"
        )
        return Judgement(name=NAME, verdict=Verdict.FAILED, reason=reason, figures=_figures(seen))
    accepted = {what: status for what, status in seen.malformed.items() if not 400 <= status < 500}
    measured = [
        _at_most("ready after", seen.ready_after, wanted.ready_within.total_seconds(), " s"),
        _at_most("wrong answers", len(seen.wrong_answers), 0),
        _at_most("malformed requests not refused", len(accepted), 0),
        _at_most("failed requests", sum(seen.failures.values()), 0),
        _at_most("peak memory", seen.peak_memory / 2**20, mebibytes(wanted.memory), " MiB"),
    ]
    unknown = []
    if seen.latencies:
        p99 = _p99(seen, gate)
        if p99.confidence is None and p99.verdict is Verdict.PASSED:
            unknown.append(
                f"{p99.sentence}, of {len(seen.latencies)} answers, too few for an interval: raise rate or duration"
            )
        else:
            measured.append(p99)
    judged = judge_measured(NAME, measured, _figures(seen), unknown)
    causes = [
        *seen.wrong_answers,
        *(f"a body with {what} was answered with {status}, wanted 4xx" for what, status in accepted.items()),
        *(f"{count} requests under load: {what}" for what, count in seen.failures.items()),
    ]
    return judged.model_copy(update={"reason": "; ".join([*causes, judged.reason])})


def mebibytes(memory: str) -> float:
    """A limit such as `512m` or `2g` in MiB, as container engines read it.

    >>> mebibytes("512m"), mebibytes("2g")
    (512.0, 2048.0)
    """
    return float(int(memory[:-1]) * _MEBIBYTES[memory[-1]])


def _p99(seen: Seen, gate: Gate) -> Measured:
    bound = gate.serving_fitness.p99.total_seconds() * 1000
    value, low, high = quantile([seconds * 1000 for seconds in seen.latencies], 0.99, gate.confidence)
    measured = Measured(
        label="p99",
        value=value,
        low=low,
        high=high,
        confidence=None if low is None else gate.confidence,
        wanted="at_most",
        bound=bound,
        unit=" ms",
    )
    late = quantile([seconds * 1000 for seconds in seen.late], 0.99, gate.confidence)[0]
    if measured.verdict is not Verdict.PASSED and late > bound * _LATE_SHARE:
        label = f"p99 (this machine itself sent up to {late:.0f} ms late: judge again when it is less busy)"
        return Measured(label=label, value=float("nan"), wanted="at_most", bound=bound, unit=" ms")
    return measured


def _at_most(label: str, value: float, bound: float, unit: str = "") -> Measured:
    return Measured(label=label, value=value, wanted="at_most", bound=bound, unit=unit)


def _figures(seen: Seen) -> dict[str, Any]:
    """What the measured numbers leave out; times in milliseconds."""
    figures: dict[str, Any] = {"malformed": dict(seen.malformed), "answered": len(seen.latencies)}
    for name, seconds in (("latency", seen.latencies), ("late", seen.late)):
        if seconds:
            ordered = sorted(seconds)
            figures[f"{name}_ms"] = {
                "p50": round(1000 * ordered[len(ordered) // 2], 3),
                "p90": round(1000 * ordered[9 * len(ordered) // 10], 3),
                "greatest": round(1000 * ordered[-1], 3),
            }
    return figures
