"""Intervals of metrics and of paired losses: what they hold, how often, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from scipy.special import expit

from kilter.core.metrics import measure
from kilter.core.uncertainty.blocks import LEAST_BLOCKS
from kilter.core.uncertainty.estimate import Estimate, estimate, interval, loss
from kilter.spec import LOWER_IS_BETTER, METRICS

ALL = tuple(METRICS["binary"])


def days(random: np.random.Generator, count: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and blocks of `count` days; each day has its own level of risk, which the score half sees."""
    blocks = np.repeat(np.arange(count), rows)
    level, own = random.normal(size=count)[blocks], random.normal(size=count * rows)
    labels = (random.random(count * rows) < expit(level + own - 0.5)).astype(float)
    return labels, expit(0.5 * level + own - 0.5), blocks


def known(found: Estimate | None) -> Estimate:
    assert found is not None
    return found


@pytest.mark.parametrize("metric", ALL)
def test_the_value_is_the_metric_itself(metric: str) -> None:
    labels, scores, blocks = days(np.random.default_rng(1), 20, 30)
    found = known(estimate(metric, labels, scores, blocks, 0.95))
    assert found.value == pytest.approx(measure([metric], labels, scores)[metric], rel=1e-12)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("metric", ALL)
def test_a_loss_is_positive_where_the_candidate_is_worse_and_turns_with_the_two(metric: str) -> None:
    labels, scores, blocks = days(np.random.default_rng(1), 20, 30)
    noisy = expit(4 * np.random.default_rng(2).normal(size=len(labels)))
    worse = known(loss(metric, labels, noisy, scores, blocks, 0.95))
    better = known(loss(metric, labels, scores, noisy, blocks, 0.95))
    values = measure([metric], labels, scores)[metric], measure([metric], labels, noisy)[metric]
    assert worse.value == pytest.approx(abs(values[0] - values[1]), rel=1e-9)
    assert worse.low > 0
    assert (better.value, better.low, better.high) == pytest.approx((-worse.value, -worse.high, -worse.low))
    assert (values[0] < values[1]) == (metric in LOWER_IS_BETTER)


@pytest.mark.parametrize("metric", ALL)
def test_rows_told_five_times_within_their_block_make_nothing_surer(metric: str) -> None:
    labels, scores, blocks = days(np.random.default_rng(1), 20, 30)
    once = known(estimate(metric, labels, scores, blocks, 0.95))
    five = [np.repeat(column, 5) for column in (labels, scores, blocks)]
    assert known(estimate(metric, *five, 0.95)).error == pytest.approx(once.error, rel=1e-6)
    assert known(estimate(metric, *five[:2], np.arange(len(five[0])), 0.95)).error < 0.7 * once.error


@pytest.mark.parametrize("metric", ALL)
def test_a_model_loses_nothing_to_itself(metric: str) -> None:
    labels, scores, blocks = days(np.random.default_rng(1), 20, 30)
    found = known(loss(metric, labels, scores, scores, blocks, 0.95))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.p_above(0.0) == 1
    assert found.p_above(-0.01) == 0


@pytest.mark.parametrize("metric", ["roc_auc", "brier"])
def test_intervals_hold_the_truth_as_often_as_they_say_and_rows_taken_for_independent_do_not(metric: str) -> None:
    """400 samples of 30 days: at 95 % the share lies between 92 and 98 % but for one sample of tests in 500."""
    random = np.random.default_rng(5)
    labels, scores, _ = days(random, 10_000, 100)
    truth = measure([metric], labels, scores)[metric]
    by_days, by_rows = [], []
    for _ in range(400):
        labels, scores, blocks = days(random, 30, 100)
        found = known(estimate(metric, labels, scores, blocks, 0.95))
        by_days.append(found.low <= truth <= found.high)
        if len(by_rows) < 60:
            alone = known(estimate(metric, labels, scores, np.arange(len(labels)), 0.95))
            by_rows.append(alone.low <= truth <= alone.high)
    assert 0.92 < np.mean(by_days) < 0.98
    assert np.mean(by_rows) < 0.9


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_two_models_without_a_difference_are_told_apart_at_the_stated_rate_only(metric: str) -> None:
    """Day by day a coin says which of two models is the candidate: exactly no difference."""
    random = np.random.default_rng(6)
    alarms, pairs = 0, 1000
    for _ in range(pairs):
        labels, scores, blocks = days(random, 30, 10)
        other = expit(scipy.special.logit(scores) + random.normal(size=len(scores)))
        swapped = (random.random(30) < 0.5)[blocks]
        candidate, champion = np.where(swapped, other, scores), np.where(swapped, scores, other)
        alarms += known(loss(metric, labels, candidate, champion, blocks, 0.95)).low > 0
    # Were the rate 2.5 % or less, more would be seen in one of 1,000 such runs.
    assert alarms <= scipy.stats.binom.ppf(0.999, pairs, 0.025)


def test_fewer_than_five_blocks_of_either_label_give_no_interval() -> None:
    labels = np.zeros(100)
    for ones in range(LEAST_BLOCKS + 1):
        labels[:ones] = 1
        found = estimate("roc_auc", labels, np.linspace(0, 1, 100), np.arange(100), 0.95)
        assert (found is None) == (ones < LEAST_BLOCKS), ones
    assert estimate("brier", labels, labels, np.arange(100) // 30, 0.95) is None
    assert estimate("brier", np.zeros(0), np.zeros(0), np.zeros(0, np.int64), 0.95) is None
    assert loss("brier", np.ones(100), labels, labels, np.arange(100), 0.95) is None


@pytest.mark.parametrize("metric", ALL)
def test_a_score_that_is_not_finite_gives_no_number(metric: str) -> None:
    labels, scores, blocks = days(np.random.default_rng(1), 20, 30)
    broken = np.where(np.arange(len(scores)) == 7, np.nan, scores)
    for found in (
        estimate(metric, labels, broken, blocks, 0.95),
        loss(metric, labels, broken, scores, blocks, 0.95),
        loss(metric, labels, scores, broken, blocks, 0.95),
    ):
        assert math.isnan(known(found).value)
        assert math.isnan(known(found).p_above(0.0))


def test_an_interval_is_cut_to_the_values_that_a_metric_can_have() -> None:
    labels = np.tile([0.0, 1.0], 6)
    nearly = np.where(np.arange(12) == 0, 0.95, 0.1 + 0.8 * labels)
    auc = known(estimate("roc_auc", labels, nearly, np.arange(12), 0.95))
    assert auc.value < 1 == auc.high
    log_loss = known(estimate("log_loss", labels, np.where(np.arange(12) == 0, 1.0, nearly), np.arange(12), 0.95))
    assert log_loss.low == 0
    assert log_loss.high > 1


def test_the_interval_is_by_student_with_a_degree_of_freedom_less_than_blocks() -> None:
    """Student's t of 9 degrees of freedom at 97.5 %: 2.2622."""
    found = interval(0.5, 0.1, blocks=10, confidence=0.95)
    assert (found.low, found.high) == pytest.approx((0.5 - 0.22622, 0.5 + 0.22622), abs=1e-5)


def test_the_p_value_is_below_half_of_alpha_exactly_when_the_interval_lies_above() -> None:
    found = interval(0.5, 0.1, blocks=10, confidence=0.95)
    assert found.p_above(found.low) == pytest.approx(0.025)
    assert found.p_above(found.low - 0.01) < 0.025 < found.p_above(found.low + 0.01)
    assert found.p_above(0.5) == pytest.approx(0.5)
