"""Gate check: the candidate's metrics on the holdout, with their intervals, against the bounds of model.yaml."""

from __future__ import annotations

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

STEP = StepInfo(reads=("gate", "evaluation", "label", "timestamp", "training"))


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Estimate each metric that has a bound, and judge."""
    from kilter.core.gate.thresholds import judge
    from kilter.core.uncertainty.estimate import estimate
    from kilter.holdout import read_holdout

    gate = context.spec.gate
    holdout = read_holdout(context.objects, inputs.holdout, context.spec)
    blocks = holdout.blocks(context.spec.evaluation.block)
    metrics = {
        name: estimate(name, holdout.labels, holdout.candidate, blocks, holdout.facts.confidence, context.seed)
        for name in gate.thresholds
    }
    judgement = judge(metrics, gate.thresholds, len(holdout.labels))
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)
