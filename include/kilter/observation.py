"""Watching a candidate in one step of its rollout until there is a verdict: what `shadow` and `canary` share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kilter.core.rollout import OPEN
from kilter.core.verdict import Judgement, Verdict
from kilter.errors import InputError, UnavailableError
from kilter.rollout import apply_weight, failed, hold, meant, waits_for_a_person
from kilter.step import StepContext, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

    from kilter.core.canary import Evidence
    from kilter.core.rollout import State
    from kilter.spec import Canary
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

    def holds(self, row: RowMapping) -> bool:
        """Whether a rollout, or an event of one, is in this step."""
        return (row["state"], row["weight"]) == (self.state, self.weight)

    def before(self, rules: Canary) -> int:
        """How many steps come before this one."""
        return rules.weights.index(self.weight) + 1 if self.weight else 0


def rules_of(row: RowMapping, context: StepContext) -> Canary:
    """The rules of a rollout: those of a version that comes back, or those of any other."""
    rules = context.spec.canary
    return rules.of_a_return if row["fast"] else rules


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
    weights = rules_of(row, context).weights
    if place.weight and place.weight not in weights:
        if place.weight in context.spec.canary.weights:
            return Outputs(verdict=Verdict.PASSED, reason=f"a version that comes back goes by {list(weights)} alone")
        raise InputError(f"weight {place.weight} is not one of canary.weights {list(weights)}: give one of those")
    if (passed := _passed(place, context)) is not None:
        return Outputs(verdict=Verdict.PASSED, reason=passed)
    if row["state"] not in ("staged", "shadow", "shifting"):
        return _left(row, context)
    if place.weight:
        index = weights.index(place.weight)
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
    # A canary that nobody watches takes no requests; one that is down would leave its users to HAProxy's retries.
    context.servers.watch("canary", row["model"])
    context.router.wait_until_up(row["model"], "canary")
    if not place.holds(row):
        try:
            context.ledger.advance_rollout(row, place.state, place.weight, reason)
        except InputError:
            return _left(context.ledger.rollout(place.rollout), context)
    apply_weight(row["model"], context)
    return None


def observe(place: Place, look: Callable[[], Seen], context: StepContext) -> Outputs:
    """Look until passed, failed or `canary.maximum_duration` is over, and record what came of it.

    Unless it passed, all traffic goes to the champion before this returns. What was seen is kept in the ledger every few
    seconds: whoever runs this step again goes on from there, with as much time as the first had.

    Raises:
        UnavailableError: HAProxy or the ledger does not answer for `_RETURN_SECONDS`.
    """
    from kilter.core.canary import Look, judge

    ledger = context.ledger
    rules = rules_of(ledger.rollout(place.rollout), context)
    evidence, waiting = _known(place, rules, context), Look()
    started = reported = up_at = answered_at = time.monotonic()
    deadline = started + rules.maximum_duration.total_seconds()
    while True:
        time.sleep(_POLL)
        try:
            row = ledger.rollout(place.rollout)
            if not place.holds(row):
                if row["state"] == "held":
                    ledger.keep_evidence(place.rollout, evidence.model_dump(mode="json"))
                return _left(row, context)
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
            return _end(row, place, judgement, context)


def _known(place: Place, rules: Canary, context: StepContext) -> Evidence:
    """What the rollout has shown so far, with this step begun; nothing where the spec now compares something else."""
    from kilter.core.canary import Evidence, measures

    nothing = Evidence(steps=1 + len(rules.weights))
    kept = context.ledger.rollout(place.rollout)["evidence"]
    evidence = Evidence.model_validate(kept) if kept else nothing
    if evidence.steps != nothing.steps or any(bets.keys() != set(measures(rules)) for bets in evidence.bets):
        context.log.warning("what the spec compares has changed since this rollout began: its evidence begins anew")
        evidence = nothing
    while len(evidence.bets) <= place.before(rules):
        evidence = evidence.begin(rules)
    return evidence


def _passed(place: Place, context: StepContext) -> str | None:
    """Why this step passed in this rollout; None when it has not."""
    for event in context.ledger.rollout_events(place.rollout):
        judgement = event["evidence"].get("judgement")
        if judgement and place.holds(event) and judgement["verdict"] == "passed":
            return str(event["reason"])
    return None


def _end(row: RowMapping, place: Place, judgement: Judgement, context: StepContext) -> Outputs:
    evidence = {"judgement": judgement.model_dump(mode="json")}
    try:
        if judgement.verdict is Verdict.PASSED:
            context.ledger.advance_rollout(row, place.state, place.weight, judgement.reason, evidence)
            return Outputs(verdict=judgement.verdict, reason=judgement.reason)
        hold(row, judgement.reason, context, evidence)
    except InputError:
        # A person held or ended it in the same moment.
        return _left(context.ledger.rollout(place.rollout), context)
    stays = waits_for_a_person(context.ledger.rollout(place.rollout), context)
    return Outputs(verdict=judgement.verdict, reason=judgement.reason, held=stays)


def _left(row: RowMapping, context: StepContext) -> Outputs:
    """Somebody else has moved the rollout: see that the traffic is as the ledger means it, and leave it to them."""
    reason = str(context.ledger.rollout_events(row["id"])[-1]["reason"])
    apply_weight(row["model"], context)
    if row["state"] == "held" and not failed(row, context):
        return Outputs(verdict=Verdict.INCONCLUSIVE, reason=reason, held=waits_for_a_person(row, context))
    if row["state"] in ("held", "rolling_back", "giving_back") or row["state"] not in OPEN:
        return Outputs(verdict=Verdict.FAILED, reason=f"the rollout is {row['state']}: {reason}")
    raise InputError(
        f"rollout {row['id']} of '{row['model']}' went on to {row['state']} at weight {row['weight']} meanwhile: "
        "another run moves it; leave it to that one"
    )


def _apply(row: RowMapping, context: StepContext) -> None:
    """Set the ledger's weights again where HAProxy has others: it may have restarted. Each time is an event."""
    model = row["model"]
    wanted = meant(model, context)
    if (found := context.router.weights(model)) == wanted:
        return
    context.router.wait_until_up(model, "canary")
    apply_weight(model, context)
    reason = f"HAProxy had weight {found['canary']} for the canary, not {wanted['canary']}: set again"
    context.log.warning("%s: %s", model, reason)
    with suppress(InputError):  # where a person moved it in the same moment, HAProxy had lost nothing
        context.ledger.advance_rollout(row, row["state"], row["weight"], reason, {"weights_set_again": 1})
