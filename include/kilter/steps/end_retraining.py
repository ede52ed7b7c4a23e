"""End a retraining whose run is over without a version, so that it blocks no other."""

from __future__ import annotations

from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(stores=frozenset({"ledger"}), memoised=False)


class Inputs(StepModel):
    """What began the retraining, as given to `freeze_dataset`."""

    retraining: str


class Outputs(StepModel):
    """Whether it was ended here. One with a version is ended when that is judged."""

    ended: bool


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """End it if it is open and has registered nothing."""
    name = context.spec.name
    reason = "its run ended without a version"
    ended = context.ledger.end_retraining(name, reason, begun_by=inputs.retraining) is not None
    context.log.info("retraining by %s: %s", inputs.retraining, reason if ended else "nothing to end")
    return Outputs(ended=ended)
