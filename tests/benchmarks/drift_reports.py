"""What a drift report costs as its window grows, how often its sample judges a column as all rows would, and its detectors.

    .venv/bin/python tests/benchmarks/drift_reports.py
    .venv/bin/python tests/benchmarks/drift_reports.py --parts agreement --streams 20

Five parts, each by itself with `--parts`:

- `cost`: windows of 100,000 and of 10,000,000 rows, 10 numeric columns, labels and scores, from the committed window to all
  judgements and pages, in turns. Beside it what drawing the sample adds to `join_labels`, and Evidently on all rows.
- `agreement`: columns with a known drift, 1,000,000 rows a side. How often do `drift.sample` rows of each side give the
  verdict that all rows give, by Evidently's own functions?
- `detectors`: river's import and rows a second; false alarms, and the delay and place of a known change.
- `estimates`: how often the interval of an estimate without labels holds what labels then show.
- `known`: shifts of `factory_line` before and after its change of recipe: all judgements beside the truth.

Needs no service. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from drift_estimates import coverage, show_coverage
from drift_known import known, show_known
from gate_alone import console
from rich.table import Table

from kilter.core.drift import adwin, page_hinkley
from kilter.core.drift.freshness import Stretch
from kilter.drift_report import compare_features
from kilter.spec import Drift, ModelSpec
from kilter.stores import windows
from kilter.stores.objects import FileObjects
from kilter.stores.windows import commit_window, read_window
from kilter.window_evidence import Reference, judge_window

START, DAY = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
COLUMNS = [f"c{place}" for place in range(10)]
SMALL, LARGE = 100_000, 10_000_000
FULL = 1_000_000

SPEC = ModelSpec.model_validate(
    {
        **{"name": "wide", "description": "Ten columns.", "owner": "benchmarks", "task": "binary"},
        **{"entity": "id", "timestamp": "at", "label": {"column": "y", "timestamp": "known_at", "delay": "1h"}},
        "schedule": {"cron": "0 0 * * *", "start": START.isoformat()},
        "source": {"kind": "files", "tables": {"rows": {"timestamp": "at", "path": "x"}}},
        "features": {"ttl": "1d", "online": "1d", "columns": [{"name": name} for name in COLUMNS]},
        "training": {"trainer": "xgboost"},
        "evaluation": {"metrics": ["roc_auc"], "block": "1h"},
        "gate": {"thresholds": {"roc_auc": 0.5}},
    }
)

SHIFTS = (0.0, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Of the mean, in standard deviations: the Wasserstein distance, of which 0.1 is drift."""
SPREADS = (1.05, 1.3, 1.5, 2.0)
SHARES = (0.0, 0.02, 0.05, 0.2, 0.3, 0.4)
"""How much of a category's share goes to the others."""
NEAR = 0.05
"""Of the threshold: distances nearer to it than that are told apart."""


def rows_of(count: int, seed: int, shift: float = 0.0) -> pa.Table:
    """Rows of a day with honest scores, their labels, and every column shifted."""
    random = np.random.default_rng(seed)
    columns = {name: random.normal(loc=shift, size=count) for name in COLUMNS}
    scores = 1 / (1 + np.exp(-columns["c0"] - shift))
    times = np.datetime64(START.replace(tzinfo=None), "us") + (
        np.arange(count) * (DAY / count).total_seconds() * 1e6
    ).astype("m8[us]")
    return pa.table(
        {
            **columns,
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "score": scores,
            "model_version": np.ones(count, np.int64),
            "y": (random.random(count) < scores).astype(np.int8),
        }
    )


def cost(repeats: int) -> dict[str, Any]:
    """Seconds of each report, in turns, and of what is done once."""
    reference = rows_of(SMALL, seed=0).to_pandas()
    found: dict[str, Any] = {"rows": {str(count): [] for count in (SMALL, LARGE)}}
    with tempfile.TemporaryDirectory() as folder:
        objects = FileObjects(Path(folder))
        keys = {}
        for count in (SMALL, LARGE):
            table = rows_of(count, seed=1, shift=0.05)
            begun = time.perf_counter()
            keys[count] = commit_window(objects, SPEC, table, START, START + DAY, seed=0).key
            found[f"commit_{count}"] = time.perf_counter() - begun
        begun = time.perf_counter()
        windows._sample(table, 0)
        found["sample"] = time.perf_counter() - begun
        del table
        _report(objects, keys[SMALL], reference)  # what is imported on first use is imported now
        for _ in range(repeats):
            for count, key in keys.items():
                found["rows"][str(count)].append(_report(objects, key, reference))
    begun = time.perf_counter()
    compare_features(rows_of(SMALL, seed=1).to_pandas(), reference, SPEC)
    found["evidently_on_all"] = time.perf_counter() - begun
    medians = {count: float(np.median(seconds)) for count, seconds in found["rows"].items()}
    return found | {"medians": medians, "ratio": medians[str(LARGE)] / medians[str(SMALL)]}


