"""Roll a rollout back: all traffic to the champion at once, the candidate unloaded."""

from __future__ import annotations

from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The rollout to end."""

    rollout: int


class Outputs(StepModel):
    """Whether it is rolled back, and why, or why not."""

    rolled_back: bool
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """End a rollout that was not promoted; safe to run after every rollout, and more than once.

    Raises:
        UnavailableError: HAProxy or the registry does not answer.
    """
    model = context.spec.name
    row = context.ledger.rollout(inputs.rollout)
    if row["state"] == "promoted":
        return Outputs(rolled_back=False, reason=f"version {row['candidate']} was promoted")
    reason = str(context.ledger.rollout_events(inputs.rollout)[-1]["reason"])
    if row["state"] == "rolled_back":
        return Outputs(rolled_back=True, reason=reason)
    _restore_champion(row["candidate"], row["champion"], context)
    context.servers.withdraw("canary", model)
    if context.registry.alias(model, "canary") == row["candidate"]:
        context.registry.remove_alias(model, "canary")
    context.ledger.advance_rollout(inputs.rollout, "rolled_back", 0, reason, {})
    context.log.info("version %d of %s is rolled back: %s", row["candidate"], model, reason)
    return Outputs(rolled_back=True, reason=reason)


def _restore_champion(candidate: int, champion: int | None, context: StepContext) -> None:
    """Send everything to the champion, and undo what a promotion that broke off had moved already."""
    model = context.spec.name
    context.router.shift(model, 0)
    if champion is None:
        context.servers.withdraw("champion", model)
        if context.registry.champion(model) == candidate:
            context.registry.remove_alias(model, "champion")
    else:
        held = context.registry.version(model, champion)
        context.servers.deploy("champion", model, held.version, held.key, held.digest)
        if context.registry.champion(model) == candidate:
            context.registry.set_alias(model, "champion", champion)
