"""Gate check: how near the candidate's scores on the holdout are to probabilities."""

from __future__ import annotations

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

STEP = StepInfo(reads=("gate", "evaluation", "label", "timestamp", "training"))


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Estimate error and slope of the calibration, and judge."""
    from kilter.core.gate.calibration import judge
    from kilter.core.metrics import calibrate, confidences
    from kilter.core.uncertainty.calibration import calibration_error, calibration_slope
    from kilter.holdout import read_holdout

    holdout = read_holdout(context.objects, inputs.holdout, context.spec)
    labels, scores = confidences(holdout.labels, holdout.candidate)
    blocks = holdout.blocks(context.spec.evaluation.block)
    judgement = judge(
        calibration_error(labels, scores, blocks, holdout.facts.confidence, context.seed),
        calibration_slope(labels, scores, blocks, holdout.facts.confidence),
        calibrate(labels, scores),
        len(labels),
        context.spec.gate.calibration,
    )
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)
