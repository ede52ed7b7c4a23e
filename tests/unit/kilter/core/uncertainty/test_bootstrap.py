"""The bootstrap over blocks, against another implementation and against theory."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import average_precision_score

from kilter.core.uncertainty.average_precision import average_precision_replicates
from kilter.core.uncertainty.bootstrap import MOST_BLOCKS, join, resample, standard_error
from kilter.core.uncertainty.estimate import estimate, loss, summed_replicates

ROWS = 400
RANDOM = np.random.default_rng(11)
LABELS = (RANDOM.random(ROWS) < 0.4).astype(float)
SCORES, OTHERS = (np.clip(0.25 + 0.4 * LABELS + 0.3 * RANDOM.normal(size=ROWS), 0.01, 0.99) for _ in range(2))
RESAMPLED = {
    "brier": lambda rows, scores: float(((LABELS[rows] - scores[rows]) ** 2).mean()),
    "accuracy": lambda rows, scores: float(((scores[rows] >= 0.5) == LABELS[rows]).mean()),
    "average_precision": lambda rows, scores: average_precision_score(LABELS[rows], scores[rows]),
}


@pytest.mark.parametrize("metric", RESAMPLED)
def test_errors_are_those_of_scipy_for_a_metric_and_for_a_paired_difference(metric: str) -> None:
    statistic = RESAMPLED[metric]
    for ours, theirs in (
        (estimate(metric, LABELS, SCORES, np.arange(ROWS), 0.95), lambda rows: statistic(rows, SCORES)),
        (
            loss(metric, LABELS, SCORES, OTHERS, np.arange(ROWS), 0.95),
            lambda rows: statistic(rows, SCORES) - statistic(rows, OTHERS),
        ),
    ):
        found = scipy.stats.bootstrap(
            (np.arange(ROWS),), theirs, n_resamples=999, vectorized=False, method="percentile", rng=5
        )
        assert ours is not None
        # Two errors from 1,000 replicates each differ by 3 % in half of all cases.
        assert ours.error == pytest.approx(float(found.standard_error), rel=0.12)


def test_average_precision_of_a_replicate_is_that_of_its_rows() -> None:
    draws = resample(np.eye(ROWS), seed=3)
    replicates = average_precision_replicates(LABELS, np.round(SCORES, 2), np.arange(ROWS), seed=3)
    for weights, found in list(zip(draws, replicates, strict=True))[:20]:
        assert found == pytest.approx(average_precision_score(LABELS, np.round(SCORES, 2), sample_weight=weights))


def test_shared_bins_leave_the_error_of_average_precision() -> None:
    rows = 4000
    labels = (RANDOM.random(rows) < 0.5).astype(float)
    scores = labels + RANDOM.normal(size=rows)
    blocks = np.arange(rows)
    exact = [
        average_precision_score(labels, scores, sample_weight=weights)
        for weights in resample(np.eye(rows), seed=3)[:300]
    ]
    binned = average_precision_replicates(labels, scores, blocks, seed=3)[:300]
    assert np.std(binned) == pytest.approx(np.std(exact), rel=0.02)


def test_many_blocks_joined_at_random_leave_the_error_that_theory_gives() -> None:
    rows = 50_000
    labels = (RANDOM.random(rows) < 0.3).astype(float)
    scores = RANDOM.random(rows)
    replicates = summed_replicates("brier", labels, scores, np.arange(rows), seed=0)
    theory = np.std((labels - scores) ** 2) / np.sqrt(rows)
    assert standard_error(replicates, rows) == pytest.approx(theory, rel=0.08)


def test_blocks_are_joined_only_when_there_are_many_and_never_torn() -> None:
    few = np.arange(MOST_BLOCKS)
    assert join(few, seed=0) is few
    many = np.repeat(np.arange(3 * MOST_BLOCKS), 2)
    joined = join(many, seed=0)
    assert (joined[::2] == joined[1::2]).all()
    assert np.bincount(joined).tolist() == [6] * MOST_BLOCKS


def test_a_replicate_draws_as_many_blocks_as_there_are() -> None:
    assert (resample(np.ones((7, 1)), seed=0) == 7).all()


def test_replicates_without_a_value_are_left_out() -> None:
    assert standard_error(np.array([1.0, np.nan, 3.0]), blocks=2) == pytest.approx(np.sqrt(2) * np.sqrt(2))
