"""How many pairs of models of real flights are refused that differ by seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gate_alone import CONFIDENCE, RATE, console, known
from rich.table import Table

from kilter.core.uncertainty.estimate import estimate, loss
from kilter.encoding import Signature, encode
from kilter.model_code import load_function
from kilter.spec import load_spec

FLIGHTS = Path(__file__).parents[2] / "include/models/flight_delay"
TRAINED_UNTIL = tuple(datetime(2013, month, 1, tzinfo=UTC) for month in (3, 5, 7, 9, 11))
HISTORY = timedelta(days=60)
FOLLOWING = timedelta(days=30)


def flights() -> pd.DataFrame:
    """All flights of the year with features and label, by the model's own code."""
    import ibis

    spec = load_spec(FLIGHTS)
    extract = load_function(FLIGHTS, "source.py", "extract")
    raw = extract(datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC))
    tables = {name: ibis.memtable(frame) for name, frame in raw.items()}
    features = load_function(FLIGHTS, "features.py", "build")(tables, spec.label.delay).to_pandas()
    labels = load_function(FLIGHTS, "features.py", "labels")(tables).to_pandas()
    rows = features.merge(labels[["flight_id", spec.label.column]], on="flight_id")
    return rows.sort_values([spec.timestamp, "flight_id"], ignore_index=True)


def seeds(rows: pd.DataFrame, models: int) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """For each time: labels and days of the month that follows, and the scores of models that differ by seed."""
    import xgboost

    spec = load_spec(FLIGHTS)
    signature = Signature.of(spec)
    for until in TRAINED_UNTIL:
        times = rows[spec.timestamp]
        past, next_month = (
            rows[times.between(*edges, inclusive="left")]
            for edges in ((until - HISTORY, until), (until, until + FOLLOWING))
        )
        data = xgboost.DMatrix(
            encode(past, signature),
            past[spec.label.column],
            feature_types=signature.feature_types,
            enable_categorical=True,
        )
        matrix = xgboost.DMatrix(
            encode(next_month, signature), feature_types=signature.feature_types, enable_categorical=True
        )
        settings = {"objective": "binary:logistic", "tree_method": "hist", **spec.training.parameters}
        found = [
            xgboost.train({**settings, "seed": seed}, data, num_boost_round=80).predict(matrix).astype(np.float64)
            for seed in range(models)
        ]
        days = (next_month[spec.timestamp].dt.tz_localize(None).to_numpy("datetime64[D]")).astype(np.int64)
        yield next_month[spec.label.column].to_numpy(np.float64), days, found


def seed_pairs(models: int) -> dict[str, Any]:
    """Compare all pairs of seeds on the month that follows, as they are and with the two swapped day by day."""
    random = np.random.default_rng(2015)
    metrics = ("roc_auc", "log_loss")
    found: dict[str, Any] = {metric: {way: [] for way in WAYS} for metric in metrics}
    ratios: dict[str, list[float]] = {metric: [] for metric in metrics}
    alone: list[float] = []
    for labels, days, columns in seeds(flights(), models):
        rows = np.arange(len(labels))
        errors = [known(estimate("roc_auc", labels, columns[0], blocks, CONFIDENCE)).error for blocks in (days, rows)]
        alone.append(errors[0] / errors[1])
        _, numbers = np.unique(days, return_inverse=True)
        for one, other in combinations(columns, 2):
            swapped = (random.random(numbers.max() + 1) < 0.5)[numbers]
            mixed = np.where(swapped, other, one), np.where(swapped, one, other)
            for metric in metrics:
                by_days = known(loss(metric, labels, one, other, days, CONFIDENCE))
                by_rows = known(loss(metric, labels, one, other, rows, CONFIDENCE))
                ratios[metric].append(by_days.error / by_rows.error)
                mixed_days = known(loss(metric, labels, *mixed, days, CONFIDENCE))
                mixed_rows = known(loss(metric, labels, *mixed, rows, CONFIDENCE))
                for way, item in zip(WAYS, (by_rows, by_days, mixed_rows, mixed_days), strict=True):
                    # Which of two seeds is the candidate is a coin as well: half of all that is told apart is an alarm.
                    found[metric][way].append(((item.low > 0) + (item.high < 0)) / 2)
    return {
        "models": models * len(TRAINED_UNTIL),
        "pairs": len(found["roc_auc"][WAYS[0]]),
        "alarms": {metric: {way: float(np.mean(hits)) for way, hits in ways.items()} for metric, ways in found.items()},
        "error_by_days_over_by_rows": {metric: float(np.median(values)) for metric, values in ratios.items()},
        "error_by_days_over_by_rows_of_one_model": float(np.median(alone)),
    }


WAYS = (
    "other seed, rows as independent",
    "other seed, days",
    "swapped by days, rows as independent",
    "swapped by days, days",
)


def show_seed_pairs(found: dict[str, Any]) -> None:
    title = (
        f"Flights: false alarms of {found['pairs']} pairs of models that differ by seed, on the month that follows; "
        f"stated: {RATE:.1%}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("pairs and blocks")
    for metric in found["alarms"]:
        table.add_column(metric, justify="right")
    for way in WAYS:
        table.add_row(way, *(f"{rates[way]:.1%}" for rates in found["alarms"].values()))
    console.print(table)
    ratios = ", ".join(f"{name} {ratio:.1f}" for name, ratio in found["error_by_days_over_by_rows"].items())
    console.print(
        f"Standard error of the difference by days over that of independent rows, median: {ratios}; of one model's "
        f"ROC AUC {found['error_by_days_over_by_rows_of_one_model']:.1f}."
    )
