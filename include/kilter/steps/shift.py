"""Shift traffic: give the canary its next share of the requests."""

from __future__ import annotations

from pydantic import Field

from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(stores=frozenset({"ledger", "router"}), memoised=False)


class Inputs(StepModel):
    """The rollout, and the canary's share of the requests in percent."""

    rollout: int
    weight: int = Field(ge=1, le=100)


class Outputs(StepModel):
    """The share that now holds."""

    weight: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Record the weight in the ledger, then set it: the ledger says what is meant, also after a crash.

    Raises:
        InputError: the rollout has ended.
        UnavailableError: HAProxy does not answer, or finds the canary down.
    """
    model = context.spec.name
    row = context.ledger.running_rollout(inputs.rollout, model)
    # A canary that is down at weight 100 would leave nobody to answer.
    context.router.wait_until_up(model, "canary")
    if (row["state"], row["weight"]) != ("shifting", inputs.weight):
        reason = f"canary weight {row['weight']} -> {inputs.weight}"
        context.ledger.advance_rollout(inputs.rollout, "shifting", inputs.weight, reason, {})
    context.router.shift(model, inputs.weight)
    context.log.info("version %d of %s gets %d %% of the requests", row["candidate"], model, inputs.weight)
    return Outputs(weight=inputs.weight)
