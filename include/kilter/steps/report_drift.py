"""Compare a window of live rows with the champion's training data, and its quality with the version's best."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd

    from kilter.core.drift import ColumnDrift, Window
    from kilter.stores.registry import ModelVersion

STEP = StepInfo(
    stores=frozenset({"objects", "ledger", "registry"}),
    reads=("features", "label", "drift", "evaluation", "training"),
    memoised=False,
)


class Inputs(StepModel):
    """A window made by `join_labels`, and the interval it covers."""

    window: str
    start: UtcTime
    end: UtcTime


class Outputs(StepModel):
    """The report's key (report.json, drift.html and, with labels, performance.html) and its verdict."""

    report: str
    html: str
    verdict: str
    reason: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Report on the window, and put the report into the ledger.

    The reference is what the version that answered most of the window's requests was trained on.
    An empty window is compared with nothing and judged inconclusive.
    """
    from kilter.core.drift import judge_data_drift, judge_performance
    from kilter.core.verdict import worst
    from kilter.stores.parquet import read_table

    spec = context.spec
    live = read_table(context.objects, inputs.window, "window.parquet").to_pandas()
    version = _serving_version(live, context)
    window, pages = _measure(live, version, inputs.end, context)
    judgements = [judge_data_drift(window, spec.drift), judge_performance(window, spec.drift)]
    for judgement in judgements:
        context.log.info("%s %s: %s", judgement.name, judgement.verdict, judgement.reason)
    verdict = worst(judgement.verdict for judgement in judgements)
    reason = "; ".join(f"{item.name} {item.verdict}: {item.reason}" for item in judgements)
    summary = {
        "verdict": verdict,
        "reason": reason,
        "version": version.version if version else None,
        "window": inputs.window,
        "start": inputs.start.isoformat(),
        "end": inputs.end.isoformat(),
        "rows": window.rows,
        "labelled": window.labelled,
        "metric": window.metric,
        "value": window.value,
        "baseline": window.baseline,
        "judgements": [item.model_dump(mode="json") for item in judgements],
    }
    key = _commit(summary, pages, context)
    context.ledger.record_report(
        model=spec.name, window_start=inputs.start, window_end=inputs.end, key=key, summary=summary
    )
    page = f"{key}/drift.html" if "drift.html" in pages else f"{key}/report.json"
    context.log.info("report: %s", context.objects.uri(page))
    return Outputs(report=key, html=context.objects.uri(page), verdict=verdict, reason=reason)


def _serving_version(live: pd.DataFrame, context: StepContext) -> ModelVersion | None:
    """The version that answered most of the window's requests."""
    if live.empty:
        return None
    return context.registry.version(context.spec.name, int(live["model_version"].mode().iloc[0]))


def _measure(
    live: pd.DataFrame, version: ModelVersion | None, end: datetime, context: StepContext
) -> tuple[Window, dict[str, bytes]]:
    from kilter.core.drift import Window
    from kilter.core.metrics import measure
    from kilter.drift_report import SCORE, compare_columns, html

    spec = context.spec
    metric = spec.evaluation.primary
    labelled = live[live[spec.label.column].notna()]
    columns: dict[str, ColumnDrift] = {}
    unmeasured: tuple[str, ...] = ()
    pages: dict[str, bytes] = {}
    if version is not None and len(live) >= spec.drift.minimum_rows:
        snapshot, columns, unmeasured = compare_columns(
            _sample(live, context), _sample(_part(version, "train", context), context), spec
        )
        pages["drift.html"] = html(snapshot)
        pages |= _performance_page(labelled, version, context)
    value = measure([metric], labelled[spec.label.column].to_numpy(float), labelled[SCORE].to_numpy(float)).get(metric)
    return (
        Window(
            rows=len(live),
            labelled=len(labelled),
            null_shares={name: float(live[name].isna().mean()) for name in spec.features.names} if len(live) else {},
            columns=columns,
            unmeasured=unmeasured,
            metric=metric,
            value=value,
            baseline=_baseline(version, metric, end, context) if version else None,
        ),
        pages,
    )


def _baseline(version: ModelVersion, metric: str, end: datetime, context: StepContext) -> float | None:
    """The best that the version has shown before this window."""
    from kilter.core.metrics import best

    test = [version.metrics[metric]] if metric in version.metrics else []
    return best(metric, test + context.ledger.qualities(context.spec.name, version.version, end))


def _performance_page(labelled: pd.DataFrame, version: ModelVersion, context: StepContext) -> dict[str, bytes]:
    from kilter.drift_report import SCORE, compare_performance, html
    from kilter.stores.models import load_model

    label = context.spec.label.column
    if labelled[label].nunique() < 2:
        return {}
    test = _part(version, "test", context)
    model = load_model(context.objects, version.key)
    reference = test.assign(**{SCORE: model.score(test)})
    current = labelled.astype({label: int})
    return {
        "performance.html": html(
            compare_performance(_sample(current, context), _sample(reference, context), context.spec)
        )
    }


def _part(version: ModelVersion, part: Any, context: StepContext) -> pd.DataFrame:
    from kilter.stores.models import read_part

    return read_part(context.objects, version.snapshot, part)


def _sample(frame: pd.DataFrame, context: StepContext) -> pd.DataFrame:
    """At most `drift.sample` rows, the same ones each time."""
    size = min(len(frame), context.spec.drift.sample)
    return frame.sample(size, random_state=context.seed)


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
