"""Is a window whole? Rows, as many as there usually are, up to its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median

from pydantic import BaseModel, ConfigDict

from kilter.core.drift import FRESHNESS
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured
from kilter.spec import Drift

_REMEMBERED = 7
"""Earlier windows whose usual volume counts: a lasting change of traffic is usual after half of them."""


class Stretch(BaseModel):
    """A window's event time, `[start, end)`, and its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: datetime
    end: datetime
    rows: int


def expected_rows(window: Stretch, earlier: Sequence[Stretch]) -> float | None:
    """How many rows a window of this length usually has: the median rate of the newest earlier ones that had any.

    >>> from datetime import UTC
    >>> days = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 4)]
    >>> expected_rows(Stretch(start=days[1], end=days[2], rows=0), [Stretch(start=days[0], end=days[1], rows=50)])
    100.0
    """
    usual = sorted((item for item in earlier if item.rows), key=lambda item: item.end)[-_REMEMBERED:]
    if not usual:
        return None
    rate = median(item.rows / (item.end - item.start).total_seconds() for item in usual)
    return rate * (window.end - window.start).total_seconds()


def judge_freshness(window: Stretch, newest: datetime | None, earlier: Sequence[Stretch], drift: Drift) -> Judgement:
    """Passed when the window has rows, `drift.minimum_volume` of the usual or more, the newest of them near its end.

    Else inconclusive, and never failed: a window that is empty, truncated or stale says nothing of the world. The first
    window has nothing to be compared with, and so is judged by its silence alone.

    Args:
        newest: event time of the window's last row; None without rows.
    """
    length = window.end - window.start
    expected = expected_rows(window, earlier)
    figures = {"rows": window.rows, "expected": expected, "newest": newest and newest.isoformat()}
    if newest is None:
        reason = "empty: no request was logged" + (f", where {expected:.0f} rows are usual" if expected else "")
        return Judgement(name=FRESHNESS, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    measured = [
        Measured(
            label=f"silence before its end, newest row {newest:%Y-%m-%d %H:%M},",
            value=max((window.end - newest) / length * 100, 0.0),
            wanted="at_most",
            bound=drift.maximum_silence * 100,
            unit=" %",
        )
    ]
    if expected:
        volume = Measured(
            label=f"{window.rows} rows of {expected:.0f} usual ones,",
            value=window.rows / expected * 100,
            wanted="at_least",
            bound=drift.minimum_volume * 100,
            unit=" %",
        )
        measured.append(volume)
    judged = judge_measured(FRESHNESS, measured, figures)
    if judged.verdict is not Verdict.FAILED:
        return judged
    kinds = [
        kind for kind, item in zip(("stale", "truncated"), measured, strict=False) if item.verdict is Verdict.FAILED
    ]
    return judged.model_copy(
        update={"verdict": Verdict.INCONCLUSIVE, "reason": f"{' and '.join(kinds)}: {judged.reason}"}
    )
