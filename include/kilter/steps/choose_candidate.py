"""Choose the version to judge: the one that was asked for, or the held candidate that may be judged again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from kilter.labelled_rows import reach
from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from kilter.core.gate.held import Choice

STEP = StepInfo(stores=frozenset({"ledger"}), memoised=False)


class Inputs(StepModel):
    """A version, or null or empty for the held candidate; and up to when labels count, as in `score_holdout`."""

    version: Annotated[int | None, BeforeValidator(lambda value: value or None)] = None
    as_of: Annotated[UtcTime | None, BeforeValidator(lambda value: value or None)] = None


class Outputs(StepModel):
    """Whether there is a version to judge, and which."""

    chosen: bool
    version: int | None


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Take the version that was asked for; else look into the ledger for a held candidate.

    Raises:
        InputError: a candidate is held, and there is neither `as_of` nor a passed batch.
        UnavailableError: the ledger does not answer.
    """
    if inputs.version is not None:
        context.log.info("version %d was asked for", inputs.version)
        return Outputs(chosen=True, version=inputs.version)
    choice = _held(inputs, context)
    context.log.info("%s: %s", f"judge version {choice.version}" if choice.version else "nothing to do", choice.reason)
    return Outputs(chosen=choice.version is not None, version=choice.version)


def _held(inputs: Inputs, context: StepContext) -> Choice:
    from kilter.core.gate.held import Choice, LastVerdict, choose

    name = context.spec.name
    verdicts = context.ledger.verdicts(name)
    if not verdicts:
        return Choice(None, "no version was ever judged")
    newest = verdicts[-1]
    last = LastVerdict(newest["version"], newest["action"], newest["as_of"], newest["recorded_at"])
    known = inputs.as_of or reach(context.spec, context.ledger)
    return choose(last, context.ledger.promoted_at(name), known)
