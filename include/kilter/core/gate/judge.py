"""The gate's verdict out of its checks."""

from __future__ import annotations

from collections.abc import Sequence

from kilter.core.gate import against_champion
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Gate

NAME = "gate"


def judge(judgements: Sequence[Judgement], gate: Gate) -> Judgement:
    """Combine the checks: a failed one blocks, an error never promotes, an inconclusive one follows the spec.

    `gate.first_champion` rules the comparison when there is no champion yet, `gate.inconclusive` any
    other inconclusive check. No check at all, or none that passed, is inconclusive.
    """
    figures = {item.name: item.verdict.value for item in judgements}
    if not judgements:
        return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason="no check was made", figures=figures)
    blocking = {item.name: _blocks(item, gate) for item in judgements}
    reasons = [f"{item.name} {item.verdict}{_note(item, blocking[item.name])}: {item.reason}" for item in judgements]
    verdicts = [item.verdict for item in judgements if blocking[item.name]]
    if not verdicts:
        passed = any(item.verdict is Verdict.PASSED for item in judgements)
        verdict = Verdict.PASSED if passed else Verdict.INCONCLUSIVE
    elif Verdict.FAILED in verdicts:
        verdict = Verdict.FAILED
    else:
        verdict = Verdict.ERROR if Verdict.ERROR in verdicts else Verdict.INCONCLUSIVE
    return Judgement(name=NAME, verdict=verdict, reason="; ".join(reasons), figures=figures)


def _blocks(judgement: Judgement, gate: Gate) -> bool:
    if judgement.verdict is Verdict.INCONCLUSIVE:
        return _rule(judgement, gate) == "reject"
    return judgement.verdict is not Verdict.PASSED


def _rule(judgement: Judgement, gate: Gate) -> str:
    return gate.first_champion if judgement == against_champion.no_champion() else gate.inconclusive


def _note(judgement: Judgement, blocks: bool) -> str:
    return " (approved by the spec)" if judgement.verdict is Verdict.INCONCLUSIVE and not blocks else ""
