"""thresholds, against_champion and slices: known answers."""

from __future__ import annotations

import math

import pytest

from kilter.core.gate import against_champion, slices, thresholds
from kilter.core.gate.slices import SliceLoss
from kilter.core.uncertainty.estimate import Estimate, interval
from kilter.core.verdict import Verdict
from kilter.spec import AgainstChampion, Slices


def between(low: float, high: float) -> Estimate:
    return Estimate(value=(low + high) / 2, low=low, high=high, error=0.01, confidence=0.95, blocks=100)


@pytest.mark.parametrize(
    ("metric", "low", "high", "bound", "verdict"),
    [
        ("roc_auc", 0.70, 0.80, 0.70, Verdict.PASSED),
        ("roc_auc", 0.69, 0.80, 0.70, Verdict.INCONCLUSIVE),
        ("roc_auc", 0.60, 0.69, 0.70, Verdict.FAILED),
        ("brier", 0.10, 0.20, 0.20, Verdict.PASSED),
        ("brier", 0.10, 0.21, 0.20, Verdict.INCONCLUSIVE),
        ("brier", 0.21, 0.30, 0.20, Verdict.FAILED),
        ("brier", math.nan, math.nan, 0.20, Verdict.ERROR),
    ],
)
def test_a_metric_passes_or_fails_when_all_of_its_interval_does(
    metric: str, low: float, high: float, bound: float, verdict: Verdict
) -> None:
    assert thresholds.judge({metric: between(low, high)}, {metric: bound}, 1000).verdict is verdict


def test_one_failed_metric_fails_and_is_told_first() -> None:
    judged = thresholds.judge(
        {"roc_auc": between(0.70, 0.80), "brier": between(0.21, 0.25)}, {"roc_auc": 0.6, "brier": 0.2}, 1000
    )
    assert judged.verdict is Verdict.FAILED
    assert judged.reason == ("brier 0.23 (95 %: 0.21 … 0.25) > 0.2; roc_auc 0.75 (95 %: 0.7 … 0.8) >= 0.6")


def test_a_metric_without_an_interval_is_inconclusive_whatever_the_others_say() -> None:
    judged = thresholds.judge({"roc_auc": None, "brier": between(0.1, 0.15)}, {"roc_auc": 0.7, "brier": 0.2}, 40)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.startswith("roc_auc has no interval: 40 rows")


@pytest.mark.parametrize(
    ("low", "high", "within_margin", "better"),
    [
        (-0.030, -0.010, Verdict.PASSED, Verdict.PASSED),
        (-0.005, 0.009, Verdict.PASSED, Verdict.INCONCLUSIVE),
        (0.001, 0.009, Verdict.PASSED, Verdict.FAILED),
        (-0.020, 0.011, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (0.005, 0.020, Verdict.INCONCLUSIVE, Verdict.FAILED),
        (0.011, 0.030, Verdict.FAILED, Verdict.FAILED),
    ],
)
def test_a_candidate_must_be_surely_within_the_margin_or_surely_better(
    low: float, high: float, within_margin: Verdict, better: Verdict
) -> None:
    loss = between(low, high)
    margin = AgainstChampion(allowed_regression=0.01)
    assert against_champion.judge("roc_auc", loss, 1000, 3, margin).verdict is within_margin
    assert against_champion.judge("roc_auc", loss, 1000, 3, AgainstChampion(require="better")).verdict is better


def test_too_few_rows_to_compare_are_inconclusive_however_good() -> None:
    judged = against_champion.judge("roc_auc", between(-0.2, -0.1), 499, 3, AgainstChampion(minimum_rows=500))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.startswith("499 rows that neither version 3, the champion, nor the candidate learned from")


def part(name: str, loss: float, rows: int = 1000, error: float = 0.01) -> SliceLoss:
    return SliceLoss(name=name, rows=rows, loss=interval(loss, error, blocks=1000, confidence=0.95))


def test_a_slice_that_is_surely_worse_fails_and_the_worst_is_named() -> None:
    judged = slices.judge("roc_auc", "the champion", [part("a", 0.0), part("b", 0.06), part("c", 0.08)], Slices(), 0.95)
    assert judged.verdict is Verdict.FAILED
    assert (
        "worst slice c with 1000 rows loses 0.08 (0.06038 … 0.09962), surely more than the 0.02 allowed"
        in judged.reason
    )
    assert "worse as well: b" in judged.reason


def test_the_more_slices_the_surer_one_must_be_to_fail() -> None:
    """z = 2.4: p = 0.008 alone is below 0.025, and above 0.025 / 20."""
    suspect = part("suspect", 0.044)
    assert slices.judge("roc_auc", "it", [suspect], Slices(), 0.95).verdict is Verdict.FAILED
    crowd = [part(str(number), 0.0) for number in range(19)]
    judged = slices.judge("roc_auc", "it", [suspect, *crowd], Slices(), 0.95)
    assert judged.verdict is Verdict.PASSED
    assert "worst slice suspect" in judged.reason
    assert "not surely more than the 0.02 allowed (Holm's correction over 20 slices)" in judged.reason


def test_small_slices_are_told_and_do_not_decide() -> None:
    ruined = part("tiny", 0.5, rows=199)
    judged = slices.judge("roc_auc", "it", [part("a", 0.0), ruined], Slices(), 0.95)
    assert judged.verdict is Verdict.PASSED
    assert judged.reason.endswith("too few rows to judge: tiny")
    assert judged.figures["small"] == [{"slice": "tiny", "rows": 199}]


def test_nothing_but_small_slices_is_inconclusive() -> None:
    one_class = SliceLoss(name="b", rows=5000, loss=None)
    judged = slices.judge("roc_auc", "it", [part("a", 0.0, rows=10), one_class], Slices(), 0.95)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert slices.judge("roc_auc", "it", [], Slices(), 0.95).verdict is Verdict.INCONCLUSIVE


def test_a_slice_without_finite_scores_is_an_error() -> None:
    assert slices.judge("roc_auc", "it", [part("a", math.nan, error=math.nan)], Slices(), 0.95).verdict is Verdict.ERROR
