"""Gate check: candidate and champion scored on the same rows, which neither of them learned from."""

from __future__ import annotations

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

STEP = StepInfo(reads=("gate", "evaluation", "label", "timestamp", "training"))


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Estimate the loss of the primary metric against the champion, pair by pair, and judge."""
    from kilter.core.gate.against_champion import judge, no_champion, not_comparable
    from kilter.core.uncertainty.estimate import loss
    from kilter.holdout import read_holdout

    evaluation, gate = context.spec.evaluation, context.spec.gate
    holdout = read_holdout(context.objects, inputs.holdout, context.spec)
    if holdout.facts.champion is None:
        judgement = no_champion()
    elif holdout.facts.incomparable:
        judgement = not_comparable(holdout.facts.champion, holdout.facts.incomparable)
    else:
        rows = holdout.comparable
        lost = loss(
            evaluation.primary,
            holdout.labels[rows],
            holdout.candidate[rows],
            holdout.champion[rows],
            holdout.blocks(evaluation.block)[rows],
            holdout.facts.confidence,
            context.seed,
        )
        judgement = judge(evaluation.primary, lost, int(rows.sum()), holdout.facts.champion, gate.against_champion)
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)
