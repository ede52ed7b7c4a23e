"""Roll a rollout back: all traffic to the champion at once, the candidate unloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The version whose newest rollout is to end: known also when `stage` died before it could tell the rollout."""

    version: int


class Outputs(StepModel):
    """Whether it is rolled back, and why, or why not."""

    rolled_back: bool
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """End a rollout that was not promoted; safe to run after every rollout, and more than once.

    A version that was promoted, or of which no rollout ever began, is left as it is.

    Raises:
        UnavailableError: HAProxy or the registry does not answer.
    """
    model = context.spec.name
    row = context.ledger.newest_rollout(model, inputs.version)
    if row is None:
        return Outputs(rolled_back=False, reason=f"no rollout of version {inputs.version} began")
    if row["state"] == "promoted":
        return Outputs(rolled_back=False, reason=f"version {row['candidate']} was promoted")
    reason = _reason(row, context)
    if row["state"] == "rolled_back":
        return Outputs(rolled_back=True, reason=reason)
    _restore_champion(row, context)
    context.servers.withdraw("canary", model)
    if context.registry.alias(model, "canary") == row["candidate"]:
        context.registry.remove_alias(model, "canary")
    context.ledger.advance_rollout(row["id"], "rolled_back", 0, reason, {})
    context.log.info("version %d of %s is rolled back: %s", row["candidate"], model, reason)
    return Outputs(rolled_back=True, reason=reason)


def _reason(row: RowMapping, context: StepContext) -> str:
    """Why it ends: the last judgement, or how far it came when none was made at that point."""
    last = context.ledger.rollout_events(row["id"])[-1]
    reason = str(last["reason"])
    judged = "judgement" in last["evidence"]
    return reason if judged or last["state"] == "rolled_back" else f"broken off after: {reason}"


def _restore_champion(row: RowMapping, context: StepContext) -> None:
    """Send everything to the champion, and undo what a promotion that broke off had moved already."""
    model, candidate = row["model"], row["candidate"]
    named = context.registry.champion(model)
    # A rollout that began as the first may find a champion that somebody named meanwhile: that one is live.
    champion = row["champion"] or (named if named != candidate else None)
    context.router.shift(model, 0)
    if champion is None:
        held = context.servers.deployed("champion", model)
        if held is not None and held.version == candidate:
            context.servers.withdraw("champion", model)
        if named == candidate:
            context.registry.remove_alias(model, "champion")
        return
    version = context.registry.version(model, champion)
    context.servers.deploy("champion", model, version.version, version.key, version.digest)
    if named == candidate:
        context.registry.set_alias(model, "champion", champion)
