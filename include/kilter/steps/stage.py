"""Stage a candidate: begin its rollout and load it on the canary role, without any traffic yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.errors import InputError, KilterError
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "router", "servers"}), memoised=False)


class Inputs(StepModel):
    """The version to roll out."""

    version: int


class Outputs(StepModel):
    """The rollout. `first`: there is no champion yet, so nothing to compare with and no canary."""

    rollout: int
    first: bool


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Begin the rollout, or find the one under way of the same version.

    Raises:
        InputError: the version is the champion already, or another version is being rolled out.
        UnavailableError: a model server does not load its version, or HAProxy does not answer.
    """
    model = context.spec.name
    candidate = context.registry.version(model, inputs.version)
    rollout = context.ledger.begin_rollout(model, candidate.version, _champion(inputs.version, context))
    row = context.ledger.rollout(rollout)
    if row["champion"] is None:
        context.log.info("%s has no champion: version %d will be the first", model, candidate.version)
        return Outputs(rollout=rollout, first=True)
    try:
        _load(row, context)
    except KilterError as error:
        # Left open it would block every other candidate; a retry begins anew.
        if row["state"] == "staged":
            context.ledger.advance_rollout(rollout, "rolled_back", 0, f"could not be staged: {error}", {})
        raise
    return Outputs(rollout=rollout, first=False)


def _load(row: RowMapping, context: StepContext) -> None:
    """Load the candidate on the canary role, beside the champion, which keeps all traffic."""
    model = context.spec.name
    candidate = context.registry.version(model, row["candidate"])
    champion = context.registry.version(model, row["champion"])
    context.servers.deploy("champion", model, champion.version, champion.key, champion.digest)
    if row["state"] == "staged":
        context.router.shift(model, 0)
    context.registry.set_alias(model, "canary", candidate.version)
    context.servers.deploy("canary", model, candidate.version, candidate.key, candidate.digest)
    context.log.info("version %d is loaded on the canary, champion is version %d", candidate.version, champion.version)


def _champion(candidate: int, context: StepContext) -> int | None:
    """The champion that the candidate is to follow."""
    model = context.spec.name
    champion = context.registry.champion(model)
    under_way = context.ledger.open_rollout(model)
    if champion == candidate and under_way is None:
        raise InputError(f"model '{model}': version {candidate} is the champion already: there is nothing to roll out")
    return champion
