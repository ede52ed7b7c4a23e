"""How often the interval of an estimate without labels holds what labels then show, of models that are exactly calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
from gate_alone import console
from rich.table import Table

from kilter.core.drift.estimate import Shown, estimate_performance
from kilter.core.metrics import measure

ROWS, DAYS, CONFIDENCE = 1500, 20, 0.95
CASES = (
    *(("roc_auc", 2, 0.0, 0.0), ("roc_auc", 2, 0.7, 0.0), ("accuracy", 2, 0.7, 0.0), ("brier", 2, 0.0, 0.0)),
    *(("log_loss", 2, -0.7, 0.0), ("accuracy", 3, 0.0, 0.0), ("macro_f1", 3, 0.5, 0.0), ("log_loss", 3, 0.5, 0.0)),
    *(("brier", 2, 0.0, 0.5), ("roc_auc", 2, 0.0, 0.5)),
)
"""Metric, classes, how far the window's log odds have shifted, and the spread of a day's mood in log odds."""


def coverage(windows: int) -> list[dict[str, Any]]:
    """One entry for each case."""
    return [_cover(*case, windows) for case in CASES]


def _cover(metric: str, classes: int, shift: float, mood: float, windows: int) -> dict[str, Any]:
    held, widths = 0, []
    for trial in range(windows):
        labels, scores, blocks = _rows(10_000 + trial, classes, shift, mood)
        found = estimate_performance(
            metric, scores, blocks, Shown(*_rows(trial, classes, 0.0, mood)), CONFIDENCE, trial
        )
        if found is None:
            raise SystemExit(f"no estimate of {metric}: {ROWS} rows in {DAYS} days are too few")
        held += found.low <= measure([metric], labels, scores)[metric] <= found.high
        widths.append(found.high - found.low)
    case = {"metric": metric, "classes": classes, "shift": shift, "mood": mood}
    return case | {"held": held, "windows": windows, "width": float(np.mean(widths))}


def _rows(seed: int, classes: int, shift: float, mood: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, honest scores, and blocks: each row by itself, or days with moods that the scores do not see."""
    random = np.random.default_rng(seed)
    days = np.arange(ROWS) * DAYS // ROWS
    odds = random.normal(scale=1.5, size=ROWS) + shift
    moods = random.normal(scale=mood, size=DAYS)[days]
    blocks = days if mood else np.arange(ROWS)
    if classes == 2:
        return (random.random(ROWS) < 1 / (1 + np.exp(-odds - moods))).astype(float), 1 / (1 + np.exp(-odds)), blocks
    scores = np.exp(np.column_stack([odds, np.zeros(ROWS), -odds / 2]))
    scores /= scores.sum(axis=1, keepdims=True)
    labels = (random.random(ROWS)[:, None] > scores.cumsum(axis=1)[:, :-1]).sum(axis=1).astype(float)
    return labels, scores, blocks


def show_coverage(found: list[dict[str, Any]]) -> None:
    table = Table(title=f"Intervals of {CONFIDENCE:.0%} on {ROWS:,} rows, and as many tested", title_justify="left")
    for name in ("metric", "classes", "shift", "mood", "held", "width"):
        table.add_column(name, justify="right")
    for row in found:
        cells = [f"{row[name]:g}" for name in ("classes", "shift", "mood")]
        table.add_row(row["metric"], *cells, f"{row['held']} of {row['windows']}", f"{row['width']:.4f}")
    console.print(table)