def _report(objects: FileObjects, key: str, reference: pd.DataFrame) -> float:
    begun = time.perf_counter()
    window = read_window(objects, SPEC, key)
    earlier = [Stretch(start=START - DAY, end=START, rows=window.rows)]
    found = judge_window(window, Reference(reference, reference, baseline=0.74), earlier, SPEC, seed=0)
    seconds = time.perf_counter() - begun
    if len(found.pages) != 6:
        raise SystemExit(
            f"a report with the pages {sorted(found.pages)}: drift, predictions and performance are expected"
        )
    return seconds


def show_cost(found: dict[str, Any]) -> None:
    table = Table(title="A drift report, from the committed window to judgements and pages", title_justify="left")
    table.add_column("rows")
    table.add_column("seconds, median", justify="right")
    table.add_column("each", justify="right")
    for count, seconds in found["medians"].items():
        table.add_row(f"{int(count):,}", f"{seconds:.2f}", ", ".join(f"{item:.2f}" for item in found["rows"][count]))
    console.print(table)
    console.print(f"10,000,000 rows take {found['ratio']:.2f} times the time of 100,000 (2 or less is wanted).")
    console.print(
        f"Done once, in join_labels: writing the large window {found[f'commit_{LARGE}']:.1f} s, of which drawing its sample "
        f"{found['sample']:.2f} s. Evidently's data drift alone on all of 100,000 rows: {found['evidently_on_all']:.2f} s."
    )


def agreement(streams: int) -> list[dict[str, Any]]:
    """For each known drift, how often the sample's verdict is that of all rows."""
    cases = [("mean", size) for size in SHIFTS] + [("spread", size) for size in SPREADS]
    cases += [("category", size) for size in SHARES]
    return [_agree(kind, size, streams) for kind, size in cases]


def _agree(kind: str, size: float, streams: int) -> dict[str, Any]:
    rows, equal, values = Drift().sample, 0, []
    for stream in range(streams):
        random = np.random.default_rng([stream, int(size * 100), len(kind)])
        reference, current = _columns(kind, size, random)
        full = _distance(kind, current, reference)
        parts = [column.sample(rows, random_state=stream) for column in (current, reference)]
        sampled = _distance(kind, *parts)
        equal += (full >= Drift().threshold) == (sampled >= Drift().threshold)
        values.append(full)
    return {"drift": kind, "size": size, "distance": float(np.mean(values)), "equal": equal, "streams": streams}


def _columns(kind: str, size: float, random: np.random.Generator) -> tuple[pd.Series, pd.Series]:
    if kind == "category":
        shares = np.array([0.4, 0.3, 0.2, 0.1])
        moved = shares + size * np.array([-0.4, 0.1, 0.1, 0.2])
        drawn = (random.choice(list("abcd"), FULL, p=part) for part in (shares, moved))
        reference, current = (pd.Series(part) for part in drawn)
        return reference, current
    # Half of the streams have a long tail, as prices and durations do.
    draw = random.normal if random.random() < 0.5 else lambda size: random.lognormal(sigma=0.7, size=size)
    reference, current = (pd.Series(draw(size=FULL)) for _ in range(2))
    spread = reference.std()
    if kind == "mean":
        return reference, current + size * spread
    return reference, (current - current.mean()) * size + current.mean()


def _distance(kind: str, current: pd.Series, reference: pd.Series) -> float:
    """By the very functions that Evidently's report calls, which takes far longer to lay out its page than to call them."""
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    drift = Drift()
    method, column = (
        (drift.categorical_method, ColumnType.Categorical)
        if kind == "category"
        else (drift.numeric_method, ColumnType.Numerical)
    )
    test = get_stattest(reference, current, column, method)
    return float(test(reference, current, column, drift.threshold).drift_score)


