"""`validate_batch`: judge a batch against the model's expectations and quarantine it when it is bad."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from kilter.core.batch import Finding, RowCount
    from kilter.core.verdict import Judgement
    from kilter.stores.objects import Manifest

# Not memoised: it compares with the passed batches of the ledger, and records its verdict there.
STEP = StepInfo(stores=frozenset({"objects", "ledger"}), reads=("source",), memoised=False)


class Inputs(StepModel):
    batch: str
    start: UtcTime
    end: UtcTime


class Outputs(StepModel):
    batch: str
    verdict: str
    """passed, failed, or error (an expectation could not be measured). Only a passed batch may be used."""
    reason: str
    """Each failed expectation with its observed value and what is allowed."""
    report: str
    """Key of the dataset with validation.json."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Record the batch's verdict in the ledger; copy a failed one to `quarantine/<model>/<digest>`.

    A bad batch is a successful step with a failed verdict. Features of earlier intervals stay as they are.

    Raises:
        DataError: the batch was never committed or was altered.
        SpecError: expectations.json is wrong.
        UnavailableError: the ledger does not answer.
    """
    from kilter.core.verdict import Verdict
    from kilter.stores.objects import read_manifest

    manifest = read_manifest(context.objects, inputs.batch)
    findings, judgement = _judge(manifest, inputs, context)
    if judgement.verdict is Verdict.FAILED:
        _quarantine(manifest, context)
    report = _report(manifest, findings, judgement, context)
    context.ledger.record_batch(
        model=context.spec.name,
        interval_start=inputs.start,
        interval_end=inputs.end,
        key=manifest.key,
        digest=manifest.digest,
        rows=sum(manifest.facts["rows"].values()),
        verdict=judgement.verdict.value,
        reason=judgement.reason,
    )
    context.log.info("batch %s %s: %s", manifest.key, judgement.verdict, judgement.reason)
    return Outputs(batch=manifest.key, verdict=judgement.verdict, reason=judgement.reason, report=report)


def _judge(manifest: Manifest, inputs: Inputs, context: StepContext) -> tuple[list[Finding], Judgement]:
    from kilter.batch_check import check_table
    from kilter.core.batch import judge_batch
    from kilter.expectations import load_expectations
    from kilter.stores.objects import read_file
    from kilter.stores.parquet import from_parquet

    expectations = load_expectations(context.folder, context.spec)
    first = inputs.start - context.spec.source.lookback
    findings = []
    for name, table in context.spec.source.tables.items():
        data = from_parquet(read_file(context.objects, manifest, f"{name}.parquet"), f"{manifest.key}/{name}.parquet")
        findings += check_table(name, data, expectations.tables[name], table, first, inputs.end)
    rule = expectations.row_count
    judgement = judge_batch(
        findings,
        _counts(manifest.facts["rows"], inputs.end - inputs.start),
        _recent(inputs.start, rule.intervals, context),
        (rule.minimum_ratio, rule.maximum_ratio),
        rule.minimum_intervals,
    )
    return findings, judgement


def _counts(rows: Mapping[str, int], length: timedelta) -> dict[str, RowCount]:
    from kilter.core.batch import RowCount

    return {name: RowCount(rows=count, length=length) for name, count in rows.items()}


def _recent(start: datetime, intervals: int, context: StepContext) -> dict[str, list[RowCount]]:
    """Row counts of the last passed intervals before `start`; of several batches for one interval the newest."""
    from kilter.stores.objects import read_manifest

    passed = context.ledger.batches(context.spec.name, before=start, verdict="passed")
    newest = {row["interval_start"]: row for row in passed}
    recent: dict[str, list[RowCount]] = {name: [] for name in context.spec.source.tables}
    for row in list(newest.values())[-intervals:]:
        counts = _counts(
            read_manifest(context.objects, row["key"]).facts["rows"], row["interval_end"] - row["interval_start"]
        )
        for name in recent:
            recent[name].append(counts[name])
    return recent


def _quarantine(manifest: Manifest, context: StepContext) -> None:
    from kilter.stores.objects import MANIFEST, read_file

    key = f"quarantine/{context.spec.name}/{manifest.digest}"
    for name in manifest.files:
        context.objects.put(f"{key}/{name}", read_file(context.objects, manifest, name))
    kept = manifest.model_copy(update={"key": key})
    context.objects.put(f"{key}/{MANIFEST}", kept.model_dump_json(indent=1).encode())
    context.log.info("quarantined at %s", context.objects.uri(key))


def _report(manifest: Manifest, findings: list[Finding], judgement: Judgement, context: StepContext) -> str:
    import json

    from kilter.stores.objects import commit_dataset

    content = {
        "batch": manifest.key,
        "judgement": judgement.model_dump(mode="json"),
        "findings": [finding.model_dump(mode="json") for finding in findings],
    }
    data = json.dumps(content, indent=1, ensure_ascii=False).encode()
    return commit_dataset(context.objects, f"validations/{context.spec.name}", {"validation.json": data}).key
