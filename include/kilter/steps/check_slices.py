"""Gate check: each slice of the holdout against the champion or, without one to compare with, the naive baseline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from kilter.core.gate.slices import SliceLoss
    from kilter.holdout import Holdout, Vector

    Rows = npt.NDArray[np.intp]

STEP = StepInfo(reads=("gate", "evaluation", "label", "timestamp", "training"))


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Estimate the loss of the primary metric on each value of each slice column, and judge them together."""
    import numpy as np

    from kilter.core.gate.slices import judge
    from kilter.holdout import read_holdout

    holdout = read_holdout(context.objects, inputs.holdout, context.spec)
    if holdout.facts.champion is None or holdout.facts.incomparable:
        reference, scores = "the prior", holdout.guesses
        rows = np.arange(len(holdout.labels))
    else:
        reference, scores = f"version {holdout.facts.champion}, the champion", holdout.champion
        rows = np.flatnonzero(holdout.comparable)
    losses = list(_losses(holdout, scores, rows, context))
    judgement = judge(
        context.spec.evaluation.primary, reference, losses, context.spec.gate.slices, holdout.facts.confidence
    )
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)


def _losses(holdout: Holdout, reference: Vector, rows: Rows, context: StepContext) -> Iterator[SliceLoss]:
    from kilter.core.gate.slices import SliceLoss
    from kilter.core.uncertainty.estimate import loss

    evaluation = context.spec.evaluation
    blocks = holdout.blocks(evaluation.block)
    for column in evaluation.slices:
        values = holdout.frame[column].iloc[rows]
        groups = values.astype(str).where(values.notna(), "missing").to_frame().groupby(column).indices
        for value, places in sorted(groups.items()):
            part = rows[places]
            lost = loss(
                evaluation.primary,
                holdout.labels[part],
                holdout.candidate[part],
                reference[part],
                blocks[part],
                holdout.facts.confidence,
                context.seed,
            )
            yield SliceLoss(name=f"{column} = {value}", rows=len(part), loss=lost)
