"""Record what a person answered about a candidate, and tell whether it may be promoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.champion import champion_of
from kilter.errors import InputError
from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from kilter.holdout import Facts

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry"}), memoised=False)


class Inputs(StepModel):
    """What was asked about, and the answer."""

    version: int
    holdout: str
    approved: bool
    person: str
    reason: str
    answered_at: UtcTime


class Outputs(StepModel):
    """Whether the candidate may be promoted, and why."""

    approved: bool
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Keep who answered what, when and why, in the ledger and as tags of the version.

    An approval counts for the comparison that the person saw: when the candidate was judged again since, or another
    version has become the champion, the answer is kept and nothing is promoted.

    Raises:
        InputError: the gate did not ask about this version and holdout.
    """
    from kilter.holdout import Facts
    from kilter.stores.objects import read_manifest
    from kilter.stores.registry import TAG_LENGTH

    name, registry = context.spec.name, context.registry
    verdict = context.ledger.verdict_on(name, inputs.version, inputs.holdout)
    if verdict["action"] != "ask":
        raise InputError(
            f"model '{name}' version {inputs.version}: its verdict led to '{verdict['action']}', not 'ask': "
            f"run {name}.model_validation again, and answer what it asks"
        )
    context.ledger.record_approval(model=name, **inputs.model_dump())
    answer = f"{'approved' if inputs.approved else 'rejected'} by {inputs.person}"
    registry.tag(name, inputs.version, "approval", answer)
    registry.tag(name, inputs.version, "approval_at", inputs.answered_at.isoformat())
    registry.tag(name, inputs.version, "approval_reason", inputs.reason[:TAG_LENGTH] or "none given")
    facts = Facts.model_validate(read_manifest(context.objects, inputs.holdout).facts)
    overtaken = _overtaken(inputs.holdout, facts, context) if inputs.approved else None
    reason = f"{answer} at {inputs.answered_at.isoformat()}: {inputs.reason or 'no reason given'}"
    if overtaken:
        reason = f"{reason}; not promoted: {overtaken}"
    context.log.info("version %d %s", inputs.version, reason)
    return Outputs(approved=inputs.approved and overtaken is None, reason=reason)


def _overtaken(holdout: str, facts: Facts, context: StepContext) -> str | None:
    """What makes the verdict stale, or None."""
    own = [row for row in context.ledger.verdicts(context.spec.name) if row["version"] == facts.version]
    if own[-1]["holdout"] != holdout:
        return f"version {facts.version} was judged again since, by more labels: {own[-1]['verdict']}; answer what that asks"
    champion = champion_of(context.spec.name, context.registry, context.ledger)
    if champion in (facts.champion, facts.version):
        return None
    compared = f"version {facts.champion}" if facts.champion is not None else "no champion"
    return f"it was compared with {compared}, and version {champion} is the champion now; judge it again"
