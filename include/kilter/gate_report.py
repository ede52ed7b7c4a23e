"""The gate's report: JSON for programs, and a page that a product owner can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from kilter.core.durations import in_words
from kilter.core.gate.judge import Action, Ruled, Ruling
from kilter.core.gate.outlook import closest, outlook
from kilter.core.verdict import Measured, Verdict
from kilter.holdout import Facts
from kilter.interval_plot import Axis, axis_over
from kilter.report_pages import render_page
from kilter.spec import ModelSpec

JSON_FILE = "gate_report.json"
HTML_FILE = "gate_report.html"
_TEMPLATE = "gate_report.html.j2"
_SHOWN_SLICES = 12

TITLES = {
    "thresholds": ("Good enough by itself", "Is every metric surely beyond the bound that its owners set?"),
    "against_champion": ("Not worse than the champion", "On the same rows, does it keep up with the model in use?"),
    "slices": ("Nobody is left behind", "Is any part of the data worse off than is allowed?"),
    "calibration": ("Honest probabilities", "When it says 30 %, does it happen in 30 of 100 cases?"),
    "sanity": ("In its right mind", "Does it answer sensibly, beat guessing, and look at no leaked answer?"),
    "prediction_parity": ("The same in production", "Do training code, feature store and server give equal answers?"),
    "serving_fitness": ("Fit to serve", "Does the real server answer correctly, fast, and within its memory?"),
    "provenance": ("Known origin", "Was it made of validated data by known code?"),
    "holdout_wear": ("A fresh exam", "Have these evaluation rows decided too often already?"),
}
"""What each check is called on the page, and the question that it answers."""


class GateReport(BaseModel):
    """Everything that was known when a candidate was judged."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    model: str
    version: int
    champion: int | None
    verdict: Verdict
    action: Action
    reasons: tuple[str, ...]
    as_of: datetime
    """Event time up to which labels were known."""
    start: datetime
    end: datetime
    """Event times of the first and the last row."""
    rows: int
    new_rows: int
    """Rows that came after the candidate's snapshot was frozen."""
    holdout: str
    look: int
    """By how many sets of rows the candidate has been judged, this one counted."""
    confidence: float
    """Of every interval at this look."""
    block: timedelta
    """Event time whose rows count as one observation; zero: each row by itself."""
    allowed_slice_loss: float
    checks: tuple[Ruled, ...]


def make_report(spec: ModelSpec, facts: Facts, holdout: str, ruling: Ruling) -> GateReport:
    """Gather the ruling, what it was reached on, and the rules it followed."""
    return GateReport(
        model=spec.name,
        version=facts.version,
        champion=facts.champion,
        verdict=ruling.verdict,
        action=ruling.action,
        reasons=ruling.reasons,
        as_of=facts.as_of,
        start=facts.start,
        end=facts.end,
        rows=facts.rows,
        new_rows=facts.new_rows,
        holdout=holdout,
        look=facts.look,
        confidence=facts.confidence,
        block=spec.evaluation.block,
        allowed_slice_loss=spec.gate.slices.allowed_regression,
        checks=ruling.checks,
    )


def render(report: GateReport) -> str:
    """The page: one file without scripts or outside resources; all text is escaped."""
    return render_page(
        _TEMPLATE,
        report=report,
        headline=headline(report),
        consequence=CONSEQUENCES[report.action, report.verdict],
        outlooks=outlooks(report),
        closest=_closest(report),
        forest=lambda figures: forest(figures, report.allowed_slice_loss),
        titles=TITLES,
        block=in_words(report.block) if report.block else None,
    )


def headline(report: GateReport) -> str:
    """The verdict in a few words."""
    what = {
        (Action.PROMOTE, Verdict.PASSED): "passed and goes on",
        (Action.ASK, Verdict.PASSED): "passed and waits for approval",
        (Action.ASK, Verdict.INCONCLUSIVE): "needs a person's decision",
        (Action.REJECT, Verdict.FAILED): "is refused",
        (Action.REJECT, Verdict.INCONCLUSIVE): "is refused for want of data",
        (Action.HOLD, Verdict.INCONCLUSIVE): "is held: nobody can tell yet",
        (Action.HOLD, Verdict.ERROR): "could not be judged",
    }
    return f"Version {report.version} {what[report.action, report.verdict]}"


CONSEQUENCES = {
    (
        Action.PROMOTE,
        Verdict.PASSED,
    ): "Every check that blocks has passed. The canary moves traffic to it step by step.",
    (Action.ASK, Verdict.PASSED): "Every check that blocks has passed. It gets no traffic until a person approves it.",
    (Action.ASK, Verdict.INCONCLUSIVE): "Nothing speaks against it for sure, but the data cannot tell. It gets no "
    "traffic unless a person approves it.",
    (
        Action.REJECT,
        Verdict.FAILED,
    ): "At least one check that blocks has failed. It gets no traffic; the champion stays.",
    (Action.REJECT, Verdict.INCONCLUSIVE): "The data cannot tell, and the model's rules refuse what cannot be told. "
    "It gets no traffic; the champion stays.",
    (Action.HOLD, Verdict.INCONCLUSIVE): "The data cannot tell yet. It gets no traffic, and is judged again, without "
    "new training, when more labels have come.",
    (Action.HOLD, Verdict.ERROR): "Something could not be measured, which is never taken for a pass. It gets no "
    "traffic; it can be judged again once the cause is gone.",
}
"""What each outcome means for the model in use."""


def outlooks(report: GateReport) -> list[tuple[str, list[str]]]:
    """For each check that did not pass and blocks, what would have to change: check, sentences."""
    return [
        (item.judgement.name, _outlook(item))
        for item in report.checks
        if item.role == "blocking" and item.judgement.verdict is not Verdict.PASSED
    ]


def _outlook(item: Ruled) -> list[str]:
    found = [outlook(one) for one in item.judgement.measured if one.verdict is not Verdict.PASSED]
    return found or [item.judgement.reason]


def _closest(report: GateReport) -> Measured | None:
    blocking = [item.judgement for item in report.checks if item.role == "blocking"]
    return closest(one for judgement in blocking for one in judgement.measured)


@dataclass(frozen=True)
class SliceRow:
    """A slice as the page shows it: its figures, and positions of its interval and value."""

    figures: dict[str, Any]
    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Forest:
    """The worst slices on one axis, and how many more there are that are not shown."""

    rows: list[SliceRow]
    bound: float
    hidden: int


def forest(figures: dict[str, Any], allowed: float) -> Forest | None:
    """Lay out what the check `slices` measured, worst first; None when there is nothing to show."""
    shown: Sequence[dict[str, Any]] = figures.get("slices", [])[:_SHOWN_SLICES]
    axis = axis_over([row[key] for row in shown for key in ("low", "value", "high")] + [allowed] * bool(shown))
    if axis is None:
        return None
    return Forest(
        rows=[_slice_row(row, axis) for row in shown],
        bound=axis.at(allowed),
        hidden=len(figures["slices"]) - len(shown),
    )


def _slice_row(row: dict[str, Any], axis: Axis) -> SliceRow:
    return SliceRow(row, axis.at(row["low"]), axis.at(row["value"]), axis.at(row["high"]))
