"""How good were a window's scores, now that labels are there?"""

from __future__ import annotations

import math

from kilter.core.drift import PERFORMANCE
from kilter.core.metrics import loss_of
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift


def judge_performance(
    metric: str, value: float | None, baseline: float | None, labelled: int, drift: Drift
) -> Judgement:
    """Failed when the metric lost more than `drift.allowed_decay` against the best this version has shown.

    The best so far is the reference because a test part of a few days may be easier or harder than
    the world at large; it is that of DDM (Gama et al. 2004, Learning with Drift Detection, section 3).
    Fewer labelled rows than `drift.minimum_rows`, or no metric or baseline, is inconclusive.

    Args:
        value: of the metric on the labelled rows; None when it cannot be computed.
        baseline: the best that this version has shown: on its test part, or in an earlier window.
    """
    figures = {"labelled": labelled, "value": value, "baseline": baseline}
    if labelled >= drift.minimum_rows and value is None:
        reason = f"{labelled} labelled rows of one class, which cannot tell {metric}"
        return Judgement(name=PERFORMANCE, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    if labelled < drift.minimum_rows or value is None or baseline is None:
        reason = f"{labelled} labelled rows, {drift.minimum_rows} needed to tell {metric}"
        return Judgement(name=PERFORMANCE, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    loss = loss_of(metric, value, baseline)
    if not math.isfinite(loss):
        reason = f"{metric} {value}, {baseline} at its best: not finite, so it was not measured"
        return Judgement(name=PERFORMANCE, verdict=Verdict.ERROR, reason=reason, figures={"labelled": labelled})
    sum_ = f"{metric} {value:.4f} on {labelled} labelled rows, {baseline:.4f} at its best: {loss:+.4f} lost"
    failed = loss > drift.allowed_decay
    return Judgement(
        name=PERFORMANCE,
        verdict=Verdict.FAILED if failed else Verdict.PASSED,
        reason=f"{sum_} {'>' if failed else '<='} {drift.allowed_decay} allowed",
        figures=figures,
    )
