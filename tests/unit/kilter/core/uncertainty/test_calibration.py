"""Calibration error and slope: known truths, and how often intervals hold them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from kilter.core.uncertainty.calibration import calibration_error, calibration_slope
from kilter.core.uncertainty.estimate import Estimate


def sample(
    random: np.random.Generator, rows: int, slope: float = 1.0, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and blocks of ten rows; the log odds of the labels are `shift` + `slope` × those of the scores."""
    log_odds = random.normal(size=rows) - 1
    labels = (random.random(rows) < expit(shift + slope * log_odds)).astype(float)
    return labels, expit(log_odds), np.arange(rows) // 10


def known(found: Estimate | None) -> Estimate:
    assert found is not None
    return found


def test_the_slope_is_that_of_another_implementation() -> None:
    labels, scores, blocks = sample(np.random.default_rng(1), 2000, slope=0.6)
    log_odds = np.log(scores / (1 - scores))
    other = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds[:, None], labels)
    assert known(calibration_slope(labels, scores, blocks, 0.95)).value == pytest.approx(other.coef_[0, 0], rel=1e-5)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_slopes_are_held_as_often_as_stated(slope: float) -> None:
    """300 samples: at 95 % between 91 and 98.5 % but for one sample of tests in 500."""
    random = np.random.default_rng(2)
    found = [known(calibration_slope(*sample(random, 500, slope=slope), 0.95)) for _ in range(300)]
    assert 0.91 < np.mean([item.low <= slope <= item.high for item in found]) < 0.985


def test_noise_alone_is_no_calibration_error() -> None:
    """Of 300 rows the plain error is about 0.06, though the true one is 0: no more than 2.5 % may claim 0.03."""
    random = np.random.default_rng(3)
    found = [known(calibration_error(*sample(random, 300), 0.95)) for _ in range(200)]
    assert np.median([item.value for item in found]) < 0.02
    assert np.mean([item.low > 0 for item in found]) < 0.06
    assert min(item.high for item in found) > 0.02


def test_a_true_calibration_error_is_held_as_often_as_stated() -> None:
    random = np.random.default_rng(4)
    log_odds = random.normal(size=1_000_000) - 1
    truth = np.abs(expit(0.6 + log_odds) - expit(log_odds)).mean()
    found = [known(calibration_error(*sample(random, 1000, shift=0.6), 0.95)) for _ in range(200)]
    assert 0.91 < np.mean([item.low <= truth <= item.high for item in found]) <= 1
    assert all(item.low <= item.value <= item.high for item in found)
    assert np.mean([item.value for item in found]) == pytest.approx(truth, rel=0.05)


def test_rows_told_five_times_within_their_block_make_nothing_surer() -> None:
    columns = sample(np.random.default_rng(1), 500, slope=0.6)
    five = [np.repeat(column, 5) for column in columns]
    slopes = [known(calibration_slope(*part, 0.95)) for part in (columns, five)]
    assert slopes[1].error == pytest.approx(slopes[0].error, rel=1e-6)
    errors = [known(calibration_error(*part, 0.95)) for part in (columns, five)]
    assert errors[1].low == pytest.approx(errors[0].low, abs=1e-6)
    assert errors[1].high == pytest.approx(errors[0].high, rel=1e-6)


def test_equal_scores_have_an_error_and_no_slope() -> None:
    labels = np.tile([0.0, 0.0, 0.0, 1.0], 100)
    error = known(calibration_error(labels, np.full(400, 0.45), np.arange(400), 0.95))
    assert error.value == pytest.approx(0.2, abs=0.01)
    assert math.isnan(known(calibration_slope(labels, np.full(400, 0.45), np.arange(400), 0.95)).value)


def test_scores_that_separate_the_labels_have_no_slope() -> None:
    labels = np.tile([0.0, 1.0], 100)
    scores = 0.2 + 0.5 * labels + np.linspace(0, 0.1, 200)
    assert math.isnan(known(calibration_slope(labels, scores, np.arange(200), 0.95)).value)


def test_a_sure_score_that_is_wrong_costs_much_and_not_everything() -> None:
    labels, scores, blocks = sample(np.random.default_rng(1), 2000)
    scores[0], labels[0] = 1.0, 0.0
    assert 0.5 < known(calibration_slope(labels, scores, blocks, 0.95)).value < 1


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_score_that_is_not_finite_gives_no_number(broken: float) -> None:
    labels, scores, blocks = sample(np.random.default_rng(1), 200)
    scores[3] = broken
    assert math.isnan(known(calibration_error(labels, scores, blocks, 0.95)).value)
    assert math.isnan(known(calibration_slope(labels, scores, blocks, 0.95)).value)


def test_one_label_gives_no_estimate() -> None:
    assert calibration_error(np.ones(50), np.full(50, 0.9), np.arange(50), 0.95) is None
    assert calibration_slope(np.ones(50), np.full(50, 0.9), np.arange(50), 0.95) is None