def show_agreement(found: list[dict[str, Any]]) -> None:
    title = f"Verdicts by {Drift().sample:,} rows a side beside those by {FULL:,}; a distance of {Drift().threshold} is drift"
    table = Table(title=title, title_justify="left")
    for name in ("drift", "size", "distance", "equal verdicts"):
        table.add_column(name, justify="right")
    for row in found:
        table.add_row(row["drift"], f"{row['size']:g}", f"{row['distance']:.3f}", f"{row['equal']} of {row['streams']}")
    console.print(table)
    near = [row for row in found if abs(row["distance"] / Drift().threshold - 1) < NEAR]
    for what, rows in (
        (f"farther than {NEAR:.0%} from the threshold", [row for row in found if row not in near]),
        ("nearer, where no sample can agree with another", near),
    ):
        equal, streams = (sum(row[key] for row in rows) for key in ("equal", "streams"))
        console.print(f"Distances {what}: {equal} of {streams} verdicts are equal, {equal / max(streams, 1):.1%}.")
    console.print("99 % or more is wanted.")


def detectors(streams: int) -> dict[str, Any]:
    """River's price, false alarms on 20,000 rows, and what becomes of a change of known size after 10,000."""
    found: dict[str, Any] = {"import_seconds": _import_seconds(), "ways": {}}
    for name, changes in (("ADWIN", adwin.changes), ("Page-Hinkley", page_hinkley.changes)):
        changes(_errors(0, 100))  # river is imported on first use
        stream = _errors(0, FULL // 10)
        begun = time.perf_counter()
        changes(stream)
        speed = FULL / 10 / (time.perf_counter() - begun)
        alarms = sum(bool(changes(_errors(seed, 20_000))) for seed in range(streams))
        way: dict[str, Any] = {"rows_a_second": speed, "false_alarms": alarms, "streams": streams, "changes": []}
        for size in (0.1, 0.25, 0.5, 1.0):
            seen = [changes(_errors(1000 + seed, 20_000, size)) for seed in range(streams)]
            first = [next((item for item in found_in if item.seen >= 10_000), None) for found_in in seen]
            known = [item for item in first if item is not None]
            way["changes"].append(
                {
                    "size": size,
                    "seen": len(known),
                    "delay": float(np.median([item.seen - 10_000 for item in known])) if known else None,
                    "misplaced": float(np.median([abs(item.begins - 10_000) for item in known])) if known else None,
                }
            )
        found["ways"][name] = way
    return found


def _errors(seed: int, rows: int, rise: float = 0.0) -> np.ndarray:
    """Squared errors of honest scores, which rise by so many standard deviations half-way."""
    random = np.random.default_rng(seed)
    scores = random.beta(2, 3, rows)
    errors: np.ndarray = ((random.random(rows) < scores) - scores) ** 2
    errors[rows // 2 :] = np.clip(errors[rows // 2 :] + rise * errors.std(), 0, 1)
    return errors


def _import_seconds() -> float:
    """What river adds to a process that has Evidently already, as a report's has."""
    program = (
        "import time, evidently; from evidently import Report; from evidently.presets import DataDriftPreset\n"
        "begun = time.perf_counter(); import river.drift; print(time.perf_counter() - begun)"
    )
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    return float(answer.stdout)


def show_detectors(found: dict[str, Any]) -> None:
    console.print(f"river's import after Evidently's: {found['import_seconds']:.2f} s.")
    table = Table(title="Detectors; a change is in standard deviations, rows are medians", title_justify="left")
    for name in ("detector", "rows/s", "false alarms", "change", "seen", "rows until seen", "rows misplaced"):
        table.add_column(name, justify="right")
    for name, way in found["ways"].items():
        for row in way["changes"]:
            table.add_row(
                name,
                f"{way['rows_a_second']:,.0f}",
                f"{way['false_alarms']} of {way['streams']}",
                f"{row['size']:g}",
                f"{row['seen']} of {way['streams']}",
                "" if row["delay"] is None else f"{row['delay']:.0f}",
                "" if row["misplaced"] is None else f"{row['misplaced']:.0f}",
            )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("cost", "agreement", "detectors", "estimates", "known")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="default: all")
    parser.add_argument("--repeats", type=int, default=5, help="cost: reports of each window (default %(default)s)")
    parser.add_argument(
        "--streams",
        type=int,
        default=50,
        help="agreement, detectors: streams; estimates: a third of the windows (default %(default)s)",
    )
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for part in options.parts:
        begun = time.perf_counter()
        if part == "cost":
            show_cost(figures.setdefault(part, cost(options.repeats)))
        elif part == "agreement":
            show_agreement(figures.setdefault(part, agreement(options.streams)))
        elif part == "estimates":
            show_coverage(figures.setdefault(part, coverage(3 * options.streams)))
        elif part == "known":
            show_known(figures.setdefault(part, known()))
        else:
            show_detectors(figures.setdefault(part, detectors(options.streams)))
        console.print(f"{part}: {time.perf_counter() - begun:.0f} s\n", style="dim")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
