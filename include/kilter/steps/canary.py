"""Give the canary its next share of the requests, and judge it there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from kilter.observation import Outputs as Outputs
from kilter.observation import Place, enter, observe, settled_before
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from kilter.stores.arms import Observer, Seen

STEP = StepInfo(stores=frozenset({"objects", "ledger", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The rollout, and the canary's share of the requests in percent, one of `canary.weights`."""

    rollout: int
    weight: int = Field(ge=1, le=100)


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Set the weight and compare both arms until that is clear, or `canary.maximum_duration` is over.

    The ledger is told the weight before HAProxy is: it says what is meant, also after a crash. A canary that gets all
    requests is compared with the champion on copies of them.

    Raises:
        UnavailableError: HAProxy does not answer, or finds the canary down.
    """
    from kilter.stores.arms import Observer

    place = Place(inputs.rollout, "shifting", inputs.weight)
    if (known := settled_before(place, context)) is not None:
        return known
    model = context.spec.name
    row = context.ledger.rollout(inputs.rollout)
    observer = Observer(context.router, context.servers, model)
    if (known := enter(place, f"canary weight {row['weight']} -> {inputs.weight}", context)) is not None:
        return known
    context.log.info("version %d of %s gets %d %% of the requests", row["candidate"], model, inputs.weight)
    if inputs.weight < 100:
        return observe(place, observer.look, context)
    return observe(place, _alone(observer, context), context)


def _alone(observer: Observer, context: StepContext) -> Callable[[], Seen]:
    """Looks at a canary that gets all requests, beside the champion on copies of them.

    Both arms are those requests that are copied, and of the canary also those that HAProxy saw fail: HAProxy counts strays
    as well, which are nobody's to score, and of which there are no copies.
    """
    from kilter.core.canary import Look
    from kilter.stores.arms import Mirror, Seen

    mirror = Mirror(context.servers, context.spec.name, "canary")

    def look() -> Seen:
        live, copied = observer.look(), mirror.look()
        unseen = max(0, live.look.canary.errors - copied.canary.errors)
        canary = replace(copied.canary, requests=copied.canary.requests + unseen, errors=copied.canary.errors + unseen)
        return Seen(Look(copied.champion, canary), live.up)

    return look
