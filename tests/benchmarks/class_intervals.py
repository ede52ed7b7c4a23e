"""How often intervals of metrics of four classes, one of them rare, hold the truth: `python tests/benchmarks/class_intervals.py`.

Prints, for each share of the rare class and number of days, the share of samples whose interval at 95 % holds what
the metric is on 1,000,000 rows; the share of false alarms between two models that a coin swaps day by day, which is
exactly without a difference (stated: 2.5 %); and the samples that had no interval. About two minutes.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import softmax

from kilter.core.metrics import measure
from kilter.core.uncertainty.estimate import estimate, loss
from kilter.spec import METRICS

SAMPLES = 400
A_DAY = 100
CONFIDENCE = 0.95
RARE = {"11 %": 0.2, "0.6 %": 0.01, "0.1 %": 0.002}
"""The odds, before features, that give the rare class this share of all rows."""

Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def days(random: np.random.Generator, count: int, rows: int, rare: float) -> Rows:
    """Labels, the scores of two models, and the day of each row; a day has a mood, which no model sees."""
    day, size = np.repeat(np.arange(count), rows), count * rows
    mood, known = random.normal(scale=0.5, size=count)[day], random.normal(size=size)
    odds = np.column_stack([np.zeros(size), known, -known, np.full(size, np.log(2.2 * rare))])
    true = softmax(odds + np.column_stack([np.zeros(size), mood, -mood, mood]), axis=1)
    labels = (random.random(size)[:, np.newaxis] > np.cumsum(true, axis=1)).sum(axis=1).clip(0, 3).astype(float)
    first, second = (softmax(odds + random.normal(scale=0.3, size=(size, 4)), axis=1) for _ in range(2))
    return labels, first, second, day


def tried(metric: str, rare: float, count: int) -> tuple[float, float, int]:
    """Share of intervals that hold the truth, share of false alarms, samples without an interval."""
    labels, scores, _, _ = days(np.random.default_rng(3), 20_000, 50, rare)
    truth = measure([metric], labels, scores)[metric]
    random = np.random.default_rng(5)
    holds, alarms = [], []
    for _ in range(SAMPLES):
        labels, first, second, day = days(random, count, A_DAY, rare)
        swapped = (random.random(count) < 0.5)[day][:, np.newaxis]
        candidate, champion = np.where(swapped, first, second), np.where(swapped, second, first)
        found = estimate(metric, labels, first, day, CONFIDENCE)
        lost = loss(metric, labels, candidate, champion, day, CONFIDENCE)
        if found is not None and lost is not None:
            holds.append(found.low <= truth <= found.high)
            alarms.append(lost.low > 0)
    return float(np.mean(holds)), float(np.mean(alarms)), SAMPLES - len(holds)


def main() -> None:
    table = Table("rare class", "days", "metric", "holds the truth", "false alarms", "no interval")
    for share, rare in RARE.items():
        for count in (30, 8):
            for metric in METRICS["multiclass"]:
                holds, alarms, none = tried(metric, rare, count)
                table.add_row(share, str(count), metric, f"{holds:.1%}", f"{alarms:.1%}", str(none))
    Console().print(table)


if __name__ == "__main__":
    main()
