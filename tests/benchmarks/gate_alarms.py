"""How many pairs of models without a true difference the gate refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
from gate_alone import CONFIDENCE, RATE, STRICT, console, fails
from rich.table import Table
from scipy.special import expit

from kilter.core.gate import slices
from kilter.core.gate.slices import SliceLoss
from kilter.core.uncertainty.estimate import loss
from kilter.core.verdict import Verdict
from kilter.spec import METRICS, Gate, Slices

SHIPPED = Gate(confidence=CONFIDENCE, thresholds={"roc_auc": 0.5}, slices=Slices(minimum_rows=30))
"""The margins that a model has that states none."""

FEATURES, SEGMENTS, POOL = 8, 12, 4000
DAYS, A_DAY = 40, 100
OTHERWISE = (
    "roc_auc, rows as independent",
    "slices without Holm",
    "roc_auc, margin as shipped",
    "slices, margin as shipped",
)


def world(random: np.random.Generator, days: int, a_day: int) -> tuple[np.ndarray, ...]:
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
    metrics = tuple(METRICS["binary"])
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
                loss=loss("roc_auc", labels[part], candidate[part], champion[part], day[part], CONFIDENCE),
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


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share: Wilson (1927), Probable inference, the law of succession."""
    share, z = hits / of, 1.96
    middle, reach = share + z**2 / (2 * of), z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    low, high = (middle - reach) / (1 + z**2 / of), (middle + reach) / (1 + z**2 / of)
    return max(float(low), 0.0), min(float(high), 1.0)


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
