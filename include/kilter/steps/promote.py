"""Promote the candidate: it becomes the champion, and the champion before stays loaded until labels tell (`watch`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.core.rollout import PROMOTED
from kilter.errors import InputError
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

    from kilter.core.rollout import State

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The rollout, judged at full weight."""

    rollout: int


class Outputs(StepModel):
    """The new champion, and the one before, if any."""

    version: int
    predecessor: int | None


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Move the champion's role to the candidate, in steps that can each be done again.

    The candidate answers everything from the canary role meanwhile, so no request waits for the swap.
    Whoever stops half-way runs it again: the ledger says `promoted` only when all is done. A first champion has nobody
    to be compared with, and is `settled` at once.

    Raises:
        InputError: the rollout was rolled back, or its candidate did not pass at full weight.
        UnavailableError: a server, HAProxy or the registry does not answer.
    """
    row = context.ledger.rollout(inputs.rollout)
    outputs = Outputs(version=row["candidate"], predecessor=row["champion"])
    if row["state"] in PROMOTED:
        context.log.info("version %d was promoted already", outputs.version)
        return outputs
    context.ledger.running_rollout(inputs.rollout, context.spec.name)
    if outputs.predecessor is not None:
        _passed(row, context)
    _swap(outputs, context)
    _rename(outputs, context)
    reason = f"version {outputs.version} is the champion, predecessor {outputs.predecessor or 'none'}"
    state: State = "settled" if outputs.predecessor is None else "promoted"
    context.ledger.advance_rollout(inputs.rollout, state, 0, reason, {"watch_from": _watch_from(context)})
    context.log.info("%s: %s", context.spec.name, reason)
    return outputs


def _watch_from(context: StepContext) -> str | None:
    """Event time before which no request is the new champion's; None where no interval was ever ingested.

    That is the start of the newest interval: its requests may come after it was ingested.
    """
    starts = [batch["interval_start"] for batch in context.ledger.batches(context.spec.name, verdict="passed")]
    return max(starts).isoformat() if starts else None


def _passed(row: RowMapping, context: StepContext) -> None:
    """Refuse what has not passed at full weight."""
    judged = context.ledger.judged(row["id"])
    if row["state"] == "held":
        raise InputError(
            f"rollout {row['id']} of '{row['model']}' version {row['candidate']} is held: resume it, then clear this task"
        )
    if not judged or judged["weight"] != 100 or judged["evidence"]["judgement"]["verdict"] != "passed":
        last = f"weight {judged['weight']}: {judged['reason']}" if judged else "never judged"
        raise InputError(
            f"rollout {row['id']} of '{row['model']}' version {row['candidate']} has not passed at weight 100 "
            f"({last}): judge it there first, or roll it back"
        )


def _swap(outputs: Outputs, context: StepContext) -> None:
    model = context.spec.name
    champion = context.registry.version(model, outputs.version)
    context.servers.deploy("champion", model, champion.version, champion.key, champion.digest)
    context.router.wait_until_up(model, "champion")
    context.router.shift(model, 0)
    if outputs.predecessor is not None:
        before = context.registry.version(model, outputs.predecessor)
        context.servers.deploy("canary", model, before.version, before.key, before.digest)


def _rename(outputs: Outputs, context: StepContext) -> None:
    model = context.spec.name
    context.registry.set_alias(model, "champion", outputs.version)
    if outputs.predecessor is not None:
        context.registry.set_alias(model, "predecessor", outputs.predecessor)
    for alias in ("canary", "candidate"):
        if context.registry.alias(model, alias) == outputs.version:
            context.registry.remove_alias(model, alias)
