"""Decide what to do: retrain, bring an earlier model back, or wait; the decision and its reason go to the ledger.

Every cause comes here: a drift report, labels that grew, the schedule, a changed environment, a person.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from kilter.environment import environment_digest
from kilter.errors import InputError
from kilter.labelled_rows import reach
from kilter.live_record import CHAMPION, CHANGED
from kilter.returning import evidence_of
from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

    from kilter.core.arbiter import Decision, Evidence, Trigger, Wish
    from kilter.stores.deciding import Deciding
    from kilter.stores.registry import ModelVersion

STEP = StepInfo(
    stores=frozenset({"objects", "features", "ledger", "registry"}),
    reads=("arbiter", "drift", "evaluation", "features", "gate", "label"),
    memoised=False,
)


class Inputs(StepModel):
    """What to decide on: a report, what a person asks for, or, with neither, whatever is known by now."""

    report: Annotated[str | None, BeforeValidator(lambda value: value or None)] = None
    """The report's key in the ledger."""
    wish: Literal["", "retrain", "redeploy"] = ""
    version: Annotated[int | None, BeforeValidator(lambda value: value or None)] = None
    """`redeploy`: the former champion to bring back."""
    reason: Annotated[str, Field(max_length=1000)] = ""
    """Why the person asks."""


