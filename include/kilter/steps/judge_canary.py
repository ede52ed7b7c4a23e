"""Judge the canary at one weight: watch both arms until there is enough to tell, or time is up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kilter.core.verdict import Judgement, Verdict
from kilter.errors import InputError
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from kilter.core.canary import Evidence

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

    What was seen is kept in the ledger every few seconds: whoever runs this step again goes on from there.

    Raises:
        InputError: the rollout has ended, or is at another weight.
        UnavailableError: HAProxy does not answer.
    """
    row = context.ledger.running_rollout(inputs.rollout, context.spec.name)
    if row["weight"] != inputs.weight:
        raise InputError(f"rollout {inputs.rollout} is at weight {row['weight']}, not {inputs.weight}: run shift first")
    _apply(inputs.weight, context)
    judgement = _observe(inputs, _known(row["evidence"], inputs.weight, context), context)
    evidence = {"judgement": judgement.model_dump(mode="json")}
    context.ledger.advance_rollout(inputs.rollout, "shifting", inputs.weight, judgement.reason, evidence)
    context.log.info("canary at %d %%: %s: %s", inputs.weight, judgement.verdict, judgement.reason)
    return Outputs(verdict=judgement.verdict, reason=judgement.reason)


def _known(kept: object, weight: int, context: StepContext) -> Evidence:
    """What the rollout has shown so far, with the step of this weight begun."""
    from kilter.core.canary import Evidence

    rules = context.spec.canary
    evidence = Evidence.model_validate(kept) if kept else Evidence(steps=len(rules.weights))
    begun = len(evidence.bets) > rules.weights.index(weight)
    return evidence if begun else evidence.begin(rules)


def _observe(inputs: Inputs, evidence: Evidence, context: StepContext) -> Judgement:
    from kilter.core.canary import judge
    from kilter.stores.arms import Observer

    rules = context.spec.canary
    observer = Observer(context.router, context.servers, context.spec.name)
    started = reported = time.monotonic()
    deadline = started + rules.maximum_duration.total_seconds()
    while True:
        time.sleep(_POLL)
        _apply(inputs.weight, context)
        seen = observer.look()
        if inputs.weight == 100:
            evidence = evidence.after_alone(seen.look.canary, rules)
        else:
            evidence = evidence.after(seen.look, rules)
        judgement = judge(evidence, rules, seen.up)
        now = time.monotonic()
        over = judgement.verdict is not Verdict.INCONCLUSIVE or now >= deadline
        if over or now - reported >= _REPORT:
            reported = now
            context.ledger.keep_evidence(inputs.rollout, evidence.model_dump(mode="json"))
        if over:
            return judgement
        if reported == now:
            context.log.info("canary at %d %% for %.0f s: %s", inputs.weight, now - started, judgement.reason)


def _apply(weight: int, context: StepContext) -> None:
    """Set the ledger's weight again where HAProxy has another: it may have restarted."""
    model = context.spec.name
    if context.router.weights(model)["canary"] != weight:
        context.log.warning("HAProxy had lost the weights of %s: set to %d again", model, weight)
        context.router.wait_until_up(model, "canary")
        context.router.shift(model, weight)
