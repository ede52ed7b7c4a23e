"""Let the candidate answer copies of live requests: users see nothing of it, and its faults are found before they do."""

from __future__ import annotations

from kilter.observation import Outputs as Outputs
from kilter.observation import Place, enter, observe, settled_before
from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(stores=frozenset({"objects", "ledger", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The rollout, staged."""

    rollout: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Compare both versions on the same requests until that is clear, or `canary.maximum_duration` is over.

    Raises:
        UnavailableError: HAProxy does not answer, or finds the canary down.
    """
    from kilter.stores.arms import Mirror, Seen

    place = Place(inputs.rollout, "shadow")
    if (known := settled_before(place, context)) is not None:
        return known
    model = context.spec.name
    candidate = context.ledger.rollout(inputs.rollout)["candidate"]
    if (known := enter(place, f"version {candidate} answers copies of the champion's requests", context)) is not None:
        return known
    mirror = Mirror(context.servers, model, "champion")

    def look() -> Seen:
        context.servers.watch("canary", model)
        return Seen(mirror.look(), context.router.counters(model)["canary"].up)

    return observe(place, look, context)
