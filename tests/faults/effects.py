"""What came of a kill: lost requests, how long nobody answered, and how long the weights were not what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .kills import BOUND, Kill
from .traffic import Outcome
from .witness import Witness


@dataclass(frozen=True)
class Effect:
    """What came of a kill until the next one, or the rollout's end.

    Args:
        requests: answered or failed in that time.
        in_flight: requests under way at the kill, whoever had them.
        failed: requests without an answer of a model.
        unserved: seconds from the kill to the last failure's end; 0 when none failed.
        slowest: the longest seconds from the time that a request was due to its answer.
        disagreed: seconds from the kill until the witness's invariant held for good; 0 when it always did.
        violations: what must not be, in words.
    """

    kill: Kill
    requests: int
    in_flight: int
    failed: Sequence[Outcome]
    unserved: float
    slowest: float
    disagreed: float
    violations: Sequence[str]


def effect(kill: Kill, until: float, outcomes: Iterable[Outcome], witness: Witness, at_rest: Sequence[str]) -> Effect:
    """What a kill did up to a time; `at_rest`: what was wrong when all was over."""
    window = [item for item in outcomes if kill.at <= item.ended < until]
    failed = [item for item in window if item.failed]
    disagreed = max((last - kill.at for _, last in witness.broken(kill.at, until)), default=0.0)
    violations = [f"failed without excuse: {item}" for item in failed if not kill.excuses(item)]
    if disagreed > BOUND:
        violations.append(f"weights were not the ledger's for {disagreed:.1f} s, {BOUND:g} s allowed")
    return Effect(
        kill=kill,
        requests=len(window),
        in_flight=sum(item.sent <= kill.gone for item in window),
        failed=failed,
        unserved=max((item.ended - kill.at for item in failed), default=0.0),
        slowest=max((item.seconds for item in window if not item.failed), default=0.0),
        disagreed=disagreed,
        violations=[*violations, *at_rest],
    )
