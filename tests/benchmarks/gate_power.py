"""How often the gate is wrong, what it catches, and what it costs, beside what is usual.

    .venv/bin/python tests/benchmarks/gate_power.py
    .venv/bin/python tests/benchmarks/gate_power.py --parts alarms --pairs 100

Four parts, each by itself with `--parts`:

- `alarms`: pairs of models trained on resampled data without any true difference. How many does `against_champion`
  fail, and how many the family of slices, where each may fail `(1 - confidence) / 2` of them?
- `power`: pairs with a known true difference, on few rows and on many. How many are caught, beside two plain
  point-threshold gates on the same pairs, each with the one constant that gives it the same false alarms over all row
  counts together, as a team writes one number into a configuration. And beside a point threshold tuned for each row
  count by itself, which nobody can do who does not know the spread of his metric.
- `flights`: models of real flights, of the same data and another seed, compared on the month that follows. How many
  pairs fail when rows count as independent, and how many when the rows of a day count as one?
- `cost`: seconds and memory on 1,000,000 rows, beside a loop of the bootstrap and scipy.stats.bootstrap.

Needs no service. `--plot FILE` writes the power curves as a PNG. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.special import expit

from kilter.core.gate import against_champion, slices
from kilter.core.gate.slices import SliceLoss
from kilter.core.metrics import loss_of, measure
from kilter.core.uncertainty.bootstrap import REPLICATES
from kilter.core.uncertainty.delong import area, components
from kilter.core.uncertainty.estimate import Estimate, estimate, loss
from kilter.core.verdict import Verdict
from kilter.encoding import Signature, encode
from kilter.model_code import load_function
from kilter.spec import METRICS, AgainstChampion, Gate, Slices, load_spec

CONFIDENCE = 0.95
RATE = (1 - CONFIDENCE) / 2
"""The rate of false alarms that the gate states."""

STRICT = Gate(
    confidence=CONFIDENCE,
    thresholds={"roc_auc": 0.5},
    against_champion=AgainstChampion(require="better", minimum_rows=1),
    slices=Slices(allowed_regression=0.0, minimum_rows=30),
)
"""No margin, so that "no true difference" lies on the bound and alarms are most likely."""

SHIPPED = Gate(confidence=CONFIDENCE, thresholds={"roc_auc": 0.5}, slices=Slices(minimum_rows=30))
"""The margins that a model has that states none."""

console = Console(highlight=False, soft_wrap=True)
Columns = tuple[np.ndarray, ...]


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share: Wilson (1927), Probable inference, the law of succession."""
    share, z = hits / of, 1.96
    middle, reach = share + z**2 / (2 * of), z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    low, high = (middle - reach) / (1 + z**2 / of), (middle + reach) / (1 + z**2 / of)
    return max(float(low), 0.0), min(float(high), 1.0)


def fails(metric: str, found: Estimate | None, rows: int, gate: Gate = STRICT) -> bool:
    """What the gate itself says."""
    judged = against_champion.judge(metric, found, rows, 1, gate.against_champion)
    return judged.verdict is Verdict.FAILED


def known(found: Estimate | None) -> Estimate:
    assert found is not None
    return found


# --- alarms ---------------------------------------------------------------------------------------------------------

FEATURES, SEGMENTS, POOL = 8, 12, 4000
DAYS, A_DAY = 40, 100
OTHERWISE = (
    "roc_auc, rows as independent",
    "slices without Holm",
    "roc_auc, margin as shipped",
    "slices, margin as shipped",
)


def world(random: np.random.Generator, days: int, a_day: int) -> Columns:
    """Rows of some days: features, labels, days and segments. A day has a level of risk and a turn of its own."""
    day = np.repeat(np.arange(days), a_day)
    rows = random.normal(size=(len(day), FEATURES)) + 0.5 * random.normal(size=(days, FEATURES))[day]
    weights = np.linspace(1, 0, FEATURES) + 0.5 * random.normal(size=(days, FEATURES))[day]
    risk = (rows * weights).sum(axis=1) + 0.5 * rows[:, 0] * rows[:, 1] + random.normal(size=days)[day] - 1
    labels = (random.random(len(day)) < expit(risk)).astype(float)
    return rows, labels, day, random.integers(SEGMENTS, size=len(day))


