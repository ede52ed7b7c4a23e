"""Intervals of metrics of many classes and of numbers: what counts as an observation, and how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from kilter.core.metrics import measure
from kilter.core.uncertainty.blocks import LEAST_BLOCKS
from kilter.core.uncertainty.estimate import Estimate, estimate, loss
from kilter.spec import METRICS

TASKS = [(task, metric) for task in ("multiclass", "regression") for metric in METRICS[task]]


def days(task: str, random: np.random.Generator, count: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and blocks of `count` days; each day has a mood of its own, which the scores do not see."""
    blocks = np.repeat(np.arange(count), rows)
    mood, known = random.normal(scale=0.5, size=count)[blocks], random.normal(size=count * rows)
    value = known + mood + random.normal(scale=0.7, size=count * rows)
    if task == "regression":
        return value, known, blocks
    edges = np.array([-0.5, 1.0])
    below = scipy.stats.norm.cdf((edges - known[:, np.newaxis]) / 0.86)
    scores = np.diff(np.column_stack([np.zeros(len(known)), below, np.ones(len(known))]), axis=1)
    return np.searchsorted(edges, value).astype(float), scores, blocks


def known(found: Estimate | None) -> Estimate:
    assert found is not None
    return found


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_the_value_is_the_metric_and_a_loss_turns_with_the_two(task: str, metric: str) -> None:
    labels, scores, blocks = days(task, np.random.default_rng(1), 20, 30)
    other = np.roll(scores, 1, axis=0)
    found = known(estimate(metric, labels, scores, blocks, 0.95))
    assert found.value == pytest.approx(measure([metric], labels, scores)[metric], rel=1e-12)
    assert found.low < found.value < found.high
    worse = known(loss(metric, labels, other, scores, blocks, 0.95))
    better = known(loss(metric, labels, scores, other, blocks, 0.95))
    assert worse.low > 0
    assert (better.value, better.low, better.high) == pytest.approx((-worse.value, -worse.high, -worse.low))


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_the_error_is_that_of_scipy_over_whole_days(task: str, metric: str) -> None:
    labels, scores, blocks = days(task, np.random.default_rng(2), 40, 10)
    by_day = np.arange(len(labels)).reshape(40, 10)

    def statistic(drawn: np.ndarray) -> float:
        rows = by_day[drawn].ravel()
        return measure([metric], labels[rows], scores[rows])[metric]

    theirs = scipy.stats.bootstrap(
        (np.arange(40),), statistic, n_resamples=500, vectorized=False, method="percentile", rng=5
    )
    found = known(estimate(metric, labels, scores, blocks, 0.95))
    assert found.error / math.sqrt(40 / 39) == pytest.approx(float(theirs.standard_error), rel=0.15)


@pytest.mark.parametrize(("task", "metric"), [("multiclass", "macro_f1"), ("regression", "r2"), ("regression", "rmse")])
def test_intervals_hold_the_truth_about_as_often_as_they_say(task: str, metric: str) -> None:
    """200 samples of 30 days; a share below 90 % is seen once in 1,000 such tests where 95 % is true."""
    random = np.random.default_rng(5)
    labels, scores, _ = days(task, random, 5000, 50)
    truth = measure([metric], labels, scores)[metric]
    found = [known(estimate(metric, *days(task, random, 30, 50), 0.95)) for _ in range(200)]
    assert 0.9 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.99


def test_every_block_is_an_observation_where_each_row_adds_its_own_error() -> None:
    scores = np.tile([0.6, 0.3, 0.1], (100, 1))
    found = known(estimate("accuracy", np.zeros(100), scores, np.arange(100) // 10, 0.95))
    assert (found.value, found.blocks) == (1, 10)
    assert estimate("accuracy", np.zeros(100), scores, np.arange(100) // 30, 0.95) is None
    assert known(estimate("mae", np.zeros(100), np.ones(100), np.arange(100) // 10, 0.95)).blocks == 10


def test_the_macro_f1_has_as_many_observations_as_blocks_hold_its_scarcest_class() -> None:
    scores, labels = np.tile([0.6, 0.3, 0.1], (100, 1)), np.arange(100) % 2.0
    for scarce in range(1, LEAST_BLOCKS + 1):
        labels[:scarce] = 2
        found = estimate("macro_f1", labels, scores, np.arange(100), 0.95)
        assert (found is None) == (scarce < LEAST_BLOCKS), scarce


def test_labels_that_do_not_vary_have_no_r2_and_so_no_interval() -> None:
    assert estimate("r2", np.full(100, 0.1), np.arange(100.0), np.arange(100), 0.95) is None
    assert loss("r2", np.full(100, 0.1), np.arange(100.0), np.zeros(100), np.arange(100), 0.95) is None


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_a_score_that_is_not_finite_gives_no_number(task: str, metric: str) -> None:
    labels, scores, blocks = days(task, np.random.default_rng(1), 20, 30)
    broken = scores.copy()
    broken[7] = np.nan
    assert math.isnan(known(estimate(metric, labels, broken, blocks, 0.95)).value)


def test_an_interval_is_cut_to_the_values_that_a_metric_can_have() -> None:
    labels, blocks = np.arange(12.0), np.arange(12)
    nearly = labels + np.where(blocks == 0, 9.0, 0.0)
    assert known(estimate("mae", labels, nearly, blocks, 0.95)).low == 0
    found = known(estimate("r2", labels, nearly, blocks, 0.95))
    assert found.high == 1
    assert known(estimate("r2", labels, 12 - labels, blocks, 0.95)).low < -1
    sure_and_wrong = np.where(blocks[:, np.newaxis] % 3 == np.arange(3), 1.0, 0.0)
    assert known(estimate("brier", (labels + 1) % 3, sure_and_wrong, blocks, 0.95)).value == 2
