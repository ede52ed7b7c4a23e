"""What came of the demo: quality by month, decisions, versions, durations, and where to look."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from kilter.core.metrics import measure
from kilter.demo.loop import STAGES, Loop
from kilter.drift_report import SCORE
from kilter.encoding import encode_labels
from kilter.scores import from_column
from kilter.spec import LOWER_IS_BETTER
from kilter.stores.models import load_model
from kilter.stores.parquet import read_table


def collect(loop: Loop, seconds: float) -> dict[str, Any]:
    """Collect the facts of a demo that has ended, as JSON-ready values."""
    return {
        "metric": loop.spec.evaluation.primary,
        "months": _months(loop),
        "decisions": [
            {"time": row["event_time"].isoformat(), "action": row["action"], "reason": row["reason"]}
            for row in loop.ledger.decisions(loop.spec.name)
            if row["trigger"].startswith("reports/")
        ],
        "versions": _versions(loop),
        "stages": _stages(loop),
        "seconds": round(seconds, 1),
    }


def show(summary: dict[str, Any], console: Console, airflow: str, password: str, mlflow: str) -> None:
    """Print the summary as tables."""
    metric = summary["metric"]
    table = _table(
        f"{metric} by month", "month", "flights", "served by", "served", "first model, never retrained", "gain"
    )
    for row in summary["months"]:
        served, never = row["served"], row["never_retrained"]
        gain = never - served if metric in LOWER_IS_BETTER else served - never
        table.add_row(
            row["month"], f"{row['rows']:,}", row["versions"], f"{served:.4f}", f"{never:.4f}", f"{gain:+.4f}"
        )
    console.print(table)
    table = _table("Decisions", "at", "action", "reason")
    for row in summary["decisions"]:
        table.add_row(row["time"][:10], row["action"], row["reason"])
    console.print(table)
    table = _table("Model versions", "version", "role", "gate", f"test {metric}", "model", "snapshot")
    for row in summary["versions"]:
        table.add_row(
            str(row["version"]),
            row["role"],
            row["gate"],
            f"{row['metric']:.4f}",
            row["digest"][:12],
            row["snapshot"][:12],
        )
    console.print(table)
    table = _table("Stages in Airflow", "DAG", "runs", "seconds a run", "seconds in all")
    for row in summary["stages"]:
        table.add_row(row["dag"], str(row["runs"]), f"{row['mean']:.1f}", f"{row['total']:.1f}")
    console.print(table)
    console.print(f"The loop took {summary['seconds']:.0f} s.")
    console.print(f"Airflow  {airflow}   user admin, password {password}", soft_wrap=True)
    console.print(f"MLflow   {mlflow}   no log-in, this machine only", soft_wrap=True)
    console.print("All of it stays up; 'make down' stops it.")


def save(summary: dict[str, Any], loop: Loop) -> None:
    """Keep the facts as JSON below the home."""
    (loop.settings.home / "summary.json").write_text(json.dumps(summary, indent=1))


def _months(loop: Loop) -> list[dict[str, Any]]:
    first = loop.registry.versions(loop.spec.name)[0]
    model = load_model(loop.objects, first.key)
    return [_month(loop, model, start, end) for start, end in loop.months]


def _month(loop: Loop, first: Any, start: datetime, end: datetime) -> dict[str, Any]:
    metric, label = loop.spec.evaluation.primary, loop.spec.label.column
    key = loop.ledger.window(loop.spec.name, end)
    window = read_table(loop.objects, key, "window.parquet").to_pandas()
    labelled = window[window[label].notna()]
    classes = loop.spec.label.classes
    labels = encode_labels(labelled[label], classes)
    return {
        "month": f"{start:%Y-%m}",
        "rows": len(window),
        "versions": ", ".join(f"v{version}" for version in sorted(window["model_version"].unique())),
        "served": measure([metric], labels, from_column(labelled[SCORE], classes))[metric],
        "never_retrained": measure([metric], labels, first.score(labelled))[metric],
    }


def _versions(loop: Loop) -> list[dict[str, Any]]:
    name = loop.spec.name
    roles = {loop.registry.alias(name, role): role for role in ("predecessor", "champion")}
    gates = {row["version"]: row["verdict"] for row in loop.ledger.verdicts(name)}
    return [
        {
            "version": item.version,
            "role": roles.get(item.version, ""),
            "gate": gates.get(item.version, "none"),
            "metric": item.metrics[loop.spec.evaluation.primary],
            "digest": item.digest,
            "snapshot": item.snapshot.rpartition("/")[2],
        }
        for item in loop.registry.versions(name)
    ]


def _stages(loop: Loop) -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for stage in STAGES:
        for run in loop.airflow.runs(f"{loop.spec.name}.{stage}"):
            if run["start_date"] and run["end_date"]:
                took = datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])
                seconds[stage].append(took.total_seconds())
    return [
        {"dag": stage, "runs": len(took), "mean": sum(took) / len(took), "total": sum(took)}
        for stage, took in seconds.items()
    ]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
