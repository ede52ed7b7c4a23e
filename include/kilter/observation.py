"""Watching a candidate in one step of its rollout until there is a verdict: what `shadow` and `canary` share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kilter.core.rollout import OPEN, canary_weight
from kilter.core.verdict import Judgement, Verdict
from kilter.errors import InputError, UnavailableError
from kilter.rollout import apply_weight, failed, hold
from kilter.step import StepContext, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

    from kilter.core.canary import Evidence
    from kilter.core.rollout import State
    from kilter.stores.arms import Seen

_POLL = 0.3
_REPORT = 5.0
_RETURN_SECONDS = 30.0
"""How long the canary's server or HAProxy may be away before that is the verdict, or an error. Meanwhile the champion
answers."""


class Outputs(StepModel):
    """The verdict in words. `held`: all traffic is the champion's until a person resumes or aborts the rollout."""

    verdict: Verdict
    reason: str
    held: bool = False


@dataclass(frozen=True)
class Place:
    """Where in a rollout: in the shadow, or at one of the weights, in percent."""

    rollout: int
    state: State
    weight: int = 0

    def __str__(self) -> str:
        return f"canary at {self.weight} %" if self.weight else "shadow"

    def before(self, context: StepContext) -> int:
        """How many steps come before this one."""
        weights = context.spec.canary.weights
        if self.weight and self.weight not in weights:
            raise InputError(f"weight {self.weight} is not one of canary.weights {list(weights)}: give one of those")
        return weights.index(self.weight) + 1 if self.weight else 0


def settled_before(place: Place, context: StepContext) -> Outputs | None:
    """What is known of this step already: passed, held, or over with the whole rollout; None when it is to be done.

    Raises:
        InputError: the rollout is another model's, or has not passed the step before this one.
    """
    row = context.ledger.rollout(place.rollout)
    if row["model"] != context.spec.name:
        raise InputError(
            f"ledger: rollout {place.rollout} is of model '{row['model']}', not '{context.spec.name}': give its own model"
        )
    if (passed := _passed(place, context)) is not None:
        return Outputs(verdict=Verdict.PASSED, reason=passed)
    if row["state"] not in OPEN or row["state"] == "held":
        return _left(row, context)
    weights = context.spec.canary.weights
    if place.weight:
        index = place.before(context) - 1
        last = Place(place.rollout, "shifting", weights[index - 1]) if index else Place(place.rollout, "shadow")
        if _passed(last, context) is None:
            raise InputError(f"rollout {place.rollout} of '{row['model']}' has not passed {last}: run that step first")
    return None


def enter(place: Place, reason: str, context: StepContext) -> Outputs | None:
    """Tell the ledger that the rollout is in this step, then HAProxy; what is known of it if somebody moved it meanwhile.

    Raises:
        UnavailableError: HAProxy does not answer, or finds the canary down.
    """
    row = context.ledger.rollout(place.rollout)
    # A canary that is down would leave its users to HAProxy's retries.
    context.router.wait_until_up(row["model"], "canary")
    if (row["state"], row["weight"]) != (place.state, place.weight):
        try:
            context.ledger.advance_rollout(place.rollout, place.state, place.weight, reason, {})
        except InputError:
            return _left(context.ledger.rollout(place.rollout), context)
    apply_weight(row["model"], context)
    return None