class Outputs(StepModel):
    """The decision's row, what to do and why, up to which event time; what to train on, or which version comes back.

    `tune`: search for parameters before the training. `alert`: somebody should look. `unsure`: an earlier model may be right,
    but not surely. No decision, and no event time, before there is any data.
    """

    decision: int | None
    action: Literal["retrain", "redeploy", "wait"]
    reason: str
    event_time: UtcTime | None
    scope: dict[str, Any] | None = None
    tune: bool = False
    version: int | None = None
    alert: bool = False
    unsure: bool = False


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Decide once a trigger: the same report again gives the decision already taken, as does a world in which nothing changed.

    What takes long, such as scoring rows by earlier models, comes first; then the past is read, the decision taken and
    recorded in one transaction, so that of two responses at once the second sees what the first decided.

    Raises:
        InputError: there is no such report, or no data yet; or the version asked for was never champion, or is it now.
        UnavailableError: the ledger or MLflow does not answer.
    """
    from kilter.core.arbiter import decide
    from kilter.retraining import longest

    name = context.spec.name
    if not (inputs.report or inputs.wish or context.ledger.batches(name, verdict="passed")):
        return Outputs(decision=None, action="wait", reason="no data was ever ingested", event_time=None)
    trigger, known, noted = _known(inputs, context)
    with context.ledger.deciding(name) as deciding:
        row = deciding.taken(trigger) or (None if inputs.report or inputs.wish else _told_before(known, deciding))
        if row is None:
            evidence = _with_past(known, deciding, context)
            decision = decide(evidence, context.spec.arbiter)
            row = deciding.record(longest(context.spec), trigger=trigger, **_row(decision, evidence, noted, deciding))
    context.log.info("decision %d at %s: %s: %s", row["id"], row["event_time"], row["action"], row["reason"])
    if row["alert"]:
        context.log.warning("alert: %s", row["reason"])
    return Outputs(
        decision=row["id"],
        action=row["action"],
        reason=row["reason"],
        event_time=row["event_time"],
        scope=row["scope"],
        tune=bool(row["tune"]),
        version=row["version"],
        alert=bool(row["alert"]),
        unsure=row["action"] != "redeploy"
        and any(item["verdict"] == "inconclusive" for item in row["evidence"].get("rivals", [])),
    )


def _known(inputs: Inputs, context: StepContext) -> tuple[str, Evidence, dict[str, Any]]:
    """What triggers the decision, as the ledger knows it, and the evidence without what others may change meanwhile.

    Besides, what later decisions want to know of this one: the champion, and since when the world is another.
    """
    from kilter.core.arbiter import Evidence

    spec, run = context.spec, context.run
    report = context.ledger.report(spec.name, inputs.report) if inputs.report else None
    now = reach(spec, context.ledger) if report is None else report["window_end"]
    versions = context.registry.versions(spec.name)
    cause = _cause(versions, now, context)
    trigger: Trigger = "person" if inputs.wish else cause or ("new_data" if report is None else "drift")
    found = evidence_of(report, now, context)
    rejected = _rejected(versions, context)
    evidence = Evidence(
        event_time=now,
        trigger=trigger,
        wish=_wish(inputs, context),
        judgements=found.judgements,
        rivals=found.rivals,
        scope=found.scope,
        trained_labels=found.trained_labels or (_rows_of(versions[-1], context) if versions else 0),
        trainings=tuple(sorted(_trained(versions, context))),
        in_vain=max(found.in_vain, len(rejected)),
        rejected=_since_last_search(rejected, now, context),
    )
    names = {
        "person": f"person: {run.dag_id} {run.run_id}" + (f" at {datetime.now()}" if run.run_id == "manual" else ""),
        "report": str(inputs.report),
    }
    known = f"{trigger} by {now.isoformat()} in environment {environment_digest()[:12]}"
    named = names["person"] if inputs.wish else names["report"] if inputs.report else known
    return named, evidence, {CHAMPION: found.champion, CHANGED: found.changed and found.changed.isoformat()}


def _told_before(known: Evidence, deciding: Deciding) -> RowMapping | None:
    """The decision that all of this went into already: one of this event time or later, for the same cause if there is one."""
    for row in reversed(deciding.decisions()):
        if row["event_time"] < known.event_time:
            return None
        if known.trigger in ("new_data", row["evidence"].get("trigger")):
            return row
    return None


def _wish(inputs: Inputs, context: StepContext) -> Wish | None:
    from kilter.core.arbiter import Wish

    if not inputs.wish:
        return None

    name, version = context.spec.name, inputs.version
    if inputs.wish == "redeploy":
        former = context.ledger.champions(name)
        if version not in former:
            raise InputError(
                f"model '{name}': version {version} was never its champion (those were {former}): give one of them, "
                f"or run {name}.canary_promotion for a candidate that passed the gate"
            )
        if version == context.registry.champion(name):
            raise InputError(
                f"model '{name}': version {version} is the champion already: there is nothing to bring back"
            )
    return Wish(action=inputs.wish, version=version, reason=inputs.reason or "no reason given")


def _cause(versions: Sequence[ModelVersion], now: datetime, context: StepContext) -> Trigger | None:
    """Whether the environment changed since the newest version was trained, or the schedule asks for a training."""
    if not versions:
        return None
    made_in = context.registry.tags(context.spec.name, versions[-1].version).get("environment_digest")
    if made_in and made_in != environment_digest():
        return "environment"
    every = context.spec.arbiter.every
    if every is not None and now - max(_trained(versions, context)) >= every:
        return "schedule"
    return None


def _with_past(known: Evidence, deciding: Deciding, context: StepContext) -> Evidence:
    """The evidence with what was decided before, as it is now that nobody else decides."""
    decided = {row["event_time"] for row in deciding.decisions() if row["action"] == "retrain"}
    trainings = tuple(sorted({*known.trainings, *decided}))
    last, under_way = max(trainings, default=None), deciding.retraining()
    return known.model_copy(
        update={
            "new_labels": context.ledger.labels_between(context.spec.name, last, known.event_time),
            "trainings": trainings,
            "under_way": under_way and f"retraining {under_way['id']}, begun by {under_way['begun_by']}",
            "returning": _returning(deciding, context),
        }
    )


def _row(decision: Decision, evidence: Evidence, noted: dict[str, Any], deciding: Deciding) -> dict[str, Any]:
    """The decision as the ledger keeps it, with the retraining that it was folded into."""
    under_way = deciding.retraining()
    return {
        "action": decision.action,
        "reason": decision.reason,
        # Through JSON's text: only there a number that is none becomes what a database takes.
        "evidence": json.loads(evidence.model_dump_json()) | noted,
        "event_time": evidence.event_time,
        "version": decision.version,
        "scope": decision.scope and decision.scope.model_dump(mode="json"),
        "tune": decision.tune,
        "alert": decision.alert,
        "retraining": under_way["id"] if under_way is not None and decision.action == "wait" else None,
    }


def _returning(deciding: Deciding, context: StepContext) -> str | None:
    """The rollout under way, or the one that a decision of the last hours is about to begin."""
    from kilter.core.rollout import OPEN

    rollouts = deciding.rollouts()
    for row in rollouts:
        if row["state"] in OPEN:
            return f"rollout {row['id']} of version {row['candidate']} is under way ({row['state']})"
    begun = {row["decision"] for row in rollouts}
    for row in deciding.decisions():
        waited = datetime.now(row["recorded_at"].tzinfo) - row["recorded_at"]
        if row["action"] == "redeploy" and row["id"] not in begun and waited < context.spec.resources.timeout:
            return f"decision {row['id']} is bringing version {row['version']} back"
    return None


def _rejected(versions: Sequence[ModelVersion], context: StepContext) -> list[ModelVersion]:
    """The versions that the gate rejected since the last one that was promoted."""
    promoted = set(context.ledger.champions(context.spec.name))
    rejected = {row["version"] for row in context.ledger.verdicts(context.spec.name) if row["action"] == "reject"}
    newer = takewhile(lambda item: item.version not in promoted, reversed(versions))
    return [item for item in newer if item.version in rejected]


def _since_last_search(versions: Sequence[ModelVersion], now: datetime, context: StepContext) -> int:
    """How many of these learned what the last search up to now knew, or more; without a search all."""
    last = context.ledger.last_search(context.spec.name, now)
    return len(versions) if last is None else sum(time >= last["as_of"] for time in _trained(versions, context))


def _trained(versions: Sequence[ModelVersion], context: StepContext) -> list[datetime]:
    """Up to when each version learnt."""
    return [datetime.fromisoformat(_facts(item, context)["as_of"]) for item in versions]


def _rows_of(version: ModelVersion, context: StepContext) -> int:
    return sum(_facts(version, context)["rows"].values())


def _facts(version: ModelVersion, context: StepContext) -> dict[str, Any]:
    from kilter.stores.objects import read_manifest

    return read_manifest(context.objects, version.snapshot).facts
