"""Watch a new champion as labels come: is it surely worse than its predecessor on the requests that it answered?"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator

from kilter.core.verdict import Judgement, Verdict
from kilter.labelled_rows import reach
from kilter.rollout import WATCHED, watched
from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.engine import RowMapping

STEP = StepInfo(
    stores=frozenset({"objects", "ledger", "registry"}),
    reads=("entity", "timestamp", "label", "evaluation", "gate", "watch"),
    memoised=False,
)


class Inputs(StepModel):
    """When to look."""

    as_of: Annotated[UtcTime | None, BeforeValidator(lambda value: value or None)] = None
    """Event time up to which labels count. Null or empty: the end of the newest interval whose batch passed."""


class Outputs(StepModel):
    """What follows: `settle` is done already, `roll_back` is to be done, `wait` for more labels, or `nothing` to watch."""

    action: Literal["nothing", "wait", "settle", "roll_back"]
    version: int | None
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Score the new champion's labelled requests by its predecessor, compare both, and record what came of it.

    A look is made when labels have grown by half since the last, and at the end of `watch.within`: see `kilter.core.watch.due`.

    Raises:
        InputError: neither `as_of` nor a passed batch.
        DataError: a model or a log object is damaged.
    """
    from kilter.core.watch import due

    spec = context.spec
    row = context.ledger.provisional(spec.name)
    if row is None:
        return Outputs(action="nothing", version=None, reason="no promotion waits for labels")
    as_of = inputs.as_of or reach(spec, context.ledger)
    start, looks = _start(row, context), [Judgement.model_validate(look) for look in watched(row, context)]
    rows = _labelled(row, start, as_of, context)
    if not due(len(rows), looks, as_of - start, spec.watch):
        judgement = looks[-1]
    else:
        # What was too little to measure was no look.
        judgement = _judge(rows, row, 1 + sum(bool(look.measured) for look in looks), context)
        evidence = {WATCHED: judgement.model_dump(mode="json")}
        row = context.ledger.advance_rollout(row, "promoted", 0, judgement.reason, evidence)
    context.log.info("version %d: %s: %s", row["candidate"], judgement.verdict, judgement.reason)
    return _follow(judgement, row, start, as_of, context)


def _start(row: RowMapping, context: StepContext) -> datetime:
    """Event time from which the requests are the new champion's."""
    events = context.ledger.rollout_events(row["id"])
    promoted = next(event for event in events if event["state"] == "promoted")
    begun = promoted["evidence"].get("watch_from")
    start: datetime = datetime.fromisoformat(begun) if begun else row["started_at"]
    return start


def _labelled(row: RowMapping, start: datetime, as_of: datetime, context: StepContext) -> pd.DataFrame:
    """Requests that the new champion answered and whose labels are known: the log's columns, and the label."""
    from kilter.stores.labels import known_labels
    from kilter.stores.predictions import logged_predictions

    spec = context.spec
    predictions = logged_predictions(context.objects, spec, start, as_of)
    if predictions.empty:
        return predictions
    own = predictions[predictions["model_version"] == row["candidate"]]
    labels = known_labels(context.objects, spec, as_of, since=start)
    key = [spec.entity, spec.timestamp]
    return own.merge(labels[[*key, spec.label.column]], on=key, validate="many_to_one")


def _judge(rows: pd.DataFrame, row: RowMapping, look: int, context: StepContext) -> Judgement:
    from kilter.core.uncertainty.blocks import blocks_of
    from kilter.core.uncertainty.estimate import loss
    from kilter.core.uncertainty.looks import confidence_at
    from kilter.core.watch import NAME, judge
    from kilter.encoding import encode_labels
    from kilter.scores import from_column, in_order
    from kilter.stores.models import load_model

    spec = context.spec
    metric, rules = spec.evaluation.primary, spec.watch
    if len(rows) < rules.minimum_rows:
        return judge(metric, None, len(rows), row["champion"], rules)
    predecessor = load_model(context.objects, context.registry.version(spec.name, row["champion"]).key)
    why = ""
    if predecessor.signature.task != spec.task:
        why = f"is {predecessor.signature.task}, and model.yaml says task: {spec.task}"
    elif lost := sorted(set(predecessor.signature.names) - set(rows.columns)):
        why = f"takes {', '.join(lost)}, which the requests did not have"
    if why:
        reason = f"version {row['champion']} {why}: not comparable"
        return Judgement(
            name=NAME, verdict=Verdict.INCONCLUSIVE, reason=reason, figures={"rows": len(rows), "metric": metric}
        )
    lost_to = loss(
        metric,
        encode_labels(rows[spec.label.column], spec.label.classes),
        from_column(rows["score"], spec.label.classes),
        in_order(predecessor.score(rows), predecessor.signature.classes, spec.label.classes),
        blocks_of(rows[spec.timestamp].dt.tz_localize(None).to_numpy(), spec.evaluation.block),
        confidence_at(look, spec.gate.confidence),
        context.seed,
    )
    return judge(metric, lost_to, len(rows), row["champion"], rules)


def _follow(judgement: Judgement, row: RowMapping, start: datetime, as_of: datetime, context: StepContext) -> Outputs:
    from kilter.core.watch import over

    version, rules = row["candidate"], context.spec.watch
    if judgement.verdict is Verdict.FAILED:
        return Outputs(action="roll_back", version=version, reason=judgement.reason)
    if judgement.verdict is Verdict.PASSED:
        context.ledger.advance_rollout(row, "settled", 0, judgement.reason)
        return Outputs(action="settle", version=version, reason=judgement.reason)
    if not over(judgement.verdict, as_of - start, rules):
        return Outputs(action="wait", version=version, reason=judgement.reason)
    reason = f"unproven by the labels of {as_of - start}: {judgement.reason}"
    if rules.unproven == "roll_back":
        return Outputs(action="roll_back", version=version, reason=reason)
    context.ledger.advance_rollout(row, "settled", 0, reason)
    return Outputs(action="settle", version=version, reason=reason)
