"""How many pairs with a known true difference the gate and plain point thresholds refuse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gate_alone import CONFIDENCE, RATE, console, fails, known
from rich.table import Table
from scipy.special import expit

from kilter.core.uncertainty.delong import area, components
from kilter.core.uncertainty.estimate import loss

ROW_COUNTS = (500, 2000, 8000, 32_000)
DIFFERENCES = (0.0, 0.005, 0.01, 0.02, 0.03)
IN_A_DAY = 25
NOISE = 0.8
WANTED_POWER = 0.8


def draw(random: np.random.Generator, rows: int, noise: float) -> tuple[np.ndarray, ...]:
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
