"""Stage a candidate: begin its rollout and load it on the canary role, without any traffic yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from kilter.champion import champion_of, lost_alias
from kilter.errors import InputError
from kilter.rollout import apply_weight, roll_back, watched
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The version to roll out."""

    version: int
    fast: bool = False
    """Whether it comes back: it was the champion before, and goes by `canary.fast`."""
    decision: Annotated[int | None, BeforeValidator(lambda value: value or None)] = None
    """The decision that brings it back."""


class Outputs(StepModel):
    """The rollout. `first`: there was never a champion, so nothing to compare with and no canary."""

    rollout: int
    first: bool


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Begin the rollout, or find the one under way of the same version.

    A rollout that cannot be staged stays open for a retry: `roll_back` ends it.

    Another rollout under way, or one that labels have not settled, is superseded where `canary.second_rollout` says so. A
    version that comes back ends the probation of the champion in any case: the world in which labels would tell is gone.

    Raises:
        InputError: it is to come back and never was champion; or the version is the champion already, another version is being rolled out or not settled yet, or the
            champion's alias was lost.
        UnavailableError: a model server does not load its version, or HAProxy does not answer.
    """
    model = context.spec.name
    candidate = context.registry.version(model, inputs.version)
    if inputs.fast and candidate.version not in (former := context.ledger.champions(model)):
        raise InputError(
            f"model '{model}': version {candidate.version} cannot come back, as it never was champion (those were {former}): "
            "roll it out without 'fast'"
        )
    _make_way(candidate.version, inputs.fast, context)
    champion = _champion(inputs.version, context)
    rollout = context.ledger.begin_rollout(model, candidate.version, champion, inputs.fast, inputs.decision)
    row = context.ledger.rollout(rollout)
    if row["state"] in ("rolling_back", "giving_back"):
        cure = "abort" if row["state"] == "rolling_back" else "rollback"
        raise InputError(
            f"rollout {rollout} of '{model}' version {candidate.version} is {row['state']}: finish that first with "
            f"'kilter rollout {cure} {model}'"
        )
    if row["champion"] is None:
        context.log.info("%s has no champion: version %d will be the first", model, candidate.version)
        return Outputs(rollout=rollout, first=True)
    if row["state"] != "promoting":
        _load(row, context)
    return Outputs(rollout=rollout, first=False)


def _make_way(candidate: int, fast: bool, context: StepContext) -> None:
    """End what another candidate has under way, or refuse to begin."""
    model, ledger = context.spec.name, context.ledger
    other = ledger.in_the_way(model, candidate)
    if other is None:
        return
    if context.spec.canary.second_rollout == "wait" and not (fast and other["state"] == "promoted"):
        raise InputError(
            f"model '{model}': version {other['candidate']} (rollout {other['id']}, {other['state']}) is being rolled out: "
            f"wait until it has ended or is settled, abort it, or set canary.second_rollout: supersede, before version "
            f"{candidate} begins"
        )
    reason = f"superseded by version {candidate}"
    if other["state"] != "promoted":
        roll_back(other, reason, context)
        return
    looks = watched(other, context)
    if looks and looks[-1]["verdict"] == "failed":
        raise InputError(
            f"model '{model}': version {other['candidate']} is surely worse than its predecessor, and was not rolled back "
            f"yet: 'kilter rollout rollback {model}' before version {candidate} begins"
        )
    ledger.advance_rollout(other, "settled", 0, f"{reason} before labels told")


def _champion(candidate: int, context: StepContext) -> int | None:
    """The champion that the candidate is to follow; a rollout under way keeps the one that it began with."""
    model = context.spec.name
    if (under_way := context.ledger.open_rollout(model)) is not None:
        champion: int | None = under_way["champion"]
        return champion
    champion = champion_of(model, context.registry, context.ledger)
    if champion == candidate:
        raise InputError(f"model '{model}': version {candidate} is the champion already: there is nothing to roll out")
    if champion is None and (held := context.servers.deployed("champion", model)) is not None:
        raise lost_alias(model, held.version, "is on the champion server")
    return champion


def _load(row: RowMapping, context: StepContext) -> None:
    """Load the candidate on the canary role, beside the champion, which keeps all traffic."""
    model = context.spec.name
    candidate = context.registry.version(model, row["candidate"])
    champion = context.registry.version(model, row["champion"])
    context.servers.deploy("champion", model, champion.version, champion.key, champion.digest)
    apply_weight(model, context)
    context.registry.set_alias(model, "canary", candidate.version)
    context.servers.deploy("canary", model, candidate.version, candidate.key, candidate.digest)
    context.log.info("version %d is loaded on the canary, champion is version %d", candidate.version, champion.version)
