"""Combine the gate's checks into one verdict, and tell it: ledger, MLflow, object store, log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from kilter.core.verdict import Judgement
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from kilter.core.gate.judge import Ruled
    from kilter.gate_report import GateReport

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry"}), reads=("gate", "evaluation"), memoised=False)


def _flat(given: Any) -> Any:
    """Several mapped tasks give a list each."""
    if not isinstance(given, list):
        return given
    return [item for part in given for item in (part if isinstance(part, list) else [part])]


class Inputs(StepModel):
    """The candidate's version, the holdout that it was judged by, and what each check said, in lists or one list."""

    version: int
    holdout: str
    judgements: Annotated[list[Judgement], BeforeValidator(_flat)]


class Outputs(StepModel):
    """The verdict, what follows from it (`promote`, `reject`, `hold`, `ask`), why, and the report's key."""

    verdict: str
    action: str
    reason: str
    report: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Judge, then record the verdict; the same holdout judged again replaces what was recorded.

    Raises:
        InputError: the holdout was made for another version.
        DataError: the holdout was never committed, or was altered.
    """
    from kilter.core.gate.judge import judge
    from kilter.errors import InputError
    from kilter.gate_report import make_report
    from kilter.holdout import Facts
    from kilter.stores.objects import read_manifest

    spec = context.spec
    facts = Facts.model_validate(read_manifest(context.objects, inputs.holdout).facts)
    if facts.version != inputs.version:
        raise InputError(
            f"holdout '{inputs.holdout}' was made for version {facts.version} of '{spec.name}', not {inputs.version}: "
            f"run score_holdout for version {inputs.version}"
        )
    ruling = judge(inputs.judgements, spec.gate, spec.checks)
    report = make_report(spec, facts, inputs.holdout, ruling)
    for line in table(report.checks):
        context.log.info(line)
    context.log.info("%s, so %s: %s", ruling.verdict, ruling.action, ruling.reason)
    key = _publish(report, context)
    context.ledger.record_verdict(
        model=spec.name,
        version=inputs.version,
        holdout=inputs.holdout,
        verdict=ruling.verdict.value,
        action=ruling.action.value,
        reason=ruling.reason,
        judgements=[json.loads(item.model_dump_json()) for item in inputs.judgements],
        evaluation_start=facts.start,
        evaluation_end=facts.end,
        as_of=facts.as_of,
    )
    context.ledger.end_retraining(
        spec.name, f"version {inputs.version} was judged: {ruling.action.value}", version=inputs.version
    )
    return Outputs(verdict=ruling.verdict.value, action=ruling.action.value, reason=ruling.reason, report=key)


def table(checks: Sequence[Ruled]) -> list[str]:
    """The checks as lines of a table: name, verdict, what it counts for, and its arithmetic."""
    rows = [("check", "verdict", "counts as", "because")]
    rows += [
        (item.judgement.name, item.judgement.verdict.value, item.role, item.judgement.reason.replace("\n", " "))
        for item in checks
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def _publish(report: GateReport, context: StepContext) -> str:
    """Put the report into the object store and beside the version in MLflow; return its key."""
    import tempfile
    from pathlib import Path

    from kilter.gate_report import HTML_FILE, JSON_FILE, render
    from kilter.stores.objects import commit_dataset

    name, version, registry = context.spec.name, report.version, context.registry
    files = {JSON_FILE: report.model_dump_json(indent=1).encode(), HTML_FILE: render(report).encode()}
    facts = {"version": version, "verdict": report.verdict.value, "action": report.action.value}
    manifest = commit_dataset(context.objects, f"gate_reports/{name}", files, facts)
    with tempfile.TemporaryDirectory() as folder:
        gate = Path(folder, "gate")
        gate.mkdir()
        for file, content in files.items():
            (gate / file).write_bytes(content)
        registry.attach(name, version, Path(folder))
    registry.tag(name, version, "gate_verdict", report.verdict.value)
    registry.tag(name, version, "gate_action", report.action.value)
    registry.tag(name, version, "gate_reason", _as_tag("; ".join(report.reasons)))
    return manifest.key


def _as_tag(reason: str) -> str:
    """The reason, cut to what a tag may hold; a cut is told, with where the whole is."""
    from kilter.gate_report import JSON_FILE
    from kilter.stores.registry import TAG_LENGTH

    if len(reason) <= TAG_LENGTH:
        return reason
    told = f" … (cut; all of it is in gate/{JSON_FILE} of this version's run)"
    return reason[: TAG_LENGTH - len(told)] + told
