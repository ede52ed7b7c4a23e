"""Has the world moved? Judging a window of live rows against what the champion was trained on."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from kilter.core.metrics import loss_of
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift

DATA_DRIFT = "data_drift"
PERFORMANCE = "performance"


class ColumnDrift(BaseModel):
    """Distance of one column from its reference, by the method and threshold that measured it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    value: float
    threshold: float
    drifted: bool


class Window(BaseModel):
    """What was measured on a window. `null_shares` holds live columns beyond those that could be compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    labelled: int
    null_shares: dict[str, float]
    columns: dict[str, ColumnDrift]
    unmeasured: tuple[str, ...] = ()
    """Columns that have values, and yet no finite distance."""
    metric: str
    value: float | None
    """The metric on the labelled rows; None when it cannot be computed."""
    baseline: float | None
    """The best that this version has shown: on its test part, or in an earlier window."""


def judge_data_drift(window: Window, drift: Drift) -> Judgement:
    """Failed when the share of drifted columns, or one column's null share, is beyond the spec's.

    Fewer rows than `drift.minimum_rows`, or no column that can be compared, is inconclusive.
    """
    figures = {"rows": window.rows, "columns": {name: item.model_dump() for name, item in window.columns.items()}}
    if window.rows < drift.minimum_rows:
        reason = f"{window.rows} rows < {drift.minimum_rows} needed to tell drift"
        return Judgement(name=DATA_DRIFT, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    if not window.columns and not window.unmeasured:
        reason = "no column could be compared with its reference"
        return Judgement(name=DATA_DRIFT, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    if window.unmeasured:
        reason = f"no finite distance from the reference for: {', '.join(window.unmeasured)}"
        return Judgement(name=DATA_DRIFT, verdict=Verdict.ERROR, reason=reason, figures=figures)
    empty = {name: share for name, share in window.null_shares.items() if share > drift.maximum_null_share}
    if empty:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in sorted(empty.items()))
        reason = f"null share beyond {drift.maximum_null_share:.0%} allowed: {shares}"
        return Judgement(name=DATA_DRIFT, verdict=Verdict.FAILED, reason=reason, figures=figures)
    drifted = sorted(name for name, item in window.columns.items() if item.drifted)
    share = len(drifted) / len(window.columns)
    moved = f"{len(drifted)} of {len(window.columns)} columns drifted ({share:.0%}): {', '.join(drifted) or 'none'}"
    if share >= drift.share:
        reason = f"{moved}; {drift.share:.0%} or more is drift"
        return Judgement(name=DATA_DRIFT, verdict=Verdict.FAILED, reason=reason, figures=figures)
    reason = f"{moved}; less than {drift.share:.0%} is no drift"
    return Judgement(name=DATA_DRIFT, verdict=Verdict.PASSED, reason=reason, figures=figures)


def judge_performance(window: Window, drift: Drift) -> Judgement:
    """Failed when the metric lost more than `drift.allowed_decay` against the best this version has shown.

    The best so far is the reference because a test part of a few days may be easier or harder than
    the world at large; it is that of DDM (Gama et al. 2004, Learning with Drift Detection, section 3).
    Fewer labelled rows than `drift.minimum_rows`, or no metric or baseline, is inconclusive.
    """
    figures = {"labelled": window.labelled, "value": window.value, "baseline": window.baseline}
    if window.labelled >= drift.minimum_rows and window.value is None:
        reason = f"{window.labelled} labelled rows of one class, which cannot tell {window.metric}"
        return Judgement(name=PERFORMANCE, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    if window.labelled < drift.minimum_rows or window.value is None or window.baseline is None:
        reason = f"{window.labelled} labelled rows, {drift.minimum_rows} needed to tell {window.metric}"
        return Judgement(name=PERFORMANCE, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    loss = loss_of(window.metric, window.value, window.baseline)
    if not math.isfinite(loss):
        reason = f"{window.metric} {window.value}, {window.baseline} at its best: not finite, so it was not measured"
        return Judgement(name=PERFORMANCE, verdict=Verdict.ERROR, reason=reason, figures={"labelled": window.labelled})
    sum_ = (
        f"{window.metric} {window.value:.4f} on {window.labelled} labelled rows, {window.baseline:.4f} at its best: "
        f"{loss:+.4f} lost"
    )
    if loss > drift.allowed_decay:
        reason = f"{sum_} > {drift.allowed_decay} allowed"
        return Judgement(name=PERFORMANCE, verdict=Verdict.FAILED, reason=reason, figures=figures)
    return Judgement(
        name=PERFORMANCE, verdict=Verdict.PASSED, reason=f"{sum_} <= {drift.allowed_decay} allowed", figures=figures
    )
