"""Check `slices`: no part of the data is worse off than allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from kilter.core.uncertainty.estimate import Estimate
from kilter.core.uncertainty.holm import holm
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Slices

NAME = "slices"


class SliceLoss(BaseModel):
    """How much worse than the reference the candidate is on one slice; no loss where nothing can be estimated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    loss: Estimate | None


def judge(metric: str, reference: str, losses: Sequence[SliceLoss], allowed: Slices, confidence: float) -> Judgement:
    """Judge the slices as one family.

    A slice fails when its loss is surely beyond `allowed_regression`, with Holm's correction over
    all slices with enough rows: whatever their number, a candidate that is nowhere worse than allowed fails
    at most at a rate of (1 - confidence) / 2, as in `against_champion`. Slices without enough rows are told,
    not judged; when there is no other, the check is inconclusive.

    Args:
        reference: what the losses are against, in words.
    """
    large = [item for item in losses if item.rows >= allowed.minimum_rows]
    judged = [(item.name, item.rows, item.loss) for item in large if item.loss is not None]
    small = [item for item in losses if item.rows < allowed.minimum_rows or item.loss is None]
    p_values = [loss.p_above(allowed.allowed_regression) for _, _, loss in judged]
    worse = holm(p_values, (1 - confidence) / 2)
    table = [_row(*item, p, bad) for item, p, bad in zip(judged, p_values, worse, strict=True)]
    # The refused ones first, then by loss: the first row is the worst slice.
    table.sort(key=lambda row: (not row["worse"], -row["value"]))
    figures = {
        "metric": metric,
        "reference": reference,
        "slices": table,
        "small": [{"slice": item.name, "rows": item.rows} for item in small],
    }
    untold = f"; too few rows to judge: {', '.join(item.name for item in small)}" if small else ""
    if any(math.isnan(p) for p in p_values):
        reason = "some scores are no finite number, so slices cannot be compared: see check 'sanity'"
        return Judgement(name=NAME, verdict=Verdict.ERROR, reason=reason)
    if not table:
        reason = f"no slice has {allowed.minimum_rows} rows in several blocks of evaluation.block{untold}"
        return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    verdict = Verdict.FAILED if table[0]["worse"] else Verdict.PASSED
    bad = [row["slice"] for row in table if row["worse"]]
    reason = (
        f"{metric} against {reference}, worst slice {_sentence(table[0])}, "
        f"{'surely' if table[0]['worse'] else 'not surely'} more than the {allowed.allowed_regression:g} allowed "
        f"(Holm's correction over {len(table)} slices)"
        + (f"; worse as well: {', '.join(bad[1:])}" if len(bad) > 1 else "")
        + untold
    )
    return Judgement(name=NAME, verdict=verdict, reason=reason, figures=figures)


def _row(name: str, rows: int, loss: Estimate, p: float, worse: bool) -> dict[str, Any]:
    return {
        "slice": name,
        "rows": rows,
        "value": loss.value,
        "low": loss.low,
        "high": loss.high,
        "p": p,
        "worse": bool(worse),
    }


def _sentence(row: dict[str, Any]) -> str:
    return f"{row['slice']} with {row['rows']} rows loses {row['value']:.4g} ({row['low']:.4g} … {row['high']:.4g})"
