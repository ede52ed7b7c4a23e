"""The gate's verdict out of its checks, and what follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from kilter.core.gate import against_champion
from kilter.core.verdict import Judgement, Verdict, worst
from kilter.spec import CHECKS, Gate

Role = Literal["blocking", "advisory", "approved"]
Rule = Literal["hold", "approve", "reject"]


class Action(StrEnum):
    """What a verdict leads to. Only `PROMOTE`, or a person's yes to `ASK`, moves traffic."""

    PROMOTE = "promote"
    REJECT = "reject"
    HOLD = "hold"
    """Keep the candidate, to be judged again."""
    ASK = "ask"
    """A person decides."""


class Ruled(BaseModel):
    """A check's judgement and what it counts for: `approved` is inconclusive and let through by the spec."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judgement: Judgement
    role: Role


class Ruling(BaseModel):
    """The gate's verdict, what follows from it, why, and every check behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    action: Action
    reasons: tuple[str, ...]
    """The checks that decided, then those that did not pass and do not block."""
    checks: tuple[Ruled, ...]

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


def judge(judgements: Sequence[Judgement], gate: Gate, checks: Sequence[str] = CHECKS) -> Ruling:
    """Combine the checks; each of `checks` must be there once, and at least one blocking check must have passed.

    | what the blocking checks said                   | verdict      | action                              |
    | ----------------------------------------------- | ------------ | ----------------------------------- |
    | one failed                                      | failed       | reject                              |
    | else one is an error, missing, twice or unknown | error        | hold: judge it again once it works  |
    | else one is inconclusive and its rule is reject | inconclusive | reject                              |
    | else one is inconclusive and its rule is hold   | inconclusive | hold; ask if approval on_inconclusive |
    | else none passed                                | inconclusive | hold; ask if approval on_inconclusive |
    | else                                            | passed       | promote; ask if approval is always, or on_inconclusive and the spec let one through |

    The rule of an inconclusive check is `gate.inconclusive`, or `gate.first_champion` when it says that there
    is no champion; the rule *approve* takes the check out of the table. So are advisory checks, whatever they said.
    """
    ruled = tuple(Ruled(judgement=item, role=_role(item, gate)) for item in judgements)
    blocking = [item.judgement for item in ruled if item.role == "blocking"]
    faults = list(_faults(judgements, checks))
    verdict = worst([*(item.verdict for item in blocking), *(Verdict.ERROR for _ in faults)])
    approved = any(item.role == "approved" for item in ruled)
    return Ruling(
        verdict=verdict,
        action=_action(verdict, blocking, approved, gate),
        reasons=(*_decisive(verdict, blocking, faults), *_let_through(ruled)),
        checks=ruled,
    )


def _role(judgement: Judgement, gate: Gate) -> Role:
    if judgement.name in gate.advisory:
        return "advisory"
    inconclusive = judgement.verdict is Verdict.INCONCLUSIVE
    return "approved" if inconclusive and _rule(judgement, gate) == "approve" else "blocking"


def _rule(judgement: Judgement, gate: Gate) -> Rule:
    return gate.first_champion if _lacks_champion(judgement) else gate.inconclusive


def _lacks_champion(judgement: Judgement) -> bool:
    # By the figure, not by equality: a reworded reason must not change what the gate does.
    return judgement.name == against_champion.NAME and judgement.figures.get("champion", 0) is None


def _faults(judgements: Sequence[Judgement], checks: Sequence[str]) -> Iterator[str]:
    """What keeps the judgements from being one of each check."""
    made = Counter(item.name for item in judgements)
    for name in checks:
        if not made[name]:
            yield f"{name} error: this check was not made"
    for name, times in made.items():
        if times > 1:
            yield f"{name} error: this check was made {times} times"
        if name not in checks:
            yield f"{name} error: this is no check of this model; there are: {', '.join(checks)}"


def _action(verdict: Verdict, blocking: Sequence[Judgement], approved: bool, gate: Gate) -> Action:
    if verdict is Verdict.PASSED:
        asks = gate.approval == "always" or (gate.approval == "on_inconclusive" and approved)
        return Action.ASK if asks else Action.PROMOTE
    if verdict is Verdict.FAILED:
        return Action.REJECT
    if verdict is Verdict.ERROR:
        return Action.HOLD
    if any(_rule(item, gate) == "reject" for item in blocking if item.verdict is Verdict.INCONCLUSIVE):
        return Action.REJECT
    return Action.ASK if gate.approval == "on_inconclusive" else Action.HOLD


def _decisive(verdict: Verdict, blocking: Sequence[Judgement], faults: Sequence[str]) -> Iterator[str]:
    """The checks that made the verdict what it is."""
    if verdict is Verdict.PASSED:
        yield f"all {len(blocking)} blocking checks passed"
        return
    if verdict is Verdict.ERROR:
        yield from faults
    decisive = [item for item in blocking if item.verdict is verdict]
    yield from map(_told, decisive)
    if verdict is Verdict.INCONCLUSIVE and not decisive:
        yield "no blocking check passed"


def _let_through(ruled: Sequence[Ruled]) -> Iterator[str]:
    """The checks that did not pass and do not block."""
    for item in ruled:
        if item.role != "blocking" and item.judgement.verdict is not Verdict.PASSED:
            yield f"{'approved by the spec' if item.role == 'approved' else 'advisory'}: {_told(item.judgement)}"


def _told(judgement: Judgement) -> str:
    return f"{judgement.name} {judgement.verdict}: {judgement.reason}"
