"""What one feature reaches alone."""

import numpy as np
import pytest

from kilter.core.sanity.leak import gain, gains_alone
from kilter.core.sanity.prior import prior
from kilter.encoding import Signature
from kilter.spec import Feature, Task

RANDOM = np.random.default_rng(3)
ROWS = 4000
LABELS = (RANDOM.random(ROWS) < 0.3).astype(float)


def alone(feature: Feature, values: np.ndarray, metric: str = "roc_auc") -> float:
    """The gain of one feature on the second half of the rows, by means of the first."""
    matrix, half = values.astype(np.float32).reshape(-1, 1), ROWS // 2
    signature = Signature(entity="id", timestamp="at", features=(feature,))
    return gains_alone(metric, matrix[:half], LABELS[:half], matrix[half:], LABELS[half:], signature)[feature.name]


NUMBER = Feature(name="x")


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "accuracy", "log_loss", "brier"])
def test_the_label_itself_gains_all_there_is_and_noise_next_to_nothing(metric: str) -> None:
    held_out = LABELS[ROWS // 2 :]
    perfect = gain(metric, held_out, np.where(held_out == 1, 1 - 1e-9, 1e-9), LABELS[: ROWS // 2].mean())
    assert alone(NUMBER, LABELS, metric) == pytest.approx(perfect, rel=0.06)
    assert abs(alone(NUMBER, RANDOM.random(ROWS), metric)) < 0.1 * perfect


def test_a_feature_need_not_rise_with_the_label_to_be_found() -> None:
    middle = np.where(LABELS == 1, RANDOM.uniform(0.4, 0.6, ROWS), RANDOM.choice([0.1, 0.9], ROWS))
    assert alone(NUMBER, middle) > 0.49


def test_a_label_that_hides_in_what_is_missing_is_found() -> None:
    assert alone(NUMBER, np.where(LABELS == 1, np.nan, RANDOM.random(ROWS))) == pytest.approx(0.5)


def test_a_label_that_hides_in_a_rare_value_among_one_that_nearly_all_rows_share_is_found() -> None:
    """One row in 100 has the value -1, below the quantiles that all are 0."""
    rare = np.where((LABELS == 1) & (RANDOM.random(ROWS) < 0.04), -1.0, 0.0)
    assert 0.01 < alone(NUMBER, rare) < 0.04


def test_categories_are_bins_whatever_their_order() -> None:
    letters = Feature(name="c", kind="categorical", categories=tuple("abcdef"))
    odd = RANDOM.integers(0, 3, ROWS) * 2 + LABELS
    assert alone(letters, odd) == pytest.approx(0.5)


THIRDS = RANDOM.integers(3, size=ROWS).astype(float)
"""Of three classes, as labels."""
MINUTES = RANDOM.exponential(20, ROWS)


@pytest.mark.parametrize(
    ("task", "metric", "labels"),
    [
        ("multiclass", "accuracy", THIRDS),
        ("multiclass", "log_loss", THIRDS),
        ("multiclass", "macro_f1", THIRDS),
        ("regression", "mae", MINUTES),
        ("regression", "rmse", MINUTES),
        ("regression", "r2", MINUTES),
    ],
)
def test_the_answer_in_disguise_gains_nearly_all_whatever_the_task(task: Task, metric: str, labels: np.ndarray) -> None:
    half, classes = ROWS // 2, ("a", "b", "c") if task == "multiclass" else ()
    matrix = np.column_stack([-labels, RANDOM.random(ROWS)]).astype(np.float32)
    signature = Signature(
        entity="id", timestamp="at", features=(NUMBER, Feature(name="noise")), task=task, classes=classes
    )
    alone = gains_alone(metric, matrix[:half], labels[:half], matrix[half:], labels[half:], signature)
    sure = np.eye(3)[labels[half:].astype(int)] if classes else labels[half:]
    perfect = gain(metric, labels[half:], sure, prior(labels[:half], len(classes), metric))
    assert alone["x"] > 0.9 * perfect
    # To the macro F1 of the commonest class alone even a toss between all classes adds.
    assert abs(alone["noise"]) < (0.2 if metric == "macro_f1" else 0.1) * perfect


def test_a_feature_that_is_always_missing_gains_nothing() -> None:
    assert alone(NUMBER, np.full(ROWS, np.nan)) == 0
