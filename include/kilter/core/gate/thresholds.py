"""Check `thresholds`: every metric surely beyond its bound."""

from __future__ import annotations

from collections.abc import Mapping

from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Judgement, judge_measured
from kilter.spec import LOWER_IS_BETTER

NAME = "thresholds"


def judge(metrics: Mapping[str, Estimate | None], bounds: Mapping[str, float], rows: int) -> Judgement:
    """Judge the metrics of the holdout: at least the bound, or at most where lower is better.

    A metric whose interval reaches across its bound, or that too few rows give no interval for, is
    inconclusive.
    """
    measured = [
        found.measured(name, "at_most" if name in LOWER_IS_BETTER else "at_least", bounds[name])
        for name, found in metrics.items()
        if found is not None
    ]
    unknown = [
        f"{name} has no interval: {rows} rows lie in too few blocks of evaluation.block"
        for name, found in metrics.items()
        if found is None
    ]
    return judge_measured(NAME, measured, {"rows": rows}, unknown)
