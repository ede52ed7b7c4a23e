"""Promote the candidate: it becomes the champion, and the champion before stays loaded until labels tell (`watch`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.core.rollout import PROMOTED
from kilter.errors import DataError, InputError
from kilter.rollout import apply_weight, restore_champion, still
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

    from kilter.core.rollout import State

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The rollout, judged at full weight."""

    rollout: int


class Outputs(StepModel):
    """The new champion, and the one before, if any. `held`: the rollout is, and nothing was done."""

    version: int
    predecessor: int | None
    held: bool = False
    reason: str = ""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Move the champion's role to the candidate, in steps that can each be done again.

    The candidate answers everything from the canary role meanwhile, so no request waits for the swap.
    Whoever stops half-way runs it again: the ledger says `promoted` only when all is done. A first champion has nobody
    to be compared with, and is `settled` at once. Its regime is kept, by which a later world may call it back. Where somebody rolls back meanwhile, what was moved is moved back.

    Raises:
        InputError: the rollout was rolled back, or its candidate did not pass at full weight.
        UnavailableError: a server, HAProxy or the registry does not answer.
    """
    row = context.ledger.rollout(inputs.rollout)
    outputs = Outputs(version=row["candidate"], predecessor=row["champion"])
    if row["state"] in PROMOTED:
        context.log.info("version %d was promoted already", outputs.version)
        return outputs
    row = context.ledger.running_rollout(inputs.rollout, context.spec.name)
    if row["state"] == "held":
        reason = str(context.ledger.rollout_events(row["id"])[-1]["reason"])
        return outputs.model_copy(update={"held": True, "reason": reason})
    if outputs.predecessor is not None and row["state"] != "promoting":
        _passed(row, context)
    row = context.ledger.advance_rollout(
        row, "promoting", row["weight"], f"version {outputs.version} becomes the champion"
    )
    _keep_regime(outputs.version, context)
    try:
        row = _swap(outputs, row, context)
        _rename(outputs, row, context)
        still(row, context)
    except InputError:
        restore_champion(context.ledger.rollout(row["id"]), context)
        raise
    reason = f"version {outputs.version} is the champion, predecessor {outputs.predecessor or 'none'}"
    state: State = "settled" if outputs.predecessor is None else "promoted"
    context.ledger.advance_rollout(row, state, 0, reason, {"watch_from": _watch_from(context)})
    context.log.info("%s: %s", context.spec.name, reason)
    return outputs


def _keep_regime(version: int, context: StepContext) -> None:
    """Keep what the new champion's rows look like; a champion without it can still come back by labels."""
    from kilter.regime_rows import regime_of
    from kilter.stores.models import load_model

    name, found = context.spec.name, context.registry.version(context.spec.name, version)
    if version in context.ledger.regimes(name):
        return
    try:
        regime = regime_of(context.objects, found.snapshot, load_model(context.objects, found.key))
    except (DataError, InputError) as error:
        context.log.warning("the regime of version %d is not kept: %s", version, error)
        return
    context.ledger.record_regime(name, version, regime.model_dump(mode="json"))
    context.log.info("the regime of version %d is kept: %d rows", version, regime.fingerprint.rows)


def _watch_from(context: StepContext) -> str | None:
    """Event time before which no request is the new champion's; None where no interval was ever ingested.

    That is the start of the newest interval: its requests may come after it was ingested.
    """
    starts = [batch["interval_start"] for batch in context.ledger.batches(context.spec.name, verdict="passed")]
    return max(starts).isoformat() if starts else None


def _passed(row: RowMapping, context: StepContext) -> None:
    """Refuse what has not passed at full weight."""
    judged = context.ledger.judged(row["id"])
    if not judged or judged["weight"] != 100 or judged["evidence"]["judgement"]["verdict"] != "passed":
        last = f"weight {judged['weight']}: {judged['reason']}" if judged else "never judged"
        raise InputError(
            f"rollout {row['id']} of '{row['model']}' version {row['candidate']} has not passed at weight 100 "
            f"({last}): judge it there first, or roll it back"
        )


def _swap(outputs: Outputs, row: RowMapping, context: StepContext) -> RowMapping:
    model = context.spec.name
    champion = context.registry.version(model, outputs.version)
    still(row, context)
    context.servers.deploy("champion", model, champion.version, champion.key, champion.digest)
    context.router.wait_until_up(model, "champion")
    if row["weight"]:
        row = context.ledger.advance_rollout(
            row, "promoting", 0, f"the champion's server holds version {outputs.version}"
        )
    apply_weight(model, context)
    if outputs.predecessor is not None:
        before = context.registry.version(model, outputs.predecessor)
        still(row, context)
        context.servers.deploy("canary", model, before.version, before.key, before.digest)
    return row


def _rename(outputs: Outputs, row: RowMapping, context: StepContext) -> None:
    model = context.spec.name
    still(row, context)
    context.registry.set_alias(model, "champion", outputs.version)
    if outputs.predecessor is not None:
        context.registry.set_alias(model, "predecessor", outputs.predecessor)
    for alias in ("canary", "candidate"):
        if context.registry.alias(model, alias) == outputs.version:
            context.registry.remove_alias(model, alias)
    if row["fast"]:
        context.registry.tag(model, outputs.version, "returned_at", f"{row['started_at']:%Y-%m-%dT%H:%M:%SZ}")
        context.registry.tag(model, outputs.version, "returned_by", f"decision {row['decision'] or 'none'}")
