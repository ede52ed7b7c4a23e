"""Gate check: the candidate's test metrics against the bounds of model.yaml."""

from __future__ import annotations

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

STEP = StepInfo(stores=frozenset({"objects", "registry"}), reads=("gate",), memoised=False)


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Judge what `evaluate` measured on the test part."""
    from kilter.core.gate.thresholds import judge

    candidate = context.registry.version(context.spec.name, inputs.version)
    judgement = judge(candidate.metrics, context.spec.gate.thresholds)
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)
