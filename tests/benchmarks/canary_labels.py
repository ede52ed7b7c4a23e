"""After the promotion: labels come day by day, and `watch` compares the new champion with its predecessor on all so far."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gate_alarms import wilson
from gate_alone import console
from rich.table import Table
from scipy.special import expit, ndtri

from kilter.core import watch
from kilter.core.uncertainty.estimate import loss
from kilter.core.uncertainty.looks import confidence_at
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Gate, Watch

Vector = npt.NDArray[np.float64]

METRIC, AREA = "roc_auc", 0.75
"""And what the predecessor has of it."""

POSITIVE, SAME = 0.25, 0.8
"""Share of ones, and correlation of both versions' scores of one request beyond what its label explains."""

DAY_TO_DAY, DAY_SHARED = 0.15, 0.8
"""How much a version separates differs by day, as a deviation of its distance, and how far both versions' days agree."""

CONFIDENCE = Gate.model_fields["confidence"].default
LOSSES = (0.0, 0.01, 0.02, 0.05)


class Day(NamedTuple):
    """One day's labelled requests, and both versions' scores."""

    labels: Vector
    new: Vector
    predecessor: Vector


class Ended(NamedTuple):
    """How the watch on one promotion ended, and after how many days of labels."""

    verdict: Verdict
    days: int


def distance(area: float) -> float:
    """Between the means of the normal scores of ones and zeros, so that this is the area under the curve."""
    return float(np.sqrt(2) * ndtri(area))


def day(random: np.random.Generator, requests: int, lost: float) -> Day:
    """Requests of one day, whose labels are all there."""
    labels = (random.random(requests) < POSITIVE).astype(np.float64)
    noise = _alike(random, requests, SAME)
    turns = DAY_TO_DAY * _alike(random, 1, DAY_SHARED)
    new, predecessor = (
        expit((distance(area) + turn) * labels + own)
        for area, turn, own in zip((AREA - lost, AREA), turns, noise, strict=True)
    )
    return Day(labels, new, predecessor)


def _alike(random: np.random.Generator, count: int, correlation: float) -> Vector:
    """Two rows of normal numbers."""
    first, own = random.standard_normal((2, count))
    return np.stack([first, correlation * first + np.sqrt(1 - correlation**2) * own])


def watched(random: np.random.Generator, requests: int, lost: float, rules: Watch) -> Ended:
    """One promotion, looked at once a day: as `kilter.steps.watch` does it."""
    days: list[Day] = []
    looks: list[Judgement] = []
    while not looks or not _over(looks[-1], len(days), rules):
        days.append(day(random, requests, lost))
        if watch.due(len(days) * requests, looks, timedelta(days=len(days)), rules):
            looks.append(_judged(days, 1 + sum(bool(look.measured) for look in looks), rules))
    return Ended(looks[-1].verdict, len(days))


def _over(judgement: Judgement, days: int, rules: Watch) -> bool:
    return judgement.verdict in (Verdict.PASSED, Verdict.FAILED) or watch.over(
        judgement.verdict, timedelta(days=days), rules
    )


def _judged(days: list[Day], look: int, rules: Watch) -> Judgement:
    labels, new, predecessor = (np.concatenate(column) for column in zip(*days, strict=True))
    blocks = np.repeat(np.arange(len(days)), [len(each.labels) for each in days])
    enough = len(labels) >= rules.minimum_rows
    lost = loss(METRIC, labels, new, predecessor, blocks, confidence_at(look, CONFIDENCE)) if enough else None
    return watch.judge(METRIC, lost, len(labels), 1, rules)


def quality(repeats: int, harmless: int) -> list[dict[str, Any]]:
    """One entry for each loss of quality, and each number of labelled requests a day."""
    found = []
    for requests in (500, 2000):
        for lost in LOSSES:
            random = np.random.default_rng([requests, round(lost * 100)])
            rules = Watch()
            within = lost <= rules.allowed_regression
            ended = [watched(random, requests, lost, rules) for _ in range(harmless if within else repeats)]
            found.append({"a_day": requests, "lost": lost, **_summary(ended)})
    return found


def _summary(ended: list[Ended]) -> dict[str, Any]:
    days = {
        verdict: [each.days for each in ended if each.verdict is verdict]
        for verdict in (Verdict.FAILED, Verdict.PASSED, Verdict.INCONCLUSIVE)
    }
    back = len(days[Verdict.FAILED])
    return {
        "promotions": len(ended),
        "reversed": back,
        "interval": wilson(back, len(ended)),
        "settled": len(days[Verdict.PASSED]),
        "unproven": len(days[Verdict.INCONCLUSIVE]),
        "days_until_reversed": _middle(days[Verdict.FAILED]),
        "days_until_settled": _middle(days[Verdict.PASSED]),
    }


def _middle(values: list[int]) -> float | None:
    return float(np.median(values)) if values else None


def show_quality(found: list[dict[str, Any]]) -> None:
    title = f"Watched after the promotion, {METRIC}, 0.01 allowed; medians of days of labels"
    table = Table(title=title, title_justify="left")
    for column in (
        "labels a day",
        "lost",
        "reversed",
        "95 % interval",
        "after days",
        "settled",
        "after days",
        "unproven",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found:
        low, high = row["interval"]
        shares = {key: f"{row[key] / row['promotions']:.1%}" for key in ("reversed", "settled", "unproven")}
        middles = [
            "" if row[key] is None else f"{row[key]:.0f}" for key in ("days_until_reversed", "days_until_settled")
        ]
        table.add_row(
            f"{row['a_day']}", f"{row['lost']:.0%}", shares["reversed"], f"{low:.1%} … {high:.1%}", middles[0],
            shares["settled"], middles[1], shares["unproven"],
        )  # fmt: skip
    console.print(table)
