"""What moves a rollout besides its steps: hold it, let it go on, roll it back, or give the champion's role back.

Each writes to the ledger what is meant before it moves traffic, so that whoever comes after a crash does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kilter.core.rollout import PROMOTED, canary_weight
from kilter.errors import InputError
from kilter.step import StepContext

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

    from kilter.stores.deployment import Role

_ENDING = {"ending": True}
"""Evidence of the event with which a roll-back begins."""


def hold(row: RowMapping, reason: str, context: StepContext, evidence: Mapping[str, Any] | None = None) -> None:
    """Send all traffic to the champion; the candidate stays loaded, and its evidence is kept.

    Raises:
        InputError: the rollout has ended.
        UnavailableError: the ledger or HAProxy does not answer.
    """
    context.ledger.advance_rollout(row["id"], "held", row["weight"], reason, dict(evidence or {}))
    context.router.shift(row["model"], 0)
    context.log.info("version %d of %s is held: %s", row["candidate"], row["model"], reason)


def resume(row: RowMapping, reason: str, context: StepContext) -> None:
    """Let a held rollout go on at the step that it was held in, by the run that waits for it.

    Raises:
        InputError: it is not held, it failed and only waits to be rolled back, or that has begun.
    """
    if row["state"] != "held":
        raise InputError(f"rollout {row['id']} of '{row['model']}' is {row['state']}, not held: nothing to resume")
    if failed(row, context) or is_ending(row, context):
        why = "is being rolled back" if is_ending(row, context) else "failed"
        raise InputError(
            f"rollout {row['id']} of '{row['model']}' version {row['candidate']} {why}: abort it, or roll out another"
        )
    context.ledger.resume_rollout(row["id"], reason)
    context.log.info("version %d of %s goes on: %s", row["candidate"], row["model"], reason)


def apply_weight(model: str, context: StepContext) -> int:
    """Make HAProxy's weights those that the ledger means; return the canary's, in percent.

    Whoever moves a rollout tells the ledger first. So when the ledger still says the same afterwards, what was set holds,
    and whoever has moved it meanwhile sets it in turn.

    Raises:
        UnavailableError: HAProxy or the ledger does not answer.
    """
    while True:
        wanted = _meant(model, context)
        if context.router.weights(model)["canary"] != wanted:
            context.router.shift(model, wanted)
        if _meant(model, context) == wanted:
            return wanted


def _meant(model: str, context: StepContext) -> int:
    row = context.ledger.open_rollout(model)
    return canary_weight(row["state"], row["weight"]) if row else 0


def failed(row: RowMapping, context: StepContext) -> bool:
    """Whether the newest judgement on a rollout is that its candidate is bad."""
    judged = context.ledger.judged(row["id"])
    return judged is not None and judged["evidence"]["judgement"]["verdict"] == "failed"


def is_ending(row: RowMapping, context: StepContext) -> bool:
    """Whether its roll-back has begun, and was perhaps broken off: nothing but its end may follow."""
    return _ENDING.items() <= context.ledger.rollout_events(row["id"])[-1]["evidence"].items()


def roll_back(row: RowMapping, reason: str, context: StepContext) -> None:
    """End a rollout that is under way: traffic first, then the candidate's server, then its alias. Safe to run again.

    Raises:
        UnavailableError: HAProxy, the object store or the registry does not answer; traffic is back if HAProxy did.
    """
    model = row["model"]
    if is_ending(row, context):
        context.router.shift(model, 0)
    else:
        hold(row, reason, context, _ENDING)
    _restore_champion(row, context)
    context.servers.withdraw("canary", model)
    if context.registry.alias(model, "canary") == row["candidate"]:
        context.registry.remove_alias(model, "canary")
    context.ledger.advance_rollout(row["id"], "rolled_back", 0, reason, {})
    context.log.info("version %d of %s is rolled back: %s", row["candidate"], model, reason)


def _restore_champion(row: RowMapping, context: StepContext) -> None:
    """Undo what a promotion that broke off had moved already."""
    model, candidate = row["model"], row["candidate"]
    named = context.registry.champion(model)
    # A rollout that began as the first may find a champion that somebody named meanwhile: that one is live.
    champion = row["champion"] or (named if named != candidate else None)
    if champion is None:
        held = context.servers.deployed("champion", model)
        if held is not None and held.version == candidate:
            context.servers.withdraw("champion", model)
        if named == candidate:
            context.registry.remove_alias(model, "champion")
        return
    _deploy("champion", model, champion, context)
    if named == candidate:
        context.registry.set_alias(model, "champion", champion)


def give_back(row: RowMapping, reason: str, context: StepContext) -> None:
    """Make the predecessor the champion again: at once from the canary server, which holds it, then for good.

    Raises:
        InputError: the version is not the champion, has no predecessor, or another one is being rolled out.
        UnavailableError: a server, HAProxy or the registry does not answer; run it again.
    """
    model, predecessor = row["model"], row["champion"]
    _may_give_back(row, context)
    _deploy("canary", model, predecessor, context)
    context.router.wait_until_up(model, "canary")
    context.router.shift(model, 100)
    _deploy("champion", model, predecessor, context)
    context.router.wait_until_up(model, "champion")
    context.router.shift(model, 0)
    context.registry.set_alias(model, "champion", predecessor)
    if context.registry.alias(model, "predecessor") == predecessor:
        context.registry.remove_alias(model, "predecessor")
    context.servers.withdraw("canary", model)
    context.ledger.advance_rollout(row["id"], "rolled_back", 0, reason, {})
    context.log.info("version %d of %s is the champion again: %s", predecessor, model, reason)


def _may_give_back(row: RowMapping, context: StepContext) -> None:
    model, version = row["model"], row["candidate"]
    if row["champion"] is None:
        raise InputError(f"model '{model}': version {version} was its first champion: there is no predecessor")
    if (other := context.ledger.open_rollout(model)) is not None:
        raise InputError(f"model '{model}': version {other['candidate']} is being rolled out: abort that first")
    # After a crash half-way the predecessor has the name already.
    if (champion := context.registry.champion(model)) not in (version, row["champion"]):
        raise InputError(f"model '{model}': version {champion} is the champion, not {version}: roll that one back")


def _deploy(role: Role, model: str, version: int, context: StepContext) -> None:
    found = context.registry.version(model, version)
    context.servers.deploy(role, model, found.version, found.key, found.digest)


def under_way(model: str, context: StepContext) -> RowMapping:
    """The rollout that is under way.

    Raises:
        InputError: there is none.
    """
    if (row := context.ledger.open_rollout(model)) is None:
        raise InputError(f"model '{model}': no rollout is under way ('rollback' brings a champion's predecessor back)")
    return row


def last_promotion(model: str, context: StepContext) -> RowMapping:
    """The rollout that made the champion.

    Raises:
        InputError: none did.
    """
    promoted = [row for row in context.ledger.rollouts(model) if row["state"] in PROMOTED]
    if not promoted:
        raise InputError(f"model '{model}': no version was ever promoted: there is nothing to roll back")
    return promoted[-1]
