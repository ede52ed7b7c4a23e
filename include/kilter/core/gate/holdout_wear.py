"""Check `holdout_wear`: how many decisions the evaluation window has taken already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured
from kilter.spec import HoldoutWear

NAME = "holdout_wear"

WORN_SHARE = 0.5
"""Of this window's time that an earlier decision must have used, to count."""


@dataclass(frozen=True)
class Decision:
    """A gate verdict on a version, and the first and last event time of the rows that it was reached on.

    Args:
        approved: whether a person let the version through on it.
    """

    version: int
    verdict: str
    start: datetime | None
    """None, as is `end`, for a verdict from before windows were kept."""
    end: datetime | None
    approved: bool = False


def judge(version: int, start: datetime, end: datetime, decisions: Iterable[Decision], wear: HoldoutWear) -> Judgement:
    """Judge how worn the window of event time from `start` to `end`, both within it, is.

    Whoever trains, looks at the gate's verdict and trains again fits candidates to the rows of the holdout,
    without ever learning from them: Dwork et al. (2015), The reusable holdout: preserving validity in adaptive
    data analysis, Science 349. So the verdicts on other versions are counted, each version once. Only passed
    and failed ones are, and those that a person approved: what else was inconclusive told too little to be fitted to. What wears are the rows that
    are to decide now, so that an earlier window counts when it held at least half of this one's time: one
    that lies inside this one and is small used few of its rows, and one far longer used them all.
    """
    versions = {
        decision.version
        for decision in decisions
        if decision.version != version
        and (decision.approved or decision.verdict in {Verdict.PASSED, Verdict.FAILED})
        and _share(start, end, decision) >= WORN_SHARE
    }
    measured = Measured(
        label=f"other versions that rows from {start.isoformat()} to {end.isoformat()} have decided on",
        value=len(versions),
        wanted="at_most",
        bound=wear.maximum_decisions - 1,
    )
    judgement = judge_measured(NAME, [measured], {"versions": sorted(versions)})
    if judgement.verdict is Verdict.PASSED:
        return judgement
    cure = (
        "The window is worn, take a fresh one: run feature_ingestion of newer intervals until their labels are known, "
        "then continuous_training as of a later time, or model_validation with a later as_of"
    )
    return judgement.model_copy(update={"reason": f"{judgement.reason}. {cure}"})


def _share(start: datetime, end: datetime, decision: Decision) -> float:
    """The share of the window that a decision's window holds; 0 when that is unknown."""
    if decision.start is None or decision.end is None:
        return 0.0
    common = min(end, decision.end) - max(start, decision.start)
    if common < timedelta(0):
        return 0.0
    return common / (end - start) if end > start else 1.0
