"""Judge the canary at one weight: watch both arms until there is enough to tell, or time is up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kilter.core.canary import Arm, judge
from kilter.core.verdict import Judgement, Verdict
from kilter.errors import InputError
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from kilter.stores.arms import Observer

STEP = StepInfo(stores=frozenset({"objects", "ledger", "router", "servers"}), memoised=False)
_POLL = 0.3
_REPORT = 5.0


class Inputs(StepModel):
    """The rollout, and the weight that is judged."""

    rollout: int
    weight: int


class Outputs(StepModel):
    """The verdict in words; inconclusive when there was too little traffic to tell in time."""

    verdict: Verdict
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Observe until passed, failed or the canary is down, at most `canary.maximum_duration`, and record it.

    Raises:
        InputError: the rollout has ended, or is at another weight.
        UnavailableError: HAProxy does not answer.
    """
    from kilter.stores.arms import Observer

    model = context.spec.name
    row = context.ledger.running_rollout(inputs.rollout, model)
    if row["weight"] != inputs.weight:
        raise InputError(f"rollout {inputs.rollout} is at weight {row['weight']}, not {inputs.weight}: run shift first")
    _apply(inputs.weight, context)
    observer = Observer(context.router, context.servers, model)
    judgement = _observe(inputs, observer, context)
    evidence = {"judgement": judgement.model_dump(mode="json")}
    context.ledger.advance_rollout(inputs.rollout, "shifting", inputs.weight, judgement.reason, evidence)
    context.log.info("canary at %d %%: %s: %s", inputs.weight, judgement.verdict, judgement.reason)
    return Outputs(verdict=judgement.verdict, reason=judgement.reason)


def _observe(inputs: Inputs, observer: Observer, context: StepContext) -> Judgement:
    rules = context.spec.canary
    # At full weight the champion gets no requests: its figures from the weight before stand for it.
    before = _last_champion(inputs.rollout, context) if inputs.weight == 100 else None
    started = reported = time.monotonic()
    deadline = started + rules.maximum_duration.total_seconds()
    while True:
        time.sleep(_POLL)
        _apply(inputs.weight, context)
        arms = observer.observe()
        judgement = judge(before or arms["champion"], arms["canary"], rules)
        now = time.monotonic()
        decided = judgement.verdict in (Verdict.PASSED, Verdict.FAILED) or not arms["canary"].up
        if decided or now >= deadline:
            return judgement
        if now - reported >= _REPORT:
            reported = now
            context.log.info("canary at %d %% for %.0f s: %s", inputs.weight, now - started, judgement.reason)


def _apply(weight: int, context: StepContext) -> None:
    """Set the ledger's weight again where HAProxy has another: it may have restarted."""
    model = context.spec.name
    if context.router.weights(model)["canary"] != weight:
        context.log.warning("HAProxy had lost the weights of %s: set to %d again", model, weight)
        context.router.wait_until_up(model, "canary")
        context.router.shift(model, weight)


def _last_champion(rollout: int, context: StepContext) -> Arm:
    """The champion's figures in the last judgement of this rollout below full weight; none if there was none."""
    for event in reversed(context.ledger.rollout_events(rollout)):
        judgement: dict[str, Any] | None = event["evidence"].get("judgement")
        if judgement and event["weight"] < 100:
            return Arm(**judgement["figures"]["champion"])
    return Arm()
