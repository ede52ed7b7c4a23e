"""Combine the gate's checks into one verdict, for the ledger and for MLflow."""

from __future__ import annotations

from kilter.core.verdict import Judgement
from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry"}), reads=("gate",), memoised=False)


class Inputs(StepModel):
    """The candidate's version and what each check said."""

    version: int
    judgements: list[Judgement]


class Outputs(StepModel):
    """The verdict, and the arithmetic of all checks in words."""

    verdict: str
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Judge, then record the verdict in the ledger and as tags of the version."""
    from kilter.core.gate.judge import judge

    name = context.spec.name
    gate = judge(inputs.judgements, context.spec.gate)
    for check in inputs.judgements:
        context.log.info("%-18s %-13s %s", check.name, check.verdict, check.reason)
    context.log.info("%-18s %s", "verdict", gate.verdict)
    context.ledger.record_verdict(
        model=name,
        version=inputs.version,
        verdict=gate.verdict.value,
        reason=gate.reason,
        judgements=[item.model_dump(mode="json") for item in inputs.judgements],
    )
    context.registry.tag(name, inputs.version, "gate_verdict", gate.verdict.value)
    context.registry.tag(name, inputs.version, "gate_reason", gate.reason)
    return Outputs(verdict=gate.verdict.value, reason=gate.reason)
