"""Decide on a drift report: retrain or wait; the decision and its reason go to the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from kilter.core.arbiter import Evidence

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry"}), reads=("arbiter",), memoised=False)


class Inputs(StepModel):
    """The report's key in the ledger."""

    report: str


class Outputs(StepModel):
    """The decision's row, what to do, why, and up to which event time."""

    decision: int
    action: str
    reason: str
    event_time: UtcTime


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Decide once a report: the same report again gives the decision already taken."""
    from kilter.core.arbiter import decide
    from kilter.retraining import longest

    name = context.spec.name
    evidence = _gather(context.ledger.report(name, inputs.report), context)
    decision = decide(evidence, context.spec.arbiter)
    with context.ledger.deciding(name) as deciding:
        row = deciding.taken(inputs.report) or deciding.record(
            longest(context.spec),
            trigger=inputs.report,
            action=decision.action,
            reason=decision.reason,
            evidence=evidence.model_dump(mode="json"),
            event_time=evidence.event_time,
        )
    context.log.info("decision %d at %s: %s: %s", row["id"], row["event_time"], row["action"], row["reason"])
    return Outputs(decision=row["id"], action=row["action"], reason=row["reason"], event_time=row["event_time"])


def _gather(report: Any, context: StepContext) -> Evidence:
    from kilter.core.arbiter import Evidence
    from kilter.core.verdict import Judgement

    trainings = _trainings(context)
    return Evidence(
        event_time=report["window_end"],
        judgements=tuple(Judgement.model_validate(item) for item in report["summary"]["judgements"]),
        new_labels=context.ledger.labels_between(context.spec.name, max(trainings, default=None), report["window_end"]),
        trainings=trainings,
    )


def _trainings(context: StepContext) -> tuple[datetime, ...]:
    """Up to when each version, and each retraining already decided on, learns."""
    from kilter.stores.objects import read_manifest

    versions = context.registry.versions(context.spec.name)
    trained = {
        datetime.fromisoformat(read_manifest(context.objects, item.snapshot).facts["as_of"]) for item in versions
    }
    decided = {row["event_time"] for row in context.ledger.decisions(context.spec.name) if row["action"] == "retrain"}
    return tuple(sorted(trained | decided))
