"""Metrics expected of scores: by hand, and on average over labels."""

import numpy as np
import pytest

from kilter.core.drift.expected import _draw, expected, spread
from kilter.core.metrics import measure
from kilter.spec import METRICS

BINARY = np.array([0.9, 0.2])
MANY = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])


@pytest.mark.parametrize(
    ("metric", "scores", "value"),
    [
        ("accuracy", BINARY, (0.9 + 0.8) / 2),
        ("brier", BINARY, (0.9 * 0.1 + 0.2 * 0.8) / 2),
        ("log_loss", np.array([0.5]), np.log(2)),
        # Positives 0.9 above 0.2, negatives 0.1 above 0.8: pairs of one row are ties.
        ("roc_auc", BINARY, (0.9 * 0.8 + (0.9 * 0.1 + 0.2 * 0.8) / 2) / (1.1 * 0.9)),
        # At 0.9 recall 0.9 / 1.1 at precision 0.9; at 0.2 the rest at precision 1.1 / 2.
        ("average_precision", BINARY, 0.9 / 1.1 * 0.9 + 0.2 / 1.1 * 0.55),
        ("accuracy", MANY, 0.65),
        ("brier", MANY, (1 - 0.54 + 1 - 0.46) / 2),
        # Each class's actual, predicted and hits: 0.8, 1, 0.7; 0.8, 1, 0.6; 0.4, 0, 0.
        ("macro_f1", MANY, (1.4 / 1.8 + 1.2 / 1.8 + 0) / 3),
    ],
)
def test_a_metric_by_hand(metric: str, scores: np.ndarray, value: float) -> None:
    assert expected(metric, scores) == pytest.approx(value)


def scores_of(task: str, rows: int = 3000) -> np.ndarray:
    random = np.random.default_rng(5)
    return random.beta(2, 3, rows) if task == "binary" else random.dirichlet([2, 1, 0.5], rows)


@pytest.mark.parametrize(
    ("task", "metric"), [(task, metric) for task in ("binary", "multiclass") for metric in METRICS[task]]
)
def test_labels_drawn_as_the_scores_say_show_the_metric_on_average(task: str, metric: str) -> None:
    scores, random = scores_of(task), np.random.default_rng(6)
    found = [measure([metric], _draw(scores, random), scores)[metric] for _ in range(50)]
    error = np.std(found) / np.sqrt(50)
    assert expected(metric, scores) == pytest.approx(np.mean(found), abs=4 * error)
    assert spread(metric, scores, seed=7) == pytest.approx(np.std(found), rel=0.4)
