"""Calibration: known answers."""

from __future__ import annotations

import math

import pytest

from kilter.core.gate.calibration import judge
from kilter.core.metrics import CalibrationBin
from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Verdict
from kilter.spec import Calibration

ALLOWED = Calibration(maximum_error=0.05, slope=(0.8, 1.25))


def between(low: float, high: float) -> Estimate:
    return Estimate(value=(low + high) / 2, low=low, high=high, error=0.01, confidence=0.95, blocks=100)


SMALL, RIGHT = between(0.01, 0.03), between(0.9, 1.1)


@pytest.mark.parametrize(
    ("error", "slope", "verdict", "told_first"),
    [
        (SMALL, RIGHT, Verdict.PASSED, "expected calibration error 0.02"),
        (between(0.04, 0.06), RIGHT, Verdict.INCONCLUSIVE, "expected calibration error 0.05"),
        (between(0.06, 0.08), RIGHT, Verdict.FAILED, "expected calibration error 0.07"),
        (SMALL, between(0.7, 0.9), Verdict.INCONCLUSIVE, "calibration slope 0.8 (95 %: 0.7 … 0.9) not surely >= 0.8"),
        (SMALL, between(0.5, 0.7), Verdict.FAILED, "calibration slope 0.6 (95 %: 0.5 … 0.7) < 0.8"),
        (SMALL, between(1.2, 1.4), Verdict.INCONCLUSIVE, "calibration slope 1.3 (95 %: 1.2 … 1.4) not surely <= 1.25"),
        (SMALL, between(1.3, 1.5), Verdict.FAILED, "calibration slope 1.4 (95 %: 1.3 … 1.5) > 1.25"),
        (SMALL, between(math.nan, math.nan), Verdict.ERROR, "calibration slope nan"),
    ],
)
def test_error_and_slope_must_surely_be_in_bounds(
    error: Estimate, slope: Estimate, verdict: Verdict, told_first: str
) -> None:
    judged = judge(error, slope, [], 1000, ALLOWED)
    assert judged.verdict is verdict
    assert judged.reason.startswith(told_first)


@pytest.mark.parametrize(("error", "slope"), [(None, None), (SMALL, None), (None, RIGHT)])
def test_what_cannot_be_estimated_is_inconclusive(error: Estimate | None, slope: Estimate | None) -> None:
    judged = judge(error, slope, [], 40, ALLOWED)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.startswith("40 rows: too few blocks of evaluation.block")


def test_the_bins_are_kept_for_the_picture() -> None:
    bins = [CalibrationBin(score=0.2, positives=0.25, rows=500)]
    assert judge(SMALL, RIGHT, bins, 1000, ALLOWED).figures["bins"] == [{"score": 0.2, "positives": 0.25, "rows": 500}]
