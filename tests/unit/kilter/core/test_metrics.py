"""Metrics against known answers."""

import numpy as np
import pytest
import sklearn.metrics

from kilter.core.metrics import best, calibrate, evaluate, loss_of, measure, roc
from kilter.spec import METRICS

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
    found = evaluate("binary", ["roc_auc"], np.array([0.0, 1.0, 1.0, 1.0]), SCORES, {"place": places}, {})
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


CLASSES = np.array([0.0, 1.0, 2.0, 1.0])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.2, 0.3], [0.6, 0.3, 0.1]])


def test_metrics_of_three_classes_by_hand() -> None:
    found = measure(METRICS["multiclass"], CLASSES, PROBABILITIES)
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.6, 0.3, 0.3]).mean())
    assert found["brier"] == pytest.approx((0.14 + 0.26 + 0.78 + 0.86) / 4)
    # a: one of three predicted is right, none missed. b: one of two found, none false. c: never predicted.
    assert found["macro_f1"] == pytest.approx((2 / 4 + 2 / 3 + 0) / 3)


def test_metrics_of_three_classes_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(3, size=500)
    scores = random.dirichlet((2, 1, 1), size=500)
    found = measure(METRICS["multiclass"], labels.astype(float), scores)
    assert found["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, scores))
    assert found["brier"] == pytest.approx(sklearn.metrics.brier_score_loss(labels, scores))
    assert found["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, scores.argmax(axis=1), average="macro"))


def test_classes_that_no_row_has_leave_all_metrics_of_many_classes() -> None:
    found = measure(METRICS["multiclass"], np.zeros(2), PROBABILITIES[:2])
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert measure(METRICS["multiclass"], np.zeros(0), np.zeros((0, 3))) == {}


def test_metrics_of_numbers_by_hand() -> None:
    found = measure(METRICS["regression"], np.array([1.0, 2.0, 6.0]), np.array([2.0, 2.0, 3.0]))
    assert found["mae"] == pytest.approx(4 / 3)
    assert found["rmse"] == pytest.approx(np.sqrt(10 / 3))
    assert found["r2"] == pytest.approx(1 - 10 / 14)


def test_labels_that_do_not_vary_have_errors_and_no_r2() -> None:
    assert measure(METRICS["regression"], np.full(3, 0.1), np.full(3, 0.3)).keys() == {"mae", "rmse"}


def test_r2_loses_no_digits_where_labels_lie_far_from_zero() -> None:
    random = np.random.default_rng(4)
    labels = 1e9 + random.normal(size=1000)
    scores = labels + random.normal(scale=0.5, size=1000)
    assert measure(["r2"], labels, scores)["r2"] == pytest.approx(sklearn.metrics.r2_score(labels, scores), abs=1e-6)


def test_an_evaluation_of_many_classes_holds_confusion_and_the_calibration_of_the_most_probable() -> None:
    found = evaluate("multiclass", ["accuracy"], CLASSES, PROBABILITIES, {}, {})
    assert found.confusion == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert [(bin.score, bin.positives) for bin in found.calibration] == [(0.5, 0), (0.6, 0.5), (0.7, 1)]
    assert (found.roc, found.points) == ([], [])


def test_an_evaluation_of_numbers_holds_points_and_no_calibration() -> None:
    found = evaluate("regression", ["mae"], np.arange(5000.0), np.arange(5000.0) + 1, {}, {})
    assert len(found.points) == 2000
    assert (found.points[0], found.points[-1]) == ((1.0, 0.0), (5000.0, 4999.0))
    assert (found.roc, found.calibration, found.confusion) == ([], [], [])
