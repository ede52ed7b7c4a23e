"""Metrics against known answers."""

import numpy as np
import pytest

from kilter.core.metrics import best, calibrate, evaluate, loss_of, measure, roc

LABELS = np.array([0.0, 0.0, 1.0, 1.0])
SCORES = np.array([0.1, 0.4, 0.35, 0.8])


def test_roc_auc_is_that_of_the_textbook_example() -> None:
    assert measure(["roc_auc"], LABELS, SCORES) == {"roc_auc": 0.75}


def test_brier_is_the_mean_squared_distance() -> None:
    assert measure(["brier"], LABELS, SCORES)["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)


def test_one_class_only_has_no_metrics() -> None:
    assert measure(["roc_auc", "brier"], np.ones(3), np.array([0.1, 0.2, 0.3])) == {}
    assert roc(np.ones(3), np.array([0.1, 0.2, 0.3])) == []


def test_no_rows_have_no_metrics() -> None:
    assert measure(["roc_auc"], np.array([]), np.array([])) == {}


def test_a_calibrated_score_lies_on_the_diagonal() -> None:
    random = np.random.default_rng(7)
    scores = random.uniform(size=100_000)
    labels = (random.uniform(size=100_000) < scores).astype(float)
    assert all(abs(bin.score - bin.positives) < 0.02 for bin in calibrate(labels, scores))


def test_a_slice_holds_its_own_rows_only() -> None:
    places = np.array(["a", "a", "a", "b"])
    found = evaluate(["roc_auc"], np.array([0.0, 1.0, 1.0, 1.0]), SCORES, {"place": places}, {})
    assert found.slices["place"]["a"] == {"rows": 3.0, "roc_auc": 1.0}
    assert found.slices["place"]["b"] == {"rows": 1.0}


@pytest.mark.parametrize(
    ("metric", "value", "reference", "lost"), [("roc_auc", 0.7, 0.8, 0.1), ("brier", 0.3, 0.2, 0.1)]
)
def test_a_loss_is_positive_whichever_way_the_metric_points(
    metric: str, value: float, reference: float, lost: float
) -> None:
    assert loss_of(metric, value, reference) == pytest.approx(lost)
    assert loss_of(metric, reference, value) == pytest.approx(-lost)


def test_the_best_follows_the_direction_of_the_metric() -> None:
    assert best("roc_auc", [0.6, 0.8]) == 0.8
    assert best("log_loss", [0.6, 0.8]) == 0.6
