"""Compare a window of live rows with what the version that served it learnt from, and its quality with its best."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd

    from kilter.core.drift.freshness import Stretch
    from kilter.core.drift.window import Window
    from kilter.stores.registry import ModelVersion
    from kilter.window_evidence import Reference, WindowEvidence

STEP = StepInfo(
    stores=frozenset({"objects", "ledger", "registry"}),
    reads=("features", "label", "drift", "evaluation", "training", "gate"),
    memoised=False,
)

PAGE = "report.html"


class Inputs(StepModel):
    """A window made by `join_labels`, and the interval it covers."""

    window: str
    start: UtcTime
    end: UtcTime


class Outputs(StepModel):
    """The report's key and URI (report.json, report.html and Evidently's pages), the page to look at, and its verdict.

    `alert` says that somebody should look, whatever the verdict: the window is empty, truncated or stale, or something could
    not be measured.
    """

    report: str
    uri: str
    html: str
    verdict: str
    alert: bool
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Report on the window, and put the report into the object store, MLflow and the ledger.

    The reference is what the version that answered most of the window's requests was trained and tested on.
    An empty window is compared with nothing and judged inconclusive.

    Raises:
        DataError: the window, or a part of the snapshot, was never committed or was altered.
    """
    from kilter.drift_page import drift_page
    from kilter.stores.windows import read_window
    from kilter.window_evidence import judge_window

    spec = context.spec
    window = read_window(context.objects, spec, inputs.window)
    version = _serving_version(window, context)
    found = judge_window(
        window,
        _reference(version, inputs.end, context) if version else None,
        _earlier(inputs.end, context),
        spec,
        context.seed,
    )
    for judgement in found.judgements:
        context.log.info("%s %s: %s", judgement.name, judgement.verdict, judgement.reason)
    summary = _summary(inputs, window, version, found, context)
    pages = {PAGE: drift_page(spec.name, summary["version"], window, found).encode(), **found.pages}
    key = _commit(summary, pages, context)
    _log_to_mlflow(key, summary, pages, found, context)
    context.ledger.record_report(
        model=spec.name, window_start=inputs.start, window_end=inputs.end, key=key, summary=summary
    )
    uri = context.objects.uri(f"{key}/report.json")
    page = context.objects.uri(f"{key}/{PAGE}")
    context.log.info("report: %s", page)
    if found.alert:
        context.log.warning("alert: %s", found.reason)
    return Outputs(report=key, uri=uri, html=page, verdict=found.verdict, alert=found.alert, reason=found.reason)


def _serving_version(window: Window, context: StepContext) -> ModelVersion | None:
    """The version that answered most of the window's requests."""
    if window.frame.empty:
        return None
    return context.registry.version(context.spec.name, int(window.frame["model_version"].mode().iloc[0]))


def _reference(version: ModelVersion, end: datetime, context: StepContext) -> Reference:
    from kilter.drift_report import SCORE
    from kilter.scores import to_column
    from kilter.stores.models import load_model, read_part
    from kilter.window_evidence import Reference

    train, test = (read_part(context.objects, version.snapshot, part) for part in ("train", "test"))
    scores = load_model(context.objects, version.key).score(test)
    return Reference(
        train,
        test.assign(**{SCORE: to_column(scores)}),
        _baseline(version, end, context),
        _served(version, end, context),
    )


def _served(version: ModelVersion, end: datetime, context: StepContext) -> pd.DataFrame | None:
    """What the version answered in earlier windows, newest first, until there are rows enough; labels as they were known."""
    import pandas as pd

    from kilter.stores.windows import read_window
    from kilter.window_evidence import STREAM_ROWS

    spec, parts, rows = context.spec, list[pd.DataFrame](), 0
    for row in reversed(context.ledger.reports(spec.name, end)):
        if rows >= STREAM_ROWS:
            break
        if row["summary"]["version"] != version.version or not row["summary"]["labelled"]:
            continue
        frame = read_window(context.objects, spec, row["summary"]["window"]).frame
        own = frame[(frame["model_version"] == version.version) & frame[spec.label.column].notna()]
        parts.append(own)
        rows += len(own)
    return pd.concat(parts) if parts else None


def _baseline(version: ModelVersion, end: datetime, context: StepContext) -> float | None:
    """The best that the version has shown before this window."""
    from kilter.core.metrics import best

    metric = context.spec.evaluation.primary
    test = [version.metrics[metric]] if metric in version.metrics else []
    return best(metric, test + context.ledger.qualities(context.spec.name, version.version, end))


def _earlier(end: datetime, context: StepContext) -> list[Stretch]:
    """The volume of the windows before this one, by the newest report on each."""
    from kilter.core.drift.freshness import Stretch

    rows = context.ledger.reports(context.spec.name, end)
    return [Stretch(start=row["window_start"], end=row["window_end"], rows=row["summary"]["rows"]) for row in rows]


def _summary(
    inputs: Inputs, window: Window, version: ModelVersion | None, found: WindowEvidence, context: StepContext
) -> dict[str, Any]:
    from kilter.core.drift import PERFORMANCE

    baseline = next(item.figures.get("baseline") for item in found.judgements if item.name == PERFORMANCE)
    return {
        "verdict": found.verdict,
        "alert": found.alert,
        "reason": found.reason,
        "version": version.version if version else None,
        "window": inputs.window,
        "start": inputs.start.isoformat(),
        "end": inputs.end.isoformat(),
        "rows": window.rows,
        "labelled": window.labelled,
        "metric": context.spec.evaluation.primary,
        "value": found.value,
        "baseline": baseline,
        "judgements": [item.model_dump(mode="json") for item in found.judgements],
    }


def _commit(summary: dict[str, Any], pages: dict[str, bytes], context: StepContext) -> str:
    """Write the pages, then report.json. The key is its digest alone, as Evidently's pages hold random
    ids: the same window judged again is the same report."""
    import json

    from kilter.stores.objects import sha256

    report = json.dumps(summary, indent=1).encode()
    key = f"reports/{context.spec.name}/{sha256(report)}"
    for name, page in pages.items():
        context.objects.put(f"{key}/{name}", page)
    context.objects.put(f"{key}/report.json", report)
    return key


def _log_to_mlflow(
    key: str, summary: dict[str, Any], pages: dict[str, bytes], found: WindowEvidence, context: StepContext
) -> None:
    """A run of the model's experiment, beside those of its training."""
    import json
    import tempfile
    from pathlib import Path

    from kilter.stores.registry import ReportRun

    run = ReportRun(
        model=context.spec.name,
        name=f"drift {summary['start'][:10]} to {summary['end'][:10]}",
        report=key,
        tags={
            "kind": "drift_report",
            "verdict": summary["verdict"],
            "alert": str(summary["alert"]).lower(),
            "version": str(summary["version"] or ""),
            "window_start": summary["start"],
            "window_end": summary["end"],
            "dag_id": context.run.dag_id,
            "run_id": context.run.run_id,
        },
        metrics=_metrics(summary, found),
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, page in pages.items():
            (Path(folder) / name).write_bytes(page)
        (Path(folder) / "report.json").write_text(json.dumps(summary, indent=1))
        context.registry.log_report(run, Path(folder))


def _metrics(summary: dict[str, Any], found: WindowEvidence) -> dict[str, float]:
    """Figures that a person would plot over windows."""
    columns = {
        f"{item.name}/{name}": figures["value"]
        for item in found.judgements
        for name, figures in item.figures.get("columns", {}).items()
    }
    known = {summary["metric"]: summary["value"], "rows": summary["rows"], "labelled": summary["labelled"]}
    return columns | {name: float(value) for name, value in known.items() if value is not None}
