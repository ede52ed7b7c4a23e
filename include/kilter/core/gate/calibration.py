"""Check `calibration`: scores can be taken for probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from kilter.core.metrics import CalibrationBin
from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Judgement, judge_measured
from kilter.spec import Calibration

NAME = "calibration"


def judge(
    error: Estimate | None, slope: Estimate | None, bins: Sequence[CalibrationBin], rows: int, allowed: Calibration
) -> Judgement:
    """Judge the expected calibration error, and the calibration slope between its two bounds.

    Of many classes it is the most probable one that is judged: whether it is right as often as its probability says.

    An interval that reaches across a bound is inconclusive, and so are too few rows, or rows of one class.

    Args:
        bins: mean score and share of positives, for the picture.
    """
    figures = {"rows": rows, "bins": [bin.model_dump() for bin in bins]}
    if error is None or slope is None:
        reason = f"{rows} rows: too few blocks of evaluation.block hold each of the two outcomes to judge calibration"
        return judge_measured(NAME, [], figures, [reason])
    least, greatest = allowed.slope
    measured = [
        error.measured("expected calibration error", "at_most", allowed.maximum_error),
        slope.measured("calibration slope", "at_least", least),
        slope.measured("calibration slope", "at_most", greatest),
    ]
    return judge_measured(NAME, measured, figures)
