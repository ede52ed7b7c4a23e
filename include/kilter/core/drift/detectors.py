"""When did errors begin to grow, since the version was promoted? Detectors on the stream of labelled rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import numpy.typing as npt

from kilter.core.drift import CHANGE_DETECTORS, adwin, page_hinkley
from kilter.core.drift.change import Array, Blocks, Change, rise
from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Judgement, Verdict, judge_measured

DETECTORS: Mapping[str, Callable[[Array], list[Change]]] = {
    "ADWIN": adwin.changes,
    "Page-Hinkley": page_hinkley.changes,
}


def judge_change(
    errors: Array,
    times: npt.NDArray[np.datetime64],
    blocks: Blocks,
    answered: int,
    minimum_rows: int,
    confidence: float,
) -> Judgement:
    """Failed when a detector saw errors change while the version served, and they are surely greater since.

    Nothing is kept from one window to the next: the stream is the same rows in the same order, run through again.

    Args:
        errors: of `kilter.core.drift.change.row_errors`: the version's test part first, by which a world that changed
            before the first request is seen, then what it answered; shape (rows,).
        times: event time of each row, shape (rows,), rising.
        blocks: of each row, shape (rows,); see `kilter.core.uncertainty.blocks`.
        answered: place of the first row that it answered.
    """
    live = len(errors) - answered
    figures = {"rows": live, "detectors": {}}
    if live < minimum_rows:
        reason = f"{live} labelled rows since the promotion, {minimum_rows} needed to look for a change"
        return Judgement(name=CHANGE_DETECTORS, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    if not np.isfinite(errors).all():
        reason = f"{int((~np.isfinite(errors)).sum())} rows have no finite error"
        return Judgement(name=CHANGE_DETECTORS, verdict=Verdict.ERROR, reason=reason, figures=figures)
    seen = {name: _while_serving(changes(errors), answered) for name, changes in DETECTORS.items()}
    begun = {name: _worst(errors, blocks, found, confidence) for name, found in seen.items() if found}
    figures["detectors"] = {name: [_time(times, item.begins) for item in found] for name, found in seen.items()}
    if not begun:
        reason = f"no change in the errors of {live} labelled rows since the promotion ({', '.join(DETECTORS)})"
        return Judgement(name=CHANGE_DETECTORS, verdict=Verdict.PASSED, reason=reason, figures=figures)
    measured = [
        grown.measured(f"{name}: mean error rose at {_time(times, change.begins)}, by", "at_most", 0.0)
        for name, (change, grown) in begun.items()
        if grown is not None
    ]
    unknown = [
        f"{name}: errors changed at {_time(times, change.begins)}, with too few blocks before to tell by how much"
        for name, (change, grown) in begun.items()
        if grown is None
    ]
    return judge_measured(CHANGE_DETECTORS, measured, figures, unknown)


def _while_serving(found: list[Change], answered: int) -> list[Change]:
    """The changes that were seen in rows that it answered; none of them began before."""
    return [Change(max(item.begins, answered), item.seen) for item in found if item.seen >= answered]


def _worst(errors: Array, blocks: Blocks, found: list[Change], confidence: float) -> tuple[Change, Estimate | None]:
    """The change since which errors have most surely risen, until now: one that has passed over is not."""
    grown = [(item, rise(errors, blocks, item.begins, confidence)) for item in found]
    return max(grown, key=lambda pair: -np.inf if pair[1] is None else pair[1].low)


def _time(times: npt.NDArray[np.datetime64], row: int) -> str:
    moment: datetime = times[row].astype("datetime64[s]").item()
    return f"{moment:%Y-%m-%d %H:%M}"
