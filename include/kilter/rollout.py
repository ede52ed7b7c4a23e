"""What moves a rollout besides its steps: hold it, let it go on, roll it back, or give the champion's role back.

Each writes to the ledger what is meant before it moves traffic, servers or names, and looks again before each such move: who
was overtaken stops, and whoever comes after a crash does the rest.
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
    from kilter.stores.router import Weights


WATCHED = "watched"
"""Key of a look's judgement in the evidence of a rollout's events."""


def hold(row: RowMapping, reason: str, context: StepContext, evidence: Mapping[str, Any] | None = None) -> None:
    """Send all traffic to the champion; the candidate stays loaded, and its evidence is kept. Held already is fine.

    Raises:
        InputError: the rollout is past being held, or somebody else has moved it.
        UnavailableError: the ledger or HAProxy does not answer.
    """
    if row["state"] != "held":
        context.ledger.advance_rollout(row, "held", row["weight"], reason, dict(evidence or {}))
    apply_weight(row["model"], context)
    context.log.info("version %d of %s is held: %s", row["candidate"], row["model"], reason)


def resume(row: RowMapping, reason: str, context: StepContext) -> None:
    """Let a held rollout go on at the step that it was held in, by the run that waits for it.

    Raises:
        InputError: it is not held, or it failed and only waits to be rolled back.
    """
    if failed(row, context):
        raise InputError(
            f"rollout {row['id']} of '{row['model']}' version {row['candidate']} failed: abort it, or roll out another"
        )
    context.ledger.resume_rollout(row, reason)
    context.log.info(
        "version %d of %s goes on: %s. If no run of %s.canary_promotion waits for it, start one with version %d",
        row["candidate"], row["model"], reason, row["model"], row["candidate"],
    )  # fmt: skip


def failed(row: RowMapping, context: StepContext) -> bool:
    """Whether the newest judgement on a rollout is that its candidate is bad."""
    judged = context.ledger.judged(row["id"])
    return judged is not None and judged["evidence"]["judgement"]["verdict"] == "failed"


def watched(row: RowMapping, context: StepContext) -> list[dict[str, Any]]:
    """What the looks at a promotion found, the newest last."""
    events = context.ledger.rollout_events(row["id"])
    return [event["evidence"][WATCHED] for event in events if WATCHED in event["evidence"]]


def waits_for_a_person(row: RowMapping, context: StepContext) -> bool:
    """Whether a rollout is held until a person decides: held by one, or by the spec because nothing was proven."""
    if row["state"] != "held" or failed(row, context):
        return False
    by_verdict = "judgement" in context.ledger.rollout_events(row["id"])[-1]["evidence"]
    return not by_verdict or context.spec.canary.inconclusive == "hold"


def apply_weight(model: str, context: StepContext) -> None:
    """Make HAProxy's weights those that the ledger means.

    Whoever moves a rollout tells the ledger first. So when the ledger still says the same afterwards, what was set holds,
    and whoever has moved it meanwhile sets it in turn.

    Raises:
        UnavailableError: HAProxy or the ledger does not answer.
    """
    while True:
        wanted = meant(model, context)
        if context.router.weights(model) != wanted:
            context.router.shift(model, wanted["canary"])
        if meant(model, context) == wanted:
            return


def meant(model: str, context: StepContext) -> Weights:
    """The shares of the requests that the ledger means, in percent."""
    row = context.ledger.open_rollout(model)
    canary = canary_weight(row["state"], row["weight"]) if row else 0
    return {"champion": 100 - canary, "canary": canary}


def still(row: RowMapping, context: StepContext) -> None:
    """See that a rollout is in the state that it was read in.

    Raises:
        InputError: somebody else has moved it.
    """
    now = context.ledger.rollout(row["id"])
    if now["state"] != row["state"]:
        raise InputError(
            f"rollout {row['id']} of '{row['model']}' version {row['candidate']} was {row['state']} and is {now['state']}: "
            "whoever moved it goes on with it"
        )


def roll_back(row: RowMapping, reason: str, context: StepContext) -> None:
    """End a rollout that is under way: traffic first, then servers and names. Safe to run again, also beside itself.

    Raises:
        InputError: it has ended, or somebody else has moved it.
        UnavailableError: HAProxy, the object store or the registry does not answer; traffic is back if HAProxy did.
    """
    model = row["model"]
    row = context.ledger.advance_rollout(row, "rolling_back", row["weight"], reason)
    apply_weight(model, context)
    restore_champion(row, context)
    still(row, context)
    context.servers.withdraw("canary", model)
    if context.registry.alias(model, "canary") == row["candidate"]:
        still(row, context)
        context.registry.remove_alias(model, "canary")
    context.ledger.advance_rollout(row, "rolled_back", 0, reason)
    context.log.info("version %d of %s is rolled back: %s", row["candidate"], model, reason)


def restore_champion(row: RowMapping, context: StepContext) -> None:
    """Undo what a promotion that was broken off, or overtaken, has moved already."""
    model, candidate = row["model"], row["candidate"]
    named = context.registry.champion(model)
    # A rollout that began as the first may find a champion that somebody named meanwhile: that one is live.
    champion = row["champion"] or (named if named != candidate else None)
    held = context.servers.deployed("champion", model)
    if champion is None:
        if held is not None and held.version == candidate:
            context.servers.withdraw("champion", model)
        if named == candidate:
            context.registry.remove_alias(model, "champion")
        return
    if held is None or held.version == candidate:
        _deploy("champion", model, champion, context)
    if named == candidate:
        context.registry.set_alias(model, "champion", champion)


def give_back(row: RowMapping, reason: str, context: StepContext) -> None:
    """Make the predecessor the champion again, in place: the champion's server swaps without dropping a request.

    Done already is fine.

    Raises:
        InputError: there is no predecessor, the version is not the champion, or another one is being rolled out.
        UnavailableError: the champion's server, HAProxy or the registry does not answer; run it again.
    """
    model, predecessor = row["model"], row["champion"]
    if row["state"] == "rolled_back":
        context.log.info("version %d of %s was rolled back already", row["candidate"], model)
        return
    _may_give_back(row, context)
    row = context.ledger.advance_rollout(row, "giving_back", 0, reason)
    apply_weight(model, context)
    still(row, context)
    _deploy("champion", model, predecessor, context)
    still(row, context)
    context.registry.set_alias(model, "champion", predecessor)
    if context.registry.alias(model, "predecessor") == predecessor:
        context.registry.remove_alias(model, "predecessor")
    still(row, context)
    context.servers.withdraw("canary", model)
    context.ledger.advance_rollout(row, "rolled_back", 0, reason)
    context.log.info("version %d of %s is the champion again: %s", predecessor, model, reason)


def _may_give_back(row: RowMapping, context: StepContext) -> None:
    model, version = row["model"], row["candidate"]
    if row["champion"] is None:
        raise InputError(f"model '{model}': version {version} was its first champion: there is no predecessor")
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


def promotion(model: str, version: int | None, context: StepContext) -> RowMapping:
    """The rollout that made a version the champion; without a version, that of the champion.

    Raises:
        InputError: none did; or none is named and the newest one was rolled back already, so that another time would go
            further back than anybody may have meant.
    """
    rows = [row for row in context.ledger.rollouts(model) if version in (None, row["candidate"])]
    for row in reversed(rows):
        if row["state"] in (*PROMOTED, "giving_back"):
            return row
        events = context.ledger.rollout_events(row["id"])
        if row["state"] == "rolled_back" and any(event["state"] in PROMOTED for event in events):
            if version is not None:
                return row
            raise InputError(
                f"model '{model}': version {row['candidate']} was rolled back already, version {row['champion']} is the "
                "champion again: to go further back, name the version that shall go (--version)"
            )
    raise InputError(f"model '{model}': no version was ever promoted: there is nothing to roll back")
