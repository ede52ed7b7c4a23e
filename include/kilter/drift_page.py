"""The page of a drift report: what a window says of its model, in words and small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kilter.core.drift.window import Window
from kilter.core.verdict import Verdict
from kilter.interval_plot import WIDTH
from kilter.report_pages import render_page
from kilter.window_evidence import WindowEvidence

_SHOWN_COLUMNS = 20

TITLES = {
    "freshness": ("A whole window", "Are its rows there, as many as usual, up to its end?"),
    "data_drift": ("The same inputs", "Do its features look like those that the model learnt from?"),
    "prediction_drift": ("The same answers", "Do its scores look like those on the rows that the model was tested on?"),
    "performance": ("As good as it was", "How good were the scores, now that labels are there?"),
    "estimated_performance": ("As sure as it was", "How good would they be, if they are still honest probabilities?"),
    "change_detectors": ("No turning point", "Did errors begin to grow at some time since the promotion?"),
}
"""What each judgement is called on the page, and the question that it answers."""

_HEADLINES = {
    Verdict.PASSED: "As it was",
    Verdict.FAILED: "The world has moved",
    Verdict.INCONCLUSIVE: "Nobody can tell yet",
    Verdict.ERROR: "Something could not be measured",
}

EVIDENTLY = {"drift.html": "features", "predictions.html": "predictions", "performance.html": "quality"}
"""Evidently's pages, and what they show."""


@dataclass(frozen=True)
class Bar:
    """A column as the page shows it: its distance, and the positions of that and of its threshold."""

    name: str
    method: str
    value: float
    drifted: bool
    end: float
    bound: float


def bars(figures: Mapping[str, Any]) -> Sequence[Bar]:
    """Lay out the columns of a judgement, those that drifted first, the farthest first; none when it compared none."""
    columns: Mapping[str, Mapping[str, Any]] = figures.get("columns", {})
    farthest = max((max(item["value"], item["threshold"]) for item in columns.values()), default=1.0) * 1.05
    found = [
        Bar(
            name,
            item["method"],
            item["value"],
            item["drifted"],
            round(WIDTH * item["value"] / farthest, 1),
            round(WIDTH * item["threshold"] / farthest, 1),
        )
        for name, item in columns.items()
    ]
    return sorted(found, key=lambda bar: (not bar.drifted, -bar.value))[:_SHOWN_COLUMNS]


def drift_page(model: str, version: int | None, window: Window, found: WindowEvidence) -> str:
    """The page of one window."""
    return render_page(
        "drift_page.html.j2",
        model=model,
        version=version,
        window=window,
        found=found,
        headline=_HEADLINES[found.verdict],
        titles=TITLES,
        bars=bars,
        pages={name: words for name, words in EVIDENTLY.items() if name in found.pages},
    )
