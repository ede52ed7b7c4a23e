"""Roll a rollout back: all traffic to the champion at once, the candidate unloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.core.rollout import PROMOTED
from kilter.rollout import roll_back, waits_for_a_person
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

    A version that was promoted, or of which no rollout ever began, is left as it is; so is one that a person shall
    decide on (`canary.inconclusive: hold`).

    Raises:
        InputError: somebody else moves the rollout.
        UnavailableError: HAProxy or the registry does not answer.
    """
    model = context.spec.name
    row = context.ledger.newest_rollout(model, inputs.version)
    if row is None:
        return Outputs(rolled_back=False, reason=f"no rollout of version {inputs.version} began")
    if row["state"] in (*PROMOTED, "giving_back"):
        return Outputs(rolled_back=False, reason=f"version {row['candidate']} was promoted")
    reason = _reason(row, context)
    if row["state"] == "rolled_back":
        return Outputs(rolled_back=True, reason=reason)
    if waits_for_a_person(row, context):
        return Outputs(rolled_back=False, reason=f"held: {reason}")
    roll_back(row, reason, context)
    return Outputs(rolled_back=True, reason=reason)


def _reason(row: RowMapping, context: StepContext) -> str:
    """Why it ends: the last judgement, or how far it came when none was made at that point."""
    last = context.ledger.rollout_events(row["id"])[-1]
    reason = str(last["reason"])
    decided = "judgement" in last["evidence"] or last["state"] in ("held", "rolling_back", "rolled_back")
    return reason if decided else f"broken off after: {reason}"