def observe(place: Place, look: Callable[[], Seen], context: StepContext) -> Outputs:
    """Look until passed, failed or the time is up, at most `canary.maximum_duration`, and record what came of it.

    Unless it passed, all traffic goes to the champion before this returns. What was seen is kept in the ledger every few
    seconds: whoever runs this step again goes on from there.

    Raises:
        UnavailableError: HAProxy or the ledger does not answer.
    """
    from kilter.core.canary import Look, judge

    rules, ledger = context.spec.canary, context.ledger
    evidence, waiting = _known(place, context), Look()
    started = reported = up_at = answered_at = time.monotonic()
    deadline = started + rules.maximum_duration.total_seconds()
    while True:
        time.sleep(_POLL)
        row = ledger.rollout(place.rollout)
        if (row["state"], row["weight"]) != (place.state, place.weight):
            ledger.keep_evidence(place.rollout, evidence.model_dump(mode="json"))
            return _left(row, context)
        try:
            _apply(row, context)
            seen = look()
            answered_at = time.monotonic()
        except UnavailableError:
            # HAProxy may be restarting, and then sends everything to the champion.
            if time.monotonic() - answered_at > _RETURN_SECONDS:
                raise
            continue
        waiting = waiting.plus(seen.look)
        if waiting.compares:
            evidence, waiting = evidence.after(waiting, rules), Look()
        now = time.monotonic()
        up_at = now if seen.up else up_at
        judgement = judge(evidence, rules, now - up_at < _RETURN_SECONDS)
        over = judgement.verdict is not Verdict.INCONCLUSIVE or now >= deadline
        if over or now - reported >= _REPORT:
            reported = now
            ledger.keep_evidence(place.rollout, evidence.model_dump(mode="json"))
            context.log.info("%s for %.0f s: %s: %s", place, now - started, judgement.verdict, judgement.reason)
        if over and (seen.up or judgement.verdict is not Verdict.PASSED):
            return _end(place, judgement, context)


def _known(place: Place, context: StepContext) -> Evidence:
    """What the rollout has shown so far, with this step begun."""
    from kilter.core.canary import Evidence

    rules = context.spec.canary
    kept = context.ledger.rollout(place.rollout)["evidence"]
    evidence = Evidence.model_validate(kept) if kept else Evidence(steps=1 + len(rules.weights))
    while len(evidence.bets) <= place.before(context):
        evidence = evidence.begin(rules)
    return evidence


def _passed(place: Place, context: StepContext) -> str | None:
    """Why this step passed in this rollout; None when it has not."""
    for event in context.ledger.rollout_events(place.rollout):
        judgement = event["evidence"].get("judgement")
        if judgement and (event["state"], event["weight"], judgement["verdict"]) == (
            place.state,
            place.weight,
            "passed",
        ):
            return str(event["reason"])
    return None


def _end(place: Place, judgement: Judgement, context: StepContext) -> Outputs:
    evidence = {"judgement": judgement.model_dump(mode="json")}
    passed = judgement.verdict is Verdict.PASSED
    try:
        if passed:
            context.ledger.advance_rollout(place.rollout, place.state, place.weight, judgement.reason, evidence)
        else:
            hold(context.ledger.rollout(place.rollout), judgement.reason, context, evidence)
    except InputError:
        # A person held or ended it in the same moment.
        return _left(context.ledger.rollout(place.rollout), context)
    if passed:
        return Outputs(verdict=judgement.verdict, reason=judgement.reason)
    stays = judgement.verdict is not Verdict.FAILED and context.spec.canary.inconclusive == "hold"
    return Outputs(verdict=judgement.verdict, reason=judgement.reason, held=stays)


def _left(row: RowMapping, context: StepContext) -> Outputs:
    """Somebody else has moved the rollout: see that the traffic is as the ledger means it, and leave it to them."""
    reason = str(context.ledger.rollout_events(row["id"])[-1]["reason"])
    apply_weight(row["model"], context)
    if row["state"] == "held":
        if failed(row, context):
            return Outputs(verdict=Verdict.FAILED, reason=reason)
        return Outputs(verdict=Verdict.INCONCLUSIVE, reason=reason, held=True)
    if row["state"] not in OPEN:
        return Outputs(verdict=Verdict.FAILED, reason=f"the rollout is {row['state']}: {reason}")
    raise InputError(
        f"rollout {row['id']} of '{row['model']}' went on to {row['state']} at weight {row['weight']} meanwhile: "
        "another run moves it; leave it to that one"
    )


def _apply(row: RowMapping, context: StepContext) -> None:
    """Set the ledger's weight again where HAProxy has another: it may have restarted. Each time is an event."""
    model, wanted = row["model"], canary_weight(row["state"], row["weight"])
    if (found := context.router.weights(model)["canary"]) == wanted:
        return
    context.router.wait_until_up(model, "canary")
    apply_weight(model, context)
    reason = f"HAProxy had weight {found} for the canary, not {wanted}: set again"
    context.log.warning("%s: %s", model, reason)
    with suppress(InputError):  # where a person moved it in the same moment, HAProxy had lost nothing
        context.ledger.advance_rollout(row["id"], row["state"], row["weight"], reason, {"weights_set_again": 1})