def trained(rows: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> Any:
    """A small model of rows drawn with replacement."""
    import xgboost

    drawn = random.integers(len(rows), size=len(rows))
    settings = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "nthread": 1, "seed": 0}
    return xgboost.train(settings, xgboost.DMatrix(rows[drawn], labels[drawn]), num_boost_round=15)


def scores(model: Any, rows: np.ndarray) -> np.ndarray:
    return np.asarray(model.inplace_predict(rows), dtype=np.float64)


def alarms(pairs: int) -> dict[str, Any]:
    """Judge pairs of which, day by day, a coin says which model is the candidate: exactly no difference."""
    random = np.random.default_rng(2013)
    pool, pool_labels, _, _ = world(random, POOL // A_DAY, A_DAY)
    metrics = METRICS["binary"]
    hits = dict.fromkeys((*metrics, "slices", *OTHERWISE), 0)
    for _ in range(pairs):
        rows, labels, day, segment = world(random, DAYS, A_DAY)
        first, second = (scores(trained(pool, pool_labels, random), rows) for _ in range(2))
        swapped = (random.random(DAYS) < 0.5)[day]
        candidate, champion = np.where(swapped, first, second), np.where(swapped, second, first)
        columns = (labels, candidate, champion)
        for metric in metrics:
            hits[metric] += fails(metric, loss(metric, *columns, day, CONFIDENCE), len(rows))
        whole = loss("roc_auc", *columns, day, CONFIDENCE)
        alone = loss("roc_auc", *columns, np.arange(len(rows)), CONFIDENCE)
        family = [segment == number for number in range(SEGMENTS)]
        losses = [
            SliceLoss(
                name=str(number),
                rows=int(part.sum()),
                loss=loss("roc_auc", *(column[part] for column in columns), day[part], CONFIDENCE),
            )
            for number, part in enumerate(family)
        ]
        hits["slices"] += slices.judge("roc_auc", "it", losses, STRICT.slices, CONFIDENCE).verdict is Verdict.FAILED
        otherwise = (
            fails("roc_auc", alone, len(rows)),
            any(item.loss is not None and item.loss.low > 0 for item in losses),
            fails("roc_auc", whole, len(rows), SHIPPED),
            slices.judge("roc_auc", "it", losses, SHIPPED.slices, CONFIDENCE).verdict is Verdict.FAILED,
        )
        for name, hit in zip(OTHERWISE, otherwise, strict=True):
            hits[name] += hit
    return {"pairs": pairs, "rows": DAYS * A_DAY, "blocks": DAYS, "alarms": hits}


def show_alarms(found: dict[str, Any]) -> None:
    title = (
        f"False alarms of {found['pairs']:,} pairs without a true difference ({found['rows']:,} rows in {DAYS} days, "
        f"{SEGMENTS} slices); stated: {RATE:.1%} at most"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("check", no_wrap=True)
    for column in ("failed", "rate", "95 % interval"):
        table.add_column(column, justify="right")
    for name, hits in found["alarms"].items():
        low, high = wilson(hits, found["pairs"])
        table.add_row(name, str(hits), f"{hits / found['pairs']:.1%}", f"{low:.1%} … {high:.1%}")
    console.print(table)


# --- power ----------------------------------------------------------------------------------------------------------

ROW_COUNTS = (500, 2000, 8000, 32_000)
DIFFERENCES = (0.0, 0.005, 0.01, 0.02, 0.03)
IN_A_DAY = 25
NOISE = 0.8
WANTED_POWER = 0.8


def draw(random: np.random.Generator, rows: int, noise: float) -> Columns:
    """Labels, scores of candidate and champion, and days; more noise makes the candidate worse."""
    day = np.arange(rows) // IN_A_DAY
    level = 0.5 * random.normal(size=day[-1] + 1)[day]
    risk = random.normal(size=rows) + level
    labels = (random.random(rows) < expit(1.5 * risk - 1)).astype(float)
    shared = random.normal(size=rows)
    champion, candidate = (risk + amount * (0.8 * shared + 0.6 * random.normal(size=rows)) for amount in (NOISE, noise))
    return labels, candidate, champion, day


@cache
def noise_for(difference: float) -> float:
    """The candidate's noise that loses so much ROC AUC in truth, by halving on 500,000 rows."""
    low, high = NOISE, 2 * NOISE
    for _ in range(10 if difference else 0):
        middle = (low + high) / 2
        labels, candidate, champion, _ = draw(np.random.default_rng(7), 500_000, middle)
        low, high = (middle, high) if auc(labels, champion) - auc(labels, candidate) < difference else (low, middle)
    return low


def auc(labels: np.ndarray, column: np.ndarray) -> float:
    return area(labels, components(labels, column))


@dataclass(frozen=True)
class Seen:
    """Of many pairs: whether the gate fails them, and the two numbers that point thresholds look at."""

    ours: np.ndarray
    paired: np.ndarray
    """Champion less candidate on the same rows: the change that TFX's Evaluator holds against a constant."""
    stored: np.ndarray
    """The champion's number from rows of its own time less the candidate's: a condition on a registry's metrics."""


def see(random: np.random.Generator, rows: int, difference: float, repeats: int) -> Seen:
    found = []
    for _ in range(repeats):
        labels, candidate, champion, day = draw(random, rows, noise_for(difference))
        lost = known(loss("roc_auc", labels, candidate, champion, day, CONFIDENCE))
        earlier_labels, _, earlier, _ = draw(random, rows, NOISE)
        stored = auc(earlier_labels, earlier) - auc(labels, candidate)
        found.append((fails("roc_auc", lost, rows), lost.value, stored))
    ours, paired, stored = np.array(found, dtype=float).T
    return Seen(ours, paired, stored)


def power(repeats: int) -> dict[str, Any]:
    """Detection rates by gate, rows and true difference.

    The constants come from pairs without a difference that are then not counted again.
    """
    random = np.random.default_rng(2014)
    tuning = {rows: see(random, rows, 0.0, repeats) for rows in ROW_COUNTS}
    constants = {
        name: float(np.quantile(np.concatenate([getattr(seen, name) for seen in tuning.values()]), 1 - RATE))
        for name in ("paired", "stored")
    }
    own = {rows: float(np.quantile(seen.paired, 1 - RATE)) for rows, seen in tuning.items()}
    rates: dict[str, dict[int, list[float]]] = {gate: {rows: [] for rows in ROW_COUNTS} for gate in GATES}
    for rows in ROW_COUNTS:
        for difference in DIFFERENCES:
            seen = see(random, rows, difference, repeats)
            caught = (
                seen.ours,
                seen.paired > constants["paired"],
                seen.stored > constants["stored"],
                seen.paired > max(own.values()),
                seen.paired > own[rows],
            )
            for gate, hits in zip(GATES, caught, strict=True):
                rates[gate][rows].append(float(np.mean(hits)))
    return {
        "repeats": repeats,
        "differences": DIFFERENCES,
        "constants": {**constants, "of each row count": own},
        "rates": rates,
        "all_row_counts": {gate: np.mean(list(by_rows.values()), axis=0).tolist() for gate, by_rows in rates.items()},
        "rows_for_80_percent": {gate: rows_needed(by_rows) for gate, by_rows in rates.items()},
    }


# The first two constants keep the rate over all row counts together, the safe one on each of them, and own constants
# are tuned for each by itself.
GATES = (
    "Kilter",
    "change, one constant",
    "stored, one constant",
    "change, one safe constant",
    "change, own constants",
)


def rows_needed(by_rows: dict[int, list[float]]) -> dict[float, int | None]:
    """Rows at which 80 % of each true difference are caught, on a line in the logarithm of the rows; None beyond."""
    found: dict[float, int | None] = {}
    for place, difference in enumerate(DIFFERENCES[1:], start=1):
        rates = [by_rows[rows][place] for rows in ROW_COUNTS]
        reached = next((i for i, rate in enumerate(rates) if rate >= WANTED_POWER), None)
        if reached is None or reached == 0:
            found[difference] = None if reached is None else ROW_COUNTS[0]
            continue
        share = (WANTED_POWER - rates[reached - 1]) / (rates[reached] - rates[reached - 1])
        steps = np.log(ROW_COUNTS[reached - 1 : reached + 1])
        found[difference] = round(float(np.exp(steps[0] + share * (steps[1] - steps[0]))))
    return found


def show_power(found: dict[str, Any]) -> None:
    everything = {**{f"{rows:,}": rows for rows in ROW_COUNTS}, "all": None}
    for title, rows in everything.items():
        table = Table(title=f"Refused on {title} rows, by true loss of ROC AUC", title_justify="left")
        table.add_column("gate", no_wrap=True)
        for difference in DIFFERENCES:
            table.add_column(f"{difference:g}" if difference else "none", justify="right", no_wrap=True)
        for gate in GATES:
            rates = found["rates"][gate][rows] if rows else found["all_row_counts"][gate]
            table.add_row(gate, *(f"{rate:.1%}" for rate in rates))
        console.print(table)
    constants = found["constants"]
    console.print(
        f"Constants: change {constants['paired']:.4f}, stored {constants['stored']:.4f}; of each row count: "
        + ", ".join(f"{rows:,} {constant:.4f}" for rows, constant in constants["of each row count"].items())
    )
    table = Table(title="Rows needed to refuse 80 %, by true loss of ROC AUC", title_justify="left")
    table.add_column("gate", no_wrap=True)
    for difference in DIFFERENCES[1:]:
        table.add_column(f"{difference:g}", justify="right", no_wrap=True)
    for gate in GATES:
        needed = found["rows_for_80_percent"][gate].values()
        table.add_row(gate, *(f"> {ROW_COUNTS[-1]:,}" if rows is None else f"{rows:,}" for rows in needed))
    console.print(table)


def plot(found: dict[str, Any], file: Path) -> None:
    """Detection rate against true difference, a panel for each row count."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    styles = zip(
        GATES, ("#2563eb", "#d97706", "#9ca3af", "#d97706", "#d97706"), ("-", "-", "-", "--", ":"), strict=True
    )
    panels = figure.subplots(1, len(ROW_COUNTS), sharey=True)
    for gate, colour, line in styles:
        for axes, rows in zip(panels, ROW_COUNTS, strict=True):
            axes.plot(DIFFERENCES, found["rates"][gate][rows], line, color=colour, label=gate, marker="o", markersize=3)
    for axes, rows in zip(panels, ROW_COUNTS, strict=True):
        axes.set_title(f"{rows:,} rows")
        axes.set_xlabel("true loss of ROC AUC")
        axes.axhline(RATE, color="black", linewidth=0.5)
    panels[0].set_ylabel("share refused")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


# --- flights --------------------------------------------------------------------------------------------------------

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


# --- cost -----------------------------------------------------------------------------------------------------------

MILLION = 1_000_000
LOOPS = 3


def million() -> Columns:
    random = np.random.default_rng(0)
    risk = random.normal(size=MILLION)
    labels = (random.random(MILLION) < expit(risk - 1)).astype(float)
    candidate, champion = (expit(risk + 0.4 * random.normal(size=MILLION) - 1) for _ in range(2))
    return labels, candidate, champion


def ours(metric: str, blocks: int) -> float:
    """Seconds of a paired loss of a million rows in so many blocks."""
    columns = million()
    numbers = np.arange(MILLION) * blocks // MILLION
    begun = time.perf_counter()
    known(loss(metric, *columns, numbers, CONFIDENCE))
    return time.perf_counter() - begun


def loop(metric: str) -> float:
    """Seconds that `REPLICATES` passes of a naive bootstrap would take, by a few of them."""
    columns, random = million(), np.random.default_rng(1)
    begun = time.perf_counter()
    for _ in range(LOOPS):
        rows = random.integers(MILLION, size=MILLION)
        lost(metric, *(column[rows] for column in columns))
    return (time.perf_counter() - begun) / LOOPS * REPLICATES


def scipys(metric: str) -> float:
    """Seconds that scipy.stats.bootstrap would take for `REPLICATES` resamples, by a few of them."""
    import scipy.stats

    columns, passes = million(), 0

    def counted(*drawn: np.ndarray) -> float:
        nonlocal passes
        passes += 1
        return lost(metric, *drawn)

    begun = time.perf_counter()
    scipy.stats.bootstrap(
        columns, counted, n_resamples=LOOPS, batch=1, paired=True, vectorized=False, method="percentile", rng=1
    )
    return (time.perf_counter() - begun) / passes * REPLICATES


def lost(metric: str, labels: np.ndarray, candidate: np.ndarray, champion: np.ndarray) -> float:
    values = [measure([metric], labels, column)[metric] for column in (candidate, champion)]
    return loss_of(metric, *values)


def apart(task: Callable[..., float], *arguments: Any) -> tuple[float, float]:
    """Run in a process of its own: seconds that it tells, and the peak of its memory in MiB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(sender, task, arguments))
    process.start()
    seconds, memory = receiver.recv()
    process.join()
    return seconds, memory


def _tell(sender: Any, task: Callable[..., float], arguments: tuple[Any, ...]) -> None:
    # What is imported on first use is imported now, outside the time.
    small = tuple(column[:1000] for column in million())
    for metric in METRICS["binary"]:
        lost(metric, *small)
        loss(metric, *small, np.arange(1000), CONFIDENCE)
    seconds = task(*arguments)
    sender.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def cost() -> dict[str, Any]:
    """Seconds and MiB by metric and way; the process with its libraries and the rows alone has a line of its own."""
    found: dict[str, Any] = {"rows_alone": apart(_nothing)}
    for metric in METRICS["binary"]:
        found[metric] = {
            "rows": apart(ours, metric, MILLION),
            "365 days": apart(ours, metric, 365),
            "naive loop": apart(loop, metric),
            "scipy.stats": apart(scipys, metric),
        }
    return found


def _nothing() -> float:
    million()
    return 0.0


def show_cost(found: dict[str, Any]) -> None:
    title = (
        f"Paired loss on {MILLION:,} rows: seconds (peak MiB; libraries and rows alone need "
        f"{found['rows_alone'][1]:.0f}). 'rows': each row a block; the last two: {LOOPS} of {REPLICATES:,} replicates "
        "measured and scaled up"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("metric", no_wrap=True)
    metrics = METRICS["binary"]
    for way in found[metrics[0]]:
        table.add_column(way, justify="right")
    for metric in metrics:
        table.add_row(metric, *(f"{seconds:,.1f} ({memory:,.0f})" for seconds, memory in found[metric].values()))
    console.print(table)
    total = sum(found[metric]["rows"][0] for metric in metrics)
    console.print(f"All metrics, each row a block: {total:.1f} s.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("alarms", "power", "flights", "cost")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="default: all")
    parser.add_argument("--pairs", type=int, default=1000, help="alarms: pairs (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=500, help="power: pairs a cell (default %(default)s)")
    parser.add_argument("--models", type=int, default=8, help="flights: seeds a month (default %(default)s)")
    parser.add_argument("--plot", type=Path, help="power: where to write the curves as PNG")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for part in options.parts:
        begun = time.perf_counter()
        if part == "alarms":
            show_alarms(figures.setdefault(part, alarms(options.pairs)))
        elif part == "power":
            show_power(figures.setdefault(part, power(options.repeats)))
            if options.plot:
                plot(figures[part], options.plot)
        elif part == "flights":
            show_seed_pairs(figures.setdefault(part, seed_pairs(options.models)))
        else:
            show_cost(figures.setdefault(part, cost()))
        console.print(f"{part}: {time.perf_counter() - begun:.0f} s\n", style="dim")
    print(json.dumps(figures))


if __name__ == "__main__":
    sys.exit(main())
