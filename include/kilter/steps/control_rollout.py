"""What a person on call, or the watch, does with a model's rollout: hold, resume, abort, or roll a promotion back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator

from kilter.rollout import give_back, hold, promotion, resume, roll_back, under_way
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "router", "servers"}), memoised=False)

Action = Literal["hold", "resume", "abort", "rollback"]


class Inputs(StepModel):
    """What to do, and why, for the ledger.

    `hold`: all traffic to the champion, the candidate stays loaded; `resume`: go on where it was held; `abort`: end the
    rollout under way; `rollback`: the champion's predecessor takes over again.
    """

    action: Action
    reason: str = ""
    version: Annotated[int | None, BeforeValidator(lambda value: value or None)] = None
    """`rollback`: the version that shall go; null or empty: the champion."""


class Outputs(StepModel):
    """The rollout as it is now."""

    rollout: int
    version: int
    state: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Do it to the rollout under way, or for `rollback` to the newest promotion.

    Raises:
        InputError: there is no such rollout, or nothing leads there from its state.
        UnavailableError: HAProxy, a server or the registry does not answer; run it again. Traffic is moved first.
    """
    model, reason = context.spec.name, f"{inputs.action}: {inputs.reason or 'no reason given'}"
    if inputs.action == "rollback":
        row = promotion(model, inputs.version, context)
        give_back(row, reason, context)
    else:
        row = under_way(model, context)
        _MOVES[inputs.action](row, reason, context)
    return Outputs(rollout=row["id"], version=row["candidate"], state=context.ledger.rollout(row["id"])["state"])


_MOVES: dict[str, Callable[[RowMapping, str, StepContext], None]] = {
    "hold": hold,
    "resume": resume,
    "abort": roll_back,
}
