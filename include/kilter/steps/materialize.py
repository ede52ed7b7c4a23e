"""`materialize`: register the feature view and put an interval's newest features into the online store."""

from __future__ import annotations

from kilter.errors import DataError
from kilter.keys import interval_key
from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(stores=frozenset({"objects", "features"}), reads=("features", "entity", "timestamp"), memoised=False)


class Inputs(StepModel):
    start: UtcTime
    end: UtcTime
    digest: str
    """SHA-256 of the features object to put online, as `build_features` gave it."""


class Outputs(StepModel):
    rows: int
    """Entities written; 0 when a later interval is online already."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Write the features of `[end - features.online, end)` online, from this interval's start at the earliest.

    Raises:
        DataError: the features object is absent, or not the one that was asked for.
        UnavailableError: Feast's registry or the online store does not answer.
    """
    from kilter.stores.objects import sha256

    spec = context.spec
    key = interval_key("features", spec.name, inputs.start)
    if (found := sha256(context.objects.get(key))) != inputs.digest:
        raise DataError(
            f"{context.objects.uri(key)} has sha256 {found}, asked for was {inputs.digest}: "
            "it was built anew meanwhile; run build_features of this interval again"
        )
    rows = context.features.materialize(max(inputs.start, inputs.end - spec.features.online), inputs.end)
    context.log.info("%d entities of %s are online", rows, spec.name)
    return Outputs(rows=rows)
